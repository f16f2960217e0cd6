"""``write`` without giving up the GIL: beside a busy thread, getting it back is what costs."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[int, bytes, int], int]
    """Writes so many bytes to a descriptor; returns how many were written, or -1.

    Raises `OSError`, or returns -1: then nothing was written, and `write_or_raise` tells why.
    """


def write_or_raise(descriptor: int, data: bytes, size: int) -> int:  # noqa: ARG001 - as libc's
    """Write with the GIL given up; return how many bytes were written.

    Raises:
        OSError: None was.
    """
    return os.write(descriptor, data)


def load_direct_write(
    implementation: str = sys.implementation.name,
    open_program: Callable[[None], ctypes.PyDLL] = ctypes.PyDLL,
) -> Write:
    """Return libc's ``write``; where there is none to be had, `write_or_raise`.

    See ADR 8. Whoever calls it stops the whole process for as long as the disk takes.
    """
    if implementation != "cpython":
        return write_or_raise
    try:
        write: Write = open_program(None)["write"]
    except (AttributeError, LookupError, OSError, TypeError):  # there is none here
        return write_or_raise
    return write


direct_write: Write = load_direct_write()
