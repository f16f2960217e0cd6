"""Turns this process into one of ``nobody``, who may read what it needs, and write nothing."""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from typing import Final

_PR_SET_KEEPCAPS: Final = 8
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_DAC_READ_SEARCH: Final = 1 << 2


def become_nobody() -> None:
    """Give up the rights of the superuser for good, except reading.

    An interpreter that lies in the superuser's home can import nothing without that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    nobody = pwd.getpwnam("nobody")
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
    head = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    reading = _CAP_DAC_READ_SEARCH
    _check(libc.capset(head, struct.pack("6I", reading, reading, 0, 0, 0, 0)))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "this process cannot become an unprivileged one")
