"""What waits in the directory that this process writes to, until it is sent or handed over."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from turntrace.atomic_count import ticks
from turntrace.export.spool.backlog import Backlog
from turntrace.export.spool.stored_segment import StoredSegment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turntrace.export.spool.counts import Books
    from turntrace.export.spool.directory import SpoolDirectory
    from turntrace.export.spool.quarantine import Quarantine
    from turntrace.export.spool.segment_file import SegmentFile
    from turntrace.export.spool.writer import SpoolWriter
    from turntrace.record.record_format import ResourceEntry
    from turntrace.record.segment_reader import Frame


class OwnBacklog(Backlog):
    """A `Backlog` that grows: any thread calls `enter`, `register` and `leave`.

    Args:
        is_open: Tells of a trace and span id whether that span may still end here; its start is
            copied into the current segment before the segment that holds it is removed.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        *,
        books: Books,
        quarantine: Quarantine,
        writer: SpoolWriter,
        resource: ResourceEntry,
        is_open: Callable[[bytes, bytes], bool],
        on_frame: Callable[[Frame], None],
    ) -> None:
        super().__init__(
            directory,
            books=books,
            quarantine=quarantine,
            writer=writer,
            resource=resource,
            on_frame=on_frame,
        )
        self._appender = writer
        self._is_open = is_open
        self._entered = itertools.count()
        self._left = itertools.count()
        self.enter = self._entered.__next__
        """To be called by who makes a segment here, and then looks if it is still the place."""
        self.leave = self._left.__next__

    @property
    def path(self) -> Path:
        """The directory in which segments are made now."""
        return self.directory.path

    def register(self, segment: SegmentFile) -> None:
        """Take a new segment of this process into the list."""
        self.segments.append(StoredSegment(segment.path, segment.number, segment))

    def is_quiet(self) -> bool:
        """Tell whether nobody makes a segment here just now."""
        left = ticks(self._left)
        return left == ticks(self._entered)

    def _carry_starts(self, file: SegmentFile) -> bool:
        """Copy the starts of open spans into the current segment; False if they are to stay."""
        self._forget_ended(file)
        if not file.spans() and 2 * len(file.starts) >= file.entered():
            return False  # little would be won, again and again
        while file.starts:
            if self._appender.append_again(file.starts[-1]) is None:
                return False
            file.starts.pop()
        return True

    def _forget_ended(self, file: SegmentFile) -> None:
        file.starts = [
            start for start in file.starts if self._is_open(start.trace_id, start.span_id)
        ]

    def forget_ended(self) -> None:
        """Forget the starts of spans that have ended since; they are not to be carried on."""
        for segment in list(self.segments):
            if segment.file is not None and segment.file.starts and self._is_final(segment):
                self._forget_ended(segment.file)

    def is_given_up(self) -> bool:
        """Let go of the directory as soon as nobody writes there; True if that has happened.

        What waits is from then on the business of who takes the lock.
        """
        for segment in list(self.segments):
            if segment.file is not None:
                self._appender.retire(segment.file)
        if not self.is_quiet() or not all(map(self._is_final, list(self.segments))):
            return False
        for segment in list(self.segments):
            if segment.file is not None:
                self._hand_over(segment, segment.file)
        for directory in self.directories():
            directory.remove()
        return True

    def _hand_over(self, segment: StoredSegment, file: SegmentFile) -> None:
        self._forget_ended(file)
        for start in file.starts:
            self._appender.append_again(start)
        waiting = segment.waiting_spans()
        if not waiting:
            with contextlib.suppress(OSError):
                segment.path.unlink(missing_ok=True)
        with self._books.lock:
            self.segments.remove(segment)
            self._books.appended_and_gone += segment.written_spans()
            self._books.handed_over += waiting
            segment.is_handed_over = True
        self._release(file)
