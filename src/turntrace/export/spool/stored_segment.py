"""What this process knows of one segment on disk, and how it reads the next part of it."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from turntrace.export.spool.segment_file import Position
from turntrace.record.segment_reader import (
    Frame,
    SegmentReader,
    TornTail,
)
from turntrace.record.span_record import SpanRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from turntrace.export.spool.segment_file import SegmentFile
    from turntrace.record.record_format import ResourceEntry
    from turntrace.record.segment_reader import Outcome

_SPANS_PER_BREATH: Final = 16
MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""What is read of one file; no writer of ours makes one nearly as long."""


class SpooledSpan(NamedTuple):
    """A span that lies in the spool, and where."""

    position: Position
    record: SpanRecord
    resource: ResourceEntry
    """Whose span it is: ``attributes`` and ``schema_url``; the same object for equal ones."""


class Answer:
    """What one reading gives, and for how much more there is room."""

    __slots__ = ("_room_records", "room_bytes", "spans")

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self.spans: list[SpooledSpan] = []
        self._room_records = max_records
        self.room_bytes = max_bytes

    def take(self, span: SpooledSpan, size_bytes: int) -> None:
        """Add a span; now and then, let whoever waits for the GIL have it."""
        self.spans.append(span)
        if not len(self.spans) % _SPANS_PER_BREATH:
            time.sleep(0)
        self._room_records -= 1
        self.room_bytes -= size_bytes

    def take_all(
        self,
        directory: str,
        segment: int,
        ordinal: int,
        records: Sequence[SpanRecord],
        resource: ResourceEntry,
    ) -> None:
        """Add what is in memory behind the span ``ordinal``; there must be room for it.

        In one go: nobody gets the GIL meanwhile, so it has to be quick.
        """
        make = tuple.__new__
        self.spans += [
            make(
                SpooledSpan,
                (make(Position, (directory, segment, 0, place)), record, resource),
            )
            for place, record in enumerate(records, ordinal + 1)
        ]
        self._room_records -= len(records)

    def is_full(self) -> bool:
        """Tell whether nothing more fits."""
        return self._room_records <= 0 or self.room_bytes <= 0

    def has_room_for(self, records: int, size_bytes: int) -> bool:
        """Tell whether so much would fit."""
        return records <= self._room_records and size_bytes <= self.room_bytes


@dataclass(slots=True, eq=False)
class StoredSegment:
    """The books of one segment. ``seen``: read at least once by this process."""

    path: Path
    number: int
    file: SegmentFile | None = None
    """What writes it; None: a dead process has written it."""
    acknowledged_offset: int = 0
    acknowledged_spans: int = 0
    seen_offset: int = 0
    seen_spans: int = 0
    found_spans: int = 0
    """How many there are to acknowledge, once it is read to its end."""
    lost_spans: int = 0
    """Written, or seen, and not found again."""
    is_read: bool = False
    """Read to its end, and nothing will be written any more."""
    is_damaged: bool = False
    is_newer: bool = False
    is_handed_over: bool = False
    """Another process answers for it."""

    def written_spans(self) -> int:
        """Return how many spans it had; of a dead process's, how many were found so far."""
        return self.file.spans() if self.file else self.seen_spans

    def waiting_spans(self) -> int:
        """Return how many of them are neither acknowledged nor lost."""
        if self.is_handed_over:
            return 0
        return self.written_spans() - self.acknowledged_spans - self.lost_spans

    def is_acknowledged(self) -> bool:
        """Tell whether the file is of no use any more."""
        return self.is_read and self.acknowledged_spans >= self.found_spans

    def has_acknowledged(self, spans: int) -> bool:
        """Tell whether the fate of the first so many spans written is known."""
        is_settled = self.is_acknowledged() or self.is_handed_over
        return is_settled or self.acknowledged_spans >= spans

    def size_bytes(self) -> int:
        """Return its length on disk, or 0."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0


class SegmentCursor:
    """Reads one segment in parts and goes on where it stopped, without reading anew."""

    __slots__ = ("_reader", "offset", "ordinal", "segment")

    def __init__(self, segment: StoredSegment, offset: int, ordinal: int) -> None:
        self.segment = segment
        self.offset = offset
        self.ordinal = ordinal
        """How many spans end at ``offset`` or before."""
        self._reader = SegmentReader()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what stands behind ``offset``, moving it; what is torn stays ahead.

        Raises:
            OSError: The file cannot be read.
        """
        base = self.offset if self._reader.header else 0
        data = _bytes_of(self.segment.path, base)
        with contextlib.closing(self._reader.read(data, self.offset - base)) as outcomes:  # type: ignore[type-var]
            for outcome in outcomes:
                moved = outcome._replace(
                    offset=base + outcome.offset, end_offset=base + outcome.end_offset
                )
                if isinstance(outcome, TornTail):
                    yield moved
                    return
                self.offset = moved.end_offset
                if isinstance(outcome, Frame) and isinstance(outcome.record, SpanRecord):
                    self.ordinal += 1
                yield moved

    def span_position(self) -> Position:
        """Return the position of the span that was yielded last."""
        segment = self.segment
        return Position(segment.path.parent.name, segment.number, self.offset, self.ordinal)


def _bytes_of(path: Path, offset: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = min(MAX_SEGMENT_BYTES, os.fstat(descriptor).st_size - offset)
        return os.pread(descriptor, size, offset) if size > 0 else b""
    finally:
        os.close(descriptor)
