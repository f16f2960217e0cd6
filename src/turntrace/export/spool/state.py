"""What is in a spool at one moment: its counts, and marks that tell when all of it is settled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from turntrace.export.spool.counts import SpoolCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turntrace.export.spool.backlog import Backlog
    from turntrace.export.spool.counts import Books
    from turntrace.export.spool.slow_disk import SlowDisk
    from turntrace.export.spool.stored_segment import StoredSegment
    from turntrace.export.spool.writer import SpoolWriter


def _written(own: Sequence[Backlog]) -> list[tuple[StoredSegment, int]]:
    segments = [segment for backlog in own for segment in list(backlog.segments)]
    return [(segment, segment.written_spans()) for segment in segments]


@dataclass(slots=True, eq=False)
class Mark:
    """Which spans of this process were in its spool at a moment; opaque."""

    _written: list[tuple[StoredSegment, int]]
    _delayed: int
    """How many had ever waited for a slow disk."""

    @classmethod
    def of(cls, own: Sequence[Backlog], slow_disk: SlowDisk) -> Mark:
        """Return what is there now."""
        delayed = slow_disk.delayed() if slow_disk.draining() else 0  # before: twice, not never
        return cls(_written(own), delayed)

    def is_settled(self, own: Sequence[Backlog], slow_disk: SlowDisk) -> bool:
        """Tell whether all of it is acknowledged, dropped or handed over."""
        if self._delayed:
            if slow_disk.settled() < self._delayed:
                return False
            # In which of the segments they are now, nobody knows.
            self._written, self._delayed = _written(own), 0
        return all(segment.has_acknowledged(spans) for segment, spans in self._written)


def current_counts(
    books: Books, writer: SpoolWriter, own: Sequence[Backlog], adopted: Sequence[Backlog]
) -> SpoolCounts:
    """Return the books as they are now; any thread may ask."""
    with books.lock:
        slow_disk = writer.slow_disk
        draining, never_written = slow_disk.draining(), slow_disk.dropped()
        written = sum(spans for _, spans in _written(own))
        dropped = books.dropped + Counter(slow_disk=never_written)
        return SpoolCounts(
            appended=books.appended_and_gone + written + draining + never_written,
            draining=draining,
            delayed=slow_disk.delayed(),
            handed_over=books.handed_over,
            adopted=books.adopted,
            acknowledged=books.acknowledged,
            unacknowledged=sum(backlog.waiting_spans() for backlog in (*own, *adopted)),
            dropped=MappingProxyType(dict(+dropped)),
            dropped_of_others=books.dropped_of_others,
            refused=MappingProxyType(dict(writer.refused)),
            failures=MappingProxyType(dict(writer.failures + books.failures)),
            damaged=MappingProxyType(dict(books.damaged)),
            quarantined=books.quarantined,
            newer=books.newer,
            unknown=books.unknown,
        )
