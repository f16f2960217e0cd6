"""Bounded memory for finished spans that the spool could not take."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

from turntrace.atomic_count import ticks
from turntrace.export.spool.segment_file import Position
from turntrace.export.spool.stored_segment import SpooledSpan

if TYPE_CHECKING:
    from turntrace.record.record_format import ResourceEntry
    from turntrace.record.span_record import SpanRecord

IN_MEMORY: Final = Position("", 0, 0, 0)
"""Stands for the place of a span that lies in no spool."""


class Overflow:
    """A queue that drops the newest when it is full, and counts what it dropped.

    `add` may be called from any thread, a signal handler or ``__del__``: it takes no lock. With N
    threads racing, the bound may be exceeded by N - 1 spans. The rest is for whoever holds the
    books, or is the only reader.
    """

    def __init__(self, max_spans: int) -> None:
        self.max_spans = max_spans
        self._waiting: deque[SpanRecord] = deque()
        self._dropped = itertools.count()
        self.settled = 0
        """How many have left it since the start."""
        self.moved = 0
        """How many of those went to the spool after all."""

    def __len__(self) -> int:
        """Return how many spans wait."""
        return len(self._waiting)

    def add(self, record: SpanRecord) -> int:
        """Take ``record``, or drop and count it; return how many wait."""
        length = len(self._waiting)
        if length >= self.max_spans:
            next(self._dropped)
            return length
        self._waiting.append(record)
        return length + 1

    def dropped(self) -> int:
        """Return how many spans came when it was full."""
        return ticks(self._dropped)

    def oldest(self, count: int, resource: ResourceEntry) -> list[SpooledSpan]:
        """Return the ``count`` oldest without taking them out; others may append meanwhile."""
        found: list[SpooledSpan] = []
        with contextlib.suppress(IndexError):  # shutdown has just given them all up
            found.extend(
                SpooledSpan(IN_MEMORY, self._waiting[place], resource)
                for place in range(min(count, len(self._waiting)))
            )
        return found

    def first(self) -> SpanRecord | None:
        """Return the oldest without taking it out; None if there is none."""
        with contextlib.suppress(IndexError):
            return self._waiting[0]
        return None

    def settle(self, count: int) -> None:
        """Take the ``count`` oldest out."""
        for _ in range(count):
            self._waiting.popleft()
        self.settled += count

    def pop(self) -> SpanRecord | None:
        """Take the oldest out and return it; None if there is none."""
        with contextlib.suppress(IndexError):
            record = self._waiting.popleft()
            self.settled += 1
            return record
        return None
