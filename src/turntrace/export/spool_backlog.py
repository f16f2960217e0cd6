"""The unacknowledged segments of one directory: read in order, acknowledged, and removed."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Final

from turntrace.export.stored_segment import (
    OpenStart,
    SegmentCursor,
    SpooledSpan,
    StoredSegment,
    bytes_between,
)
from turntrace.record.record_format import MAX_SCOPES
from turntrace.record.segment_reader import Damaged, Frame, Newer, Started, TornTail, Unknown
from turntrace.record.span_record import SpanRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from turntrace.export.quarantine import Quarantine
    from turntrace.export.segment_file import Position, SegmentFile
    from turntrace.export.spool_counts import Books
    from turntrace.export.spool_directory import SpoolDirectory
    from turntrace.export.spool_writer import SpoolWriter
    from turntrace.record.record_format import ResourceEntry
    from turntrace.record.segment_reader import Outcome

_LOST_FOR_GOOD: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EIO, errno.EISDIR}
)
_MAX_FAILURES: Final = 10


class Backlog:
    """What waits in one directory: this process's own, or one that it has adopted.

    Only the reading thread calls it, but for `register`.

    Args:
        directory: Its lock is held.
        writer: Of this process's own directory; None for an adopted one.
        is_open: Tells of a trace and span id whether that span may still end here; its start is
            copied into the current segment before the segment that holds it is removed.
        on_frame: Shown each frame of an adopted directory, before it is removed.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        *,
        books: Books,
        quarantine: Quarantine,
        writer: SpoolWriter | None = None,
        is_open: Callable[[bytes, bytes], bool],
        on_frame: Callable[[Frame], None],
    ) -> None:
        self.directory = directory
        self.segments: list[StoredSegment] = []
        self._books = books
        self._quarantine = quarantine
        self._writer = writer
        self._is_open = is_open
        self._on_frame = on_frame
        self._cursor: SegmentCursor | None = None
        self._failures: tuple[StoredSegment | None, int] = (None, 0)
        self._resource: ResourceEntry | None = None
        if writer is None:
            self._load()

    def _load(self) -> None:
        """Know the segments that a dead process has left.

        Raises:
            OSError: The directory cannot be read.
        """
        checkpoint = self.directory.read_checkpoint()
        if self.directory.has_stale_checkpoint:
            self._books.damaged["checkpoint"] += 1
        for number, path in self.directory.segments():
            offset = checkpoint.get(number, 0)
            self.segments.append(
                StoredSegment(path, number, acknowledged_offset=offset, seen_offset=offset)
            )

    def register(self, file: SegmentFile) -> int:
        """Take a new segment of this process into the list; return how many there are."""
        self.segments.append(StoredSegment(file.path, file.number, file))
        return len(self.segments)

    def read(self, after: Position | None, max_records: int, max_bytes: int) -> list[SpooledSpan]:
        """Return the oldest spans behind ``after``, or the oldest unacknowledged (see `Spool`)."""
        found: list[SpooledSpan] = []
        segments = list(self.segments)
        if after is not None:
            numbers = [segment.number for segment in segments]
            if after.segment in numbers:
                segments = segments[numbers.index(after.segment) :]
            else:  # it is gone: everything that is still there comes behind it
                after = None
        for segment in segments:
            if segment.is_newer:
                continue
            cursor = self._cursor_at(segment, after)
            after = None
            if not self._read_segment(cursor, found, max_records, max_bytes):
                break
        return found

    def _cursor_at(self, segment: StoredSegment, after: Position | None) -> SegmentCursor:
        offset, ordinal = segment.acknowledged_offset, segment.acknowledged_spans
        if after is not None:
            offset, ordinal = after.offset, after.ordinal
        cursor = self._cursor
        # As many spans on: only other records lie between, which were seen.
        if cursor is None or cursor.segment is not segment or cursor.ordinal != ordinal:
            cursor = self._cursor = SegmentCursor(segment, offset, ordinal)
        return cursor

    def _read_segment(
        self, cursor: SegmentCursor, found: list[SpooledSpan], max_records: int, max_bytes: int
    ) -> bool:
        """Read on in one segment; True if it was read to its end for good."""
        segment = cursor.segment
        file, writer = segment.file, self._writer
        # Asked before reading: what is written afterwards must not be missed.
        is_final = file is None or writer is None or writer.is_final(file)
        try:
            with contextlib.closing(cursor.outcomes()) as outcomes:  # type: ignore[type-var]
                for outcome in outcomes:
                    if isinstance(outcome, Damaged) and not is_final:
                        # Perhaps a frame in the making. When nobody writes any more, we shall see.
                        self._retire(segment)
                        self._cursor = None
                        return False
                    self._note(segment, outcome)
                    if isinstance(outcome, TornTail) and is_final and not segment.is_read:
                        self._books.damaged["torn"] += 1
                    if isinstance(outcome, Newer):
                        return True
                    if not isinstance(outcome, Frame) or not isinstance(outcome.record, SpanRecord):
                        continue
                    resource = self._same(outcome.resource)
                    found.append(SpooledSpan(cursor.span_position(), outcome.record, resource))
                    max_bytes -= outcome.end_offset - outcome.offset
                    if len(found) >= max_records or max_bytes <= 0:
                        return False
        except OSError as error:
            return self._cannot_read(cursor, error, is_final=is_final)
        if is_final:
            self._finish(segment, cursor.ordinal, "damaged")
        elif writer is not None and file is not None and writer.has_had_its_time(file):
            self._retire(segment)
        return is_final

    def _retire(self, segment: StoredSegment) -> None:
        if self._writer is not None and segment.file is not None:
            self._writer.retire(segment.file)

    def _same(self, resource: ResourceEntry) -> ResourceEntry:
        known = self._resource
        if known is None or (known is not resource and known != resource):
            known = self._resource = resource
        return known

    def _note(self, segment: StoredSegment, outcome: Outcome) -> None:
        """Count what is seen for the first time, and remember where the starts are."""
        if isinstance(outcome, TornTail):
            return
        if outcome.end_offset <= segment.seen_offset:
            return
        segment.seen_offset = outcome.end_offset
        with self._books.lock:
            match outcome:
                case Frame(record=SpanRecord()):
                    segment.seen_spans += 1
                    self._books.adopted += segment.file is None
                case Frame(record=Started(span=span)):
                    segment.starts.append(
                        OpenStart(span.trace_id, span.span_id, outcome.offset, outcome.end_offset)
                    )
                case Damaged():
                    segment.is_damaged = True
                    self._books.damaged[outcome.reason.value] += 1
                case Unknown():
                    self._books.unknown += 1
                case Newer():
                    segment.is_newer = True
                    self._books.newer += 1
        if isinstance(outcome, Frame) and segment.file is None:
            self._on_frame(outcome)

    def _cannot_read(self, cursor: SegmentCursor, error: OSError, *, is_final: bool) -> bool:
        segment = cursor.segment
        before, failures = self._failures
        failures = failures + 1 if before is segment else 1
        self._failures = (segment, failures)
        self._cursor = None
        if error.errno not in _LOST_FOR_GOOD and failures < _MAX_FAILURES:
            return False
        if not is_final:
            self._retire(segment)
            return False
        is_gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
        self._finish(segment, cursor.ordinal, "deleted" if is_gone else "unreadable")
        segment.is_damaged = not is_gone
        return True

    def _finish(self, segment: StoredSegment, found: int, reason: str) -> None:
        """Draw the line under a segment that was read to its end, with ``found`` spans in it.

        May be again with fewer, when it was damaged in between.
        """
        with self._books.lock:
            found = max(found, segment.acknowledged_spans)
            if segment.file is None and found > segment.seen_spans:
                self._books.adopted += found - segment.seen_spans
                segment.seen_spans = found
            lost = segment.written_spans() - found
            if lost > segment.lost_spans:
                self._books.dropped[reason] += lost - segment.lost_spans
            segment.is_read, segment.found_spans, segment.lost_spans = True, found, lost

    def acknowledge(self, position: Position) -> None:
        """Count as done what was read up to ``position``, write that down, remove what is done."""
        numbers = [segment.number for segment in self.segments]
        if position.segment in numbers:
            index = numbers.index(position.segment)
            with self._books.lock:
                for segment in self.segments[:index]:
                    self._advance(segment, segment.seen_offset, segment.seen_spans)
                self._advance(self.segments[index], position.offset, position.ordinal)
        self.settle()

    def _advance(self, segment: StoredSegment, offset: int, spans: int) -> None:
        if segment.is_read:
            spans = min(spans, segment.found_spans)
        if not segment.is_newer and spans > segment.acknowledged_spans:
            self._books.acknowledged += spans - segment.acknowledged_spans
            segment.acknowledged_spans = spans
            segment.acknowledged_offset = max(offset, segment.acknowledged_offset)

    def settle(self) -> None:
        """Write the checkpoint, then remove the segments that are wholly acknowledged."""
        offsets = {
            segment.number: segment.acknowledged_offset
            for segment in self.segments
            if segment.acknowledged_offset and segment.path.parent == self.directory.path
        }
        is_written = self.directory.write_checkpoint(offsets) if offsets else True
        for segment in [segment for segment in self.segments if segment.is_acknowledged()]:
            self._remove(segment)
        if not is_written:  # on a full disk there is room for it now
            with self._books.lock:
                self._books.failures["checkpoint"] += 1
            self.directory.write_checkpoint(offsets)

    def _remove(self, segment: StoredSegment) -> bool:
        """Remove the file and its books; False if it still holds the only copy of an open start."""
        if segment.file is not None and not self._carry_starts(segment):
            return False
        try:
            if segment.is_damaged:
                self._quarantine.take(segment.path, self.directory.name)
            else:
                segment.path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in _LOST_FOR_GOOD:  # else the directory is gone as well
                return False
        with self._books.lock:
            self.segments.remove(segment)
            if segment.file is not None:
                self._books.appended_and_gone += segment.written_spans()
        return True

    def _carry_starts(self, segment: StoredSegment) -> bool:
        """Copy the starts of open spans into the current segment; False if that failed."""
        writer = self._writer
        if writer is None:
            return True
        for start in list(segment.starts):
            if self._is_open(start.trace_id, start.span_id):
                try:
                    frame = bytes_between(segment.path, start.offset, start.end_offset)
                except OSError:
                    continue
                if writer.append_frame(frame, MAX_SCOPES, is_span=False) is None:
                    return False
            segment.starts.remove(start)
        return True

    def drop(self, segment: StoredSegment, reason: str) -> bool:
        """Remove a segment although it is not acknowledged; False if that was not possible."""
        if segment.is_newer:
            return False
        if segment.file is not None and self._writer is not None:
            self._retire(segment)
            if not self._writer.is_final(segment.file):
                return False
        # Read to its end first: for its starts, and to know how many spans go.
        cursor = SegmentCursor(segment, segment.seen_offset, segment.seen_spans)
        loss = "damaged"
        try:
            for outcome in cursor.outcomes():
                self._note(segment, outcome)
        except OSError:
            loss = "deleted"
        if segment.is_newer:
            return False
        self._finish(segment, cursor.ordinal, loss)
        segment.is_damaged = False
        if not self._remove(segment):
            return False
        if self._cursor is not None and self._cursor.segment is segment:
            self._cursor = None
        with self._books.lock:
            dropped = segment.waiting_spans()
            self._books.dropped[reason] += dropped
            segment.lost_spans += dropped
            segment.found_spans = segment.acknowledged_spans
        return True

    def waiting_spans(self) -> int:
        """Return how many spans this process answers for here."""
        return sum(segment.waiting_spans() for segment in list(self.segments))

    def is_done(self) -> bool:
        """Tell whether all that is left is for a later version, if anything."""
        return all(segment.is_newer for segment in self.segments)
