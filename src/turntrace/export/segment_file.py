"""A segment that is being written: its descriptor, and counts that need no lock."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)


class Position(NamedTuple):
    """A place in a spool; opaque to who got it, and good for this process only."""

    directory: str
    segment: int
    offset: int
    """Behind the span that was read; 0: somewhere in the segment."""
    ordinal: int
    """How many of the segment's spans end there."""


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
        "enter",
        "known_scopes",
        "leave",
        "number",
        "path",
        "position",
        "roll_at",
        "size_bytes",
    )

    def __init__(self, path: Path, number: int, descriptor: int, roll_at: float) -> None:
        self.path = path
        self.number = number
        self.descriptor = descriptor
        self.roll_at = roll_at
        """When it has had its time, on the monotonic clock."""
        self.size_bytes = 0
        """About; exact while one thread appends."""
        self.known_scopes = 0
        """The entries of the scopes up to this number are in it."""
        self.position = Position(path.parent.name, number, 0, 0)
        self._entered = itertools.count()
        self._left = itertools.count()
        self._no_spans = itertools.count()
        self.enter = self._entered.__next__
        self.leave = self._left.__next__
        self.count_no_span = self._no_spans.__next__
        """To be called before `leave` by who has not written a whole span."""

    @classmethod
    def create(cls, path: Path, number: int, roll_at: float) -> SegmentFile:
        """Create the file; it must not exist.

        Raises:
            OSError: It cannot be created.
        """
        return cls(path, number, os.open(path, _FLAGS, 0o600), roll_at)

    def is_quiet(self) -> bool:
        """Tell whether nobody is inside; for one out of use, that is so for good."""
        left = _ticks(self._left)  # first: who enters in between must not be missed
        return left == _ticks(self._entered)

    def spans(self) -> int:
        """Return how many whole spans were written; exact when it is quiet."""
        left = _ticks(self._left)  # first, so that a failure in between does not count as a span
        return max(0, left - _ticks(self._no_spans))

    def close(self) -> None:
        """Close the descriptor; only when it is quiet and out of use, or in a forked child."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _ticks(counter: itertools.count[int]) -> int:
    """Return how often ``next`` was called on a count from 0; only the repr tells without one."""
    return int(repr(counter)[6:-1])
