"""A segment that is being written: its descriptor, its records, and counts that need no lock."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from turntrace.atomic_count import ticks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turntrace.record.span_record import SpanRecord

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_forget: Final[Callable[[Any], None]] = deque[Any](maxlen=0).append


class Position(NamedTuple):
    """A place in a spool; opaque to who got it, and good for this process only."""

    directory: str
    segment: int
    offset: int
    """Behind the span that was read; 0: somewhere in the segment."""
    ordinal: int
    """How many of the segment's spans end there."""


class StartFrame(NamedTuple):
    """What was written of a span that has started."""

    trace_id: bytes
    span_id: bytes
    frame: bytes
    scope: int


class SegmentFile:
    """A segment that any thread may append to.

    Who appends calls `enter`, looks whether the segment is still the one in use, writes, and
    calls `leave`. Who takes it out of use first does so and then waits for `is_quiet`: from then
    on nobody writes, for whoever comes later looks. Nobody waits, so nothing can deadlock.
    """

    __slots__ = (
        "_entered",
        "_left",
        "_no_spans",
        "count_no_span",
        "descriptor",
        "direct_bytes",
        "enter",
        "held_bytes",
        "hold",
        "known_scopes",
        "leave",
        "max_bytes",
        "number",
        "path",
        "position",
        "records",
        "size_bytes",
        "starts",
    )

    def __init__(self, path: Path, number: int, descriptor: int, max_bytes: int) -> None:
        self.path = path
        self.number = number
        self.descriptor = descriptor
        self.max_bytes = max_bytes
        """One that is longer is full."""
        self.direct_bytes = max_bytes
        """As long as it is shorter, appends may go the quick way."""
        self.size_bytes = 0
        """About; exact while one thread appends."""
        self.known_scopes = 0
        """The entries of the scopes up to this number are in it."""
        self.position = Position(path.parent.name, number, 0, 0)
        self.starts: list[StartFrame] = []
        """Of spans that may still be open."""
        self.records: list[SpanRecord] | None = None
        """Its spans, if they are held in memory, too."""
        self.held_bytes = 0
        """What they are taken for, once it is out of use."""
        self.hold = _forget
        """To be called before `leave` with what was written whole."""
        self._entered = itertools.count()
        self._left = itertools.count()
        self._no_spans = itertools.count()
        self.enter = self._entered.__next__
        """Returns the place: how many have entered before."""
        self.leave = self._left.__next__
        self.count_no_span = self._no_spans.__next__
        """To be called before `leave` by who has not written a whole span."""

    @classmethod
    def create(cls, path: Path, number: int, max_bytes: int) -> SegmentFile:
        """Create the file; it must not exist.

        Raises:
            OSError: It cannot be created.
        """
        return cls(path, number, os.open(path, _FLAGS, 0o600), max_bytes)

    def hold_records(self) -> None:
        """Hold in memory what will be written; before the first is."""
        self.records = []
        self.hold = self.records.append

    def release_records(self) -> None:
        """Hold nothing any more; only when it is quiet and out of use."""
        self.records = None
        self.hold = _forget

    def entered(self) -> int:
        """Return how often it was entered."""
        return ticks(self._entered)

    def is_quiet(self) -> bool:
        """Tell whether nobody is inside; for one out of use, that is so for good."""
        left = ticks(self._left)  # first: who enters in between must not be missed
        return left == ticks(self._entered)

    def spans(self) -> int:
        """Return how many whole spans were written; exact when it is quiet."""
        left = ticks(self._left)  # first, so that a failure in between does not count as a span
        return max(0, left - ticks(self._no_spans))

    def close(self) -> None:
        """Close the descriptor; only when it is quiet and out of use, or in a forked child."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)
