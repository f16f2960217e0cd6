"""The unacknowledged segments of one directory: read in order, acknowledged, and removed."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Final

from turntrace.export.spool.segment_file import Position
from turntrace.export.spool.stored_segment import Answer, SegmentCursor, SpooledSpan, StoredSegment
from turntrace.record.record_format import ResourceEntry, pack_span
from turntrace.record.segment_reader import Damaged, Frame, Newer, TornTail, Unknown
from turntrace.record.span_record import SpanRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from turntrace.export.spool.counts import Books
    from turntrace.export.spool.directory import SpoolDirectory
    from turntrace.export.spool.quarantine import Quarantine
    from turntrace.export.spool.segment_file import SegmentFile
    from turntrace.export.spool.writer import SpoolWriter
    from turntrace.record.segment_reader import Outcome

_LOST_FOR_GOOD: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EIO, errno.EISDIR}
)
_OURS_TO_BEAR: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR})
"""What says nothing of the file."""
_MAX_FAILURES: Final = 10
_NO_RESOURCE: Final = ResourceEntry(0)


class Backlog:
    """What waits in one directory: this process's own, or one that it has adopted.

    Only the reading thread calls it.

    Args:
        directory: Its lock is held.
        writer: Of this process's own directory; None for an adopted one.
        resource: Of this process's own spans.
        on_frame: Shown each frame of an adopted directory, before it is removed.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        *,
        books: Books,
        quarantine: Quarantine,
        writer: SpoolWriter | None = None,
        resource: ResourceEntry = _NO_RESOURCE,
        on_frame: Callable[[Frame], None],
    ) -> None:
        self.directory = directory
        self.former: list[SpoolDirectory] = []
        """Which it has replaced; perhaps they are there: nobody is to adopt them from us."""
        self.segments: list[StoredSegment] = []
        self.resource = resource
        self._given: list[tuple[StoredSegment, int, int]] = []
        self._checkpoint: dict[int, int] = {}
        self._books = books
        self._quarantine = quarantine
        self._writer = writer
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

    def directories(self) -> list[SpoolDirectory]:
        """Return the directories whose locks are held."""
        return [*self.former, self.directory]

    def read(self, max_records: int, max_bytes: int) -> list[SpooledSpan]:
        """Return the oldest unacknowledged spans (see `Spool`), of segments nobody writes to."""
        answer = Answer(max_records, max_bytes)
        self._given = []
        for segment in list(self.segments):
            if segment.is_newer or segment.is_acknowledged() or not self._is_final(segment):
                continue
            file = segment.file
            if file is not None and answer.spans:
                # A segment is a batch: no part of a further one.
                size_bytes = file.size_bytes
                if not answer.has_room_for(segment.waiting_spans(), size_bytes):
                    break
            if file is not None and self._is_held(file):
                is_whole = self._read_held(segment, file, answer)
            else:
                is_whole = self._read_stored(segment, answer)
            if not is_whole:
                break
        return answer.spans

    def _is_final(self, segment: StoredSegment) -> bool:
        file, writer = segment.file, self._writer
        return file is None or writer is None or writer.is_final(file)

    def _is_held(self, file: SegmentFile) -> bool:
        """Tell whether all spans of a final segment are in memory; if some are, forget them."""
        written = file.spans()
        if not written or (file.records is not None and len(file.records) == written):
            return True  # nothing needs reading to know that there is nothing
        self._release(file)
        return False

    def _release(self, file: SegmentFile) -> None:
        if self._writer is not None:
            self._writer.release(file)

    def _read_held(self, segment: StoredSegment, file: SegmentFile, answer: Answer) -> bool:
        """Give what is held; True if that was all of it."""
        segment.is_read, segment.found_spans = True, file.spans()
        is_long = file.size_bytes > answer.room_bytes
        name = segment.path.parent.name
        is_whole = True
        ordinal = segment.acknowledged_spans
        records = (file.records or [])[ordinal:]
        if not is_long and answer.has_room_for(len(records), 0):
            answer.take_all(name, segment.number, ordinal, records, self.resource)
            ordinal, records = ordinal + len(records), []
        for record in records:
            if answer.is_full():
                is_whole = False
                break
            ordinal += 1
            size_bytes = len(pack_span(record, 0)) if is_long else 0
            position = Position(name, segment.number, 0, ordinal)
            answer.take(SpooledSpan(position, record, self.resource), size_bytes)
        if is_whole and not is_long:
            answer.room_bytes -= file.size_bytes
        self._given.append((segment, 0, ordinal))
        return is_whole

    def _cursor_at(self, segment: StoredSegment) -> SegmentCursor:
        offset, ordinal = segment.acknowledged_offset, segment.acknowledged_spans
        cursor = self._cursor
        # As many spans on: only other records lie between, which were seen.
        if cursor is None or cursor.segment is not segment or cursor.ordinal != ordinal:
            cursor = self._cursor = SegmentCursor(segment, offset, ordinal)
        return cursor

    def _read_stored(self, segment: StoredSegment, answer: Answer) -> bool:
        """Read on in one segment on disk; True if it was read to its end."""
        cursor = self._cursor_at(segment)
        try:
            with contextlib.closing(cursor.outcomes()) as outcomes:  # type: ignore[type-var]
                for outcome in outcomes:
                    self._note(segment, outcome)
                    if isinstance(outcome, TornTail) and not segment.is_read:
                        self._books.damaged["torn"] += 1
                    if isinstance(outcome, Newer):
                        return True
                    if not isinstance(outcome, Frame) or not isinstance(outcome.record, SpanRecord):
                        continue
                    resource = self._same(outcome.resource)
                    span = SpooledSpan(cursor.span_position(), outcome.record, resource)
                    answer.take(span, outcome.end_offset - outcome.offset)
                    if answer.is_full():
                        self._given.append((segment, cursor.offset, cursor.ordinal))
                        return False
        except OSError as error:
            return self._cannot_read(cursor, error)
        self._finish(segment, cursor.ordinal, "damaged")
        self._given.append((segment, cursor.offset, cursor.ordinal))
        return True

    def _same(self, resource: ResourceEntry) -> ResourceEntry:
        known = self._resource
        if known is None or (known is not resource and known != resource):
            known = self._resource = resource
        return known

    def _note(self, segment: StoredSegment, outcome: Outcome) -> None:
        """Count what is seen for the first time."""
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

    def _cannot_read(self, cursor: SegmentCursor, error: OSError) -> bool:
        if error.errno in _OURS_TO_BEAR:
            return False
        segment = cursor.segment
        before, failures = self._failures
        failures = failures + 1 if before is segment else 1
        self._failures = (segment, failures)
        self._cursor = None
        if error.errno not in _LOST_FOR_GOOD and failures < _MAX_FAILURES:
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

    def holds(self, position: Position) -> bool:
        """Tell whether ``position`` is of a directory or a segment of this one."""
        return self.directory.name == position.directory or any(
            segment.path.parent.name == position.directory for segment in self.segments
        )

    def acknowledge(self, position: Position) -> None:
        """Count as done what the last `read` gave up to ``position``; remove what is done."""
        numbers = [segment.number for segment, _, _ in self._given]
        if position.segment in numbers:
            index = numbers.index(position.segment)
            with self._books.lock:
                for segment, offset, spans in self._given[:index]:
                    self._advance(segment, offset, spans)
                self._advance(self._given[index][0], position.offset, position.ordinal)
        self.settle()

    def _advance(self, segment: StoredSegment, offset: int, spans: int) -> None:
        if segment.is_read:
            spans = min(spans, segment.found_spans)
        if not segment.is_newer and spans > segment.acknowledged_spans:
            self._books.acknowledged += spans - segment.acknowledged_spans
            segment.acknowledged_spans = spans
            segment.acknowledged_offset = max(offset, segment.acknowledged_offset)

    def settle(self) -> None:
        """Remove what is wholly acknowledged, and write down how far the rest is.

        What is removed needs no checkpoint: nobody will read it. What cannot be removed does.
        """
        for segment in [segment for segment in self.segments if segment.is_acknowledged()]:
            self._remove(segment)
        offsets = {
            segment.number: segment.acknowledged_offset
            for segment in self.segments
            if segment.acknowledged_offset and segment.path.parent == self.directory.path
        }
        if offsets and offsets != self._checkpoint:
            if self.directory.write_checkpoint(offsets):
                self._checkpoint = offsets
            else:
                with self._books.lock:
                    self._books.failures["checkpoint"] += 1

    def _remove(self, segment: StoredSegment) -> bool:
        """Remove the file and its books; False if it still holds the only copy of an open start."""
        if segment.file is not None and not self._carry_starts(segment.file):
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
        if segment.file is not None:
            self._release(segment.file)
        return True

    def _carry_starts(self, file: SegmentFile) -> bool:  # noqa: ARG002 - see OwnBacklog
        return True

    def drop(self, segment: StoredSegment, reason: str) -> bool:
        """Remove a segment although it is not acknowledged; False if that was not possible."""
        if segment.is_newer:
            return False
        if segment.file is not None:
            if self._writer is not None:
                self._writer.retire(segment.file)
            if not self._is_final(segment):
                return False
        elif not self._read_to_its_end(segment):
            return False
        segment.is_damaged = False
        if not self._remove(segment):
            return False
        if self._cursor is not None and self._cursor.segment is segment:
            self._cursor = None
        with self._books.lock:
            dropped = segment.waiting_spans()
            self._books.dropped[reason] += dropped
            segment.lost_spans += dropped
            segment.is_read, segment.found_spans = True, segment.acknowledged_spans
        return True

    def _read_to_its_end(self, segment: StoredSegment) -> bool:
        """Find out how many spans go with a dead process's segment; False if it is to stay."""
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
        return True

    def has_ready(self, is_ready: Callable[[SegmentFile], bool] = lambda _: True) -> bool:
        """Tell whether a segment can be read; of this process's, one that ``is_ready``."""
        return any(
            not segment.is_newer
            and not segment.is_acknowledged()
            and (segment.file is None or (segment.waiting_spans() > 0 and is_ready(segment.file)))
            for segment in list(self.segments)
        )

    def waiting_spans(self) -> int:
        """Return how many spans this process answers for here."""
        return sum(segment.waiting_spans() for segment in list(self.segments))

    def is_done(self) -> bool:
        """Tell whether all that is left is for a later version, if anything."""
        return all(segment.is_newer for segment in self.segments)
