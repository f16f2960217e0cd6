"""Time and ids that a test decides."""

from __future__ import annotations

import itertools
import threading
from typing import Final

DEFAULT_START_NS: Final = 1_700_000_000_000_000_000
"""A moment of 2023: far enough from zero to be a time anywhere."""

_NS_PER_SECOND: Final = 1_000_000_000


class ManualClock:
    """A `turntrace.clock.Clock` that stands still until it is advanced. Thread-safe.

    Args:
        start_ns: Nanoseconds since the Unix epoch at which it stands.

    Example:
        >>> clock = ManualClock(start_ns=1_000)
        >>> clock.advance(seconds=2)
        >>> clock.now_ns()
        2000001000
    """

    def __init__(self, start_ns: int = DEFAULT_START_NS) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return self._now_ns

    def advance(self, *, seconds: float = 0.0, nanoseconds: int = 0) -> None:
        """Move the clock on; negative amounts move it back, as a machine's may.

        Args:
            seconds: Rounded to whole nanoseconds.
            nanoseconds: Added to the seconds.

        Example:
            >>> clock = ManualClock(start_ns=0)
            >>> clock.advance(nanoseconds=7)
            >>> clock.now_ns()
            7
        """
        step_ns = round(seconds * _NS_PER_SECOND) + nanoseconds
        with self._lock:
            self._now_ns += step_ns


class SequentialIds:
    """A `turntrace.clock.IdGenerator` that counts 1, 2, 3, ...: traces and spans for themselves.

    Thread-safe: no id is given twice.

    Example:
        >>> ids = SequentialIds()
        >>> ids.new_trace_id(), ids.new_span_id(), ids.new_span_id()
        (1, 1, 2)
    """

    def __init__(self) -> None:
        # next() on a count is one step of the interpreter.
        self._traces = itertools.count(1)
        self._spans = itertools.count(1)

    def new_trace_id(self) -> int:
        """Return the next trace id."""
        return next(self._traces)

    def new_span_id(self) -> int:
        """Return the next span id."""
        return next(self._spans)
