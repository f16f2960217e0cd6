"""Tells callgrind, from within the program it runs, when to count and when to write down.

Starting up takes a hundred times as many instructions as a turn and no interest: uncounted, it
also runs six times as fast. The requests are a sequence of instructions without any effect that
valgrind recognises (``valgrind.h``, "client requests"); without valgrind nothing happens.
"""

from __future__ import annotations

import ctypes
import mmap
import platform

MACHINES = ("x86_64", "AMD64")

_CODE = bytes.fromhex(
    "4889f8"  # mov rax, rdi     the request
    "31d2"  # xor edx, edx       the answer, if there is no valgrind
    "48c1c70348c1c70d48c1c73d48c1c733"  # rol rdi, 3, 13, 61, 51: 128 bits in all
    "4887db"  # xchg rbx, rbx
    "4889d0"  # mov rax, rdx
    "c3"  # ret
)
_READ_WRITE_RUN = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
_RUNNING_ON_VALGRIND = 0x1001
_CALLGRIND = ord("C") << 24 | ord("T") << 16
_DUMP, _START = _CALLGRIND, _CALLGRIND + 4


class Callgrind:
    """The tool this process runs under.

    Raises:
        RuntimeError: there is none, or not on this kind of machine.
    """

    def __init__(self) -> None:
        if platform.machine() not in MACHINES:
            raise RuntimeError(f"instructions are counted on x86-64, not {platform.machine()}")
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=_READ_WRITE_RUN)
        self._page.write(_CODE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._call = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)(start)
        if not self._ask(_RUNNING_ON_VALGRIND):
            raise RuntimeError("not started by valgrind; benchmarks/instructions.py does that")

    def start(self) -> None:
        """Count from here on."""
        self._ask(_START)

    def write_down(self) -> None:
        """Write what was counted since the last time into the next output file."""
        self._ask(_DUMP)

    def _ask(self, request: int) -> int:
        arguments = (ctypes.c_size_t * 6)(request)
        answer: int = self._call(ctypes.addressof(arguments))
        return answer
