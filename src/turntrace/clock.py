"""Time and ids, injected so that tests decide both."""

from __future__ import annotations

import functools
import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Where the recorder reads time."""

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        ...


class IdGenerator(Protocol):
    """Where the recorder gets ids; never zero."""

    def new_trace_id(self) -> int:
        """Return a random id of 128 bits."""
        ...

    def new_span_id(self) -> int:
        """Return a random id of 64 bits."""
        ...


class SystemClock:
    """The machine's wall clock."""

    now_ns = staticmethod(time.time_ns)


class RandomIds:
    """Ids from a Mersenne twister of our own: an app that seeds ``random`` repeats none of them.

    The methods are bound C functions (a Python frame for each span id would be felt);
    the invalid id zero has a chance of 2**-64.
    """

    def __init__(self) -> None:
        source = random.Random()  # noqa: S311 - ids need to be unique, not secret
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=source.seed)
        self.new_trace_id = functools.partial(source.getrandbits, 128)
        self.new_span_id = functools.partial(source.getrandbits, 64)
