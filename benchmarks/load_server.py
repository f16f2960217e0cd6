"""Serves the backend as ``python -m renovation`` does; SIGUSR1 makes it give back unused memory.

What Python and malloc merely keep for later is no growth. When it has been given back, a line
on standard output says so.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import os
import signal
import sys
from contextlib import suppress

from renovation.__main__ import main


def tidy(*_: object) -> None:
    """Collect garbage and return free pages to the system."""
    gc.collect()
    with suppress(AttributeError):  # another libc than GNU's
        ctypes.CDLL(ctypes.util.find_library("c")).malloc_trim(0)
    os.write(1, b"tidy\n")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tidy)
    sys.exit(main())
