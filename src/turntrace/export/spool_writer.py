"""Appends spans to this process's segments: one write each, from any thread, without a lock."""

from __future__ import annotations

import _thread
import errno
import os
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from turntrace.errors import SpoolError
from turntrace.export.segment_file import SegmentFile
from turntrace.export.spool_directory import SEGMENT_SUFFIX
from turntrace.record.record_format import (
    FORMAT_VERSION,
    MAX_SCOPES,
    MIN_READER_VERSION,
    Header,
    ScopeTable,
    pack,
    pack_span,
    pack_start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from turntrace.clock import Clock
    from turntrace.export.segment_file import Position
    from turntrace.record.span_record import AttributeValue, SpanRecord

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
_SEGMENTS_PER_ROLL_SECOND: Final = 16
_NOTHING: Final = SegmentFile.__new__(SegmentFile)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})

_write = os.write
_monotonic = time.monotonic


class SpoolWriter:
    """Appends, and rolls from segment to segment.

    A segment that is still in use is ``current``. Whoever finds it full makes the next one; who
    finds another busy with that goes on in the old one, or has a segment for one record: no
    thread waits for another, and a signal handler or ``__del__`` in the middle of an append may
    append.

    Args:
        directory: Where segments are made; after `OSError` of a missing one, ``renew`` makes
            another.
        register: Told each segment before the first record is in it.
    """

    def __init__(
        self,
        *,
        directory: Callable[[], Path],
        renew: Callable[[], None],
        register: Callable[[SegmentFile], int],
        resource: Mapping[str, AttributeValue],
        schema_url: str,
        writer: str,
        clock: Clock,
        segment_bytes: int,
        roll_seconds: float,
    ) -> None:
        self._directory = directory
        self._renew = renew
        self._register = register
        self._resource = dict(resource)
        self._schema_url = schema_url
        self._writer = writer
        self._clock = clock
        self.segment_bytes = segment_bytes
        self._roll_seconds = roll_seconds
        self._scopes = ScopeTable()
        self._scope_number = self._scopes.number
        self._numbers = iter(range(1, 2**62)).__next__
        self.room_bytes = 2**62
        """How much `opened_bytes` may become; set by who watches over the disk."""
        self.opened_bytes = 0
        """About how much was written to segments that are no longer in use."""
        self.is_closed = False
        self._reset()

    def _reset(self) -> None:
        self.current = _NOTHING
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._is_rolling = _thread.allocate_lock()  # only ever tried, never waited for
        self._retired: deque[SegmentFile] = deque()
        self._retry_at = 0.0
        self._pause_seconds = 0.0
        self._why_paused = "disk_full"

    def append(self, record: SpanRecord) -> Position | None:
        """Write ``record``; None if it could not be written (see `Spool.append`)."""
        segment = self.current
        scope = self._scope_number(record.scope)
        if (
            scope > segment.known_scopes
            or segment.size_bytes >= self.segment_bytes
            or _monotonic() >= segment.roll_at
        ):
            return self._append_with_care(record, is_start=False)
        frame = pack_span(record, scope)
        size = len(frame)
        segment.enter()
        try:
            # Looked at after entering: from then on nobody takes it for quiet and closes it.
            if self.current is segment and _write(segment.descriptor, frame) == size:
                segment.size_bytes += size
                return segment.position
            segment.count_no_span()
        except OSError as error:
            segment.count_no_span()
            self._fail(segment, error)
            self._refuse(self._why_paused)
            return None
        finally:
            segment.leave()
        if self.current is segment:  # a short write
            self._fail(segment, None)
            self._refuse(self._why_paused)
            return None
        return self._append_with_care(record, is_start=False)

    def append_start(self, record: SpanRecord) -> Position | None:
        """Write that ``record``'s span has started (see `Spool.append_start`)."""
        return self._append_with_care(record, is_start=True)

    def _append_with_care(self, record: SpanRecord, *, is_start: bool) -> Position | None:
        scope = self._scope_number(record.scope)
        frame = (pack_start if is_start else pack_span)(record, scope)
        return self.append_frame(frame, scope, is_span=not is_start)

    def append_frame(self, frame: bytes, scope: int, *, is_span: bool) -> Position | None:
        """Write a frame that uses no scope above number ``scope``, wherever that is possible."""
        segment = self._enter()
        if segment is None:
            return None
        is_written = False
        known = segment.known_scopes
        try:
            if scope > known:
                entries, known = self._scopes.frames(after=known)
                frame = entries + frame
            is_written = _write(segment.descriptor, frame) == len(frame)
            error = None
        except OSError as raised:
            error = raised
        finally:
            if not (is_written and is_span):
                segment.count_no_span()
            segment.leave()
        if not is_written:
            self._fail(segment, error)
            self._refuse(self._why_paused)
            return None
        segment.size_bytes += len(frame)
        segment.known_scopes = max(segment.known_scopes, known)
        self._pause_seconds = 0.0
        return segment.position

    def _enter(self) -> SegmentFile | None:
        """Return a segment with room, entered, or None."""
        while True:
            segment = self.current
            has_had_its_time = _monotonic() >= segment.roll_at
            if segment.size_bytes < self.segment_bytes and not has_had_its_time:
                if self._has_entered(segment):
                    return segment
                continue
            if why := self._why_not():
                self._refuse(why)
                return None
            if not self._is_rolling.acquire(blocking=False):
                if segment is not _NOTHING and self._has_entered(segment):
                    return segment
                return self._open(is_private=True)
            try:
                if self.current is segment:
                    return self._open(is_private=False)
            finally:
                self._is_rolling.release()

    def _why_not(self) -> str:
        """Return why there is to be no further segment now, or an empty text."""
        if self.is_closed:
            return "closed"
        if _monotonic() < self._retry_at:
            return self._why_paused
        is_full = self.opened_bytes + self.current_bytes() >= self.room_bytes
        return "cap" if is_full else ""

    def _has_entered(self, segment: SegmentFile) -> bool:
        segment.enter()
        if self.current is segment:
            return True
        segment.count_no_span()
        segment.leave()
        return False

    def _open(self, *, is_private: bool) -> SegmentFile | None:
        """Return a new segment, entered and registered; ``current`` unless it is private."""
        try:
            segment = self._create()
        except OSError as error:
            if error.errno not in _GONE or is_private:
                self._pause(error)
                self._refuse(self._why_paused)
                return None
            try:
                self._renew()
                segment = self._create()
            except (OSError, SpoolError) as again:
                self._pause(again)
                self._refuse(self._why_paused)
                return None
        segment.enter()
        waiting = self._register(segment)
        # Many waiting segments: nobody takes them, so fewer and larger ones will do.
        seconds = self._roll_seconds * (1 + waiting // _SEGMENTS_PER_ROLL_SECOND)
        segment.roll_at = _monotonic() + seconds
        if is_private:
            self._retired.append(segment)
        else:
            before, self.current = self.current, segment
            self._put_away(before)
        return segment

    def _create(self) -> SegmentFile:
        """Create a segment that begins with its header and the scopes so far.

        Raises:
            OSError: It could not be created, or not be written.
        """
        directory = self._directory()
        number = self._numbers()
        segment = SegmentFile.create(directory / f"{number:012}{SEGMENT_SUFFIX}", number, 0.0)
        header = Header(
            FORMAT_VERSION,
            MIN_READER_VERSION,
            writer=self._writer,
            pid=os.getpid(),
            instance=directory.name,
            created_ns=self._clock.now_ns(),
            attributes=self._resource,
            schema_url=self._schema_url,
        )
        entries, segment.known_scopes = self._scopes.frames()
        beginning = pack(header) + entries
        try:
            if _write(segment.descriptor, beginning) != len(beginning):
                raise _short_write()
        except OSError:
            segment.close()
            segment.path.unlink(missing_ok=True)
            raise
        segment.size_bytes = len(beginning)
        return segment

    def retire(self, segment: SegmentFile) -> None:
        """Take ``segment`` out of use, if it is in use and nobody is replacing it just now."""
        if self.current is segment and self._is_rolling.acquire(blocking=False):
            try:
                if self.current is segment:
                    self.current = _NOTHING
                    self._put_away(segment)
            finally:
                self._is_rolling.release()

    def _put_away(self, segment: SegmentFile) -> None:
        """Close what is out of use, as soon as the last one has left it."""
        if segment is not _NOTHING:
            self.opened_bytes += segment.size_bytes
            self._retired.append(segment)
        self.close_quiet()

    def close_quiet(self) -> None:
        """Close the descriptors of segments out of use that nobody is in any more."""
        for _ in range(len(self._retired)):
            try:
                segment = self._retired.popleft()
            except IndexError:  # another thread was quicker
                return
            if segment.is_quiet():
                segment.close()
            else:
                self._retired.append(segment)

    def is_final(self, segment: SegmentFile) -> bool:
        """Tell whether nothing will be written to ``segment`` any more."""
        return self.current is not segment and segment.is_quiet()

    def current_bytes(self) -> int:
        """Return how much was written to the segment in use."""
        segment = self.current
        return 0 if segment is _NOTHING else segment.size_bytes

    @staticmethod
    def has_had_its_time(segment: SegmentFile) -> bool:
        """Tell whether the next append would make another segment because of its age."""
        return _monotonic() >= segment.roll_at

    def _refuse(self, reason: str) -> None:
        self.refused[reason] += 1

    def _fail(self, segment: SegmentFile, error: OSError | None) -> None:
        """Seal a segment whose last frame is torn, or may be."""
        self._pause(error or _short_write())
        self.retire(segment)

    def _pause(self, error: OSError | SpoolError) -> None:
        number = getattr(error, "errno", None)
        self._why_paused = "disk_full" if number in _FULL else "io_error"
        self.failures[errno.errorcode.get(number or 0, type(error).__name__)] += 1
        self._pause_seconds = min(
            _LONGEST_PAUSE_SECONDS, max(_FIRST_PAUSE_SECONDS, 2 * self._pause_seconds)
        )
        self._retry_at = _monotonic() + self._pause_seconds

    def after_fork_in_child(self, resource: Mapping[str, AttributeValue] | None) -> None:
        """Close the parent's descriptors, and begin with nothing."""
        for segment in (self.current, *self._retired):
            if segment is not _NOTHING:
                segment.close()
        if resource is not None:
            self._resource = dict(resource)
        self.opened_bytes = 0
        self._reset()


def _short_write() -> OSError:
    return OSError(errno.ENOSPC, "short write")


def _make_nothing() -> None:
    """Give the segment that stands for none what `SpoolWriter.append` looks at: it is full."""
    _NOTHING.known_scopes = MAX_SCOPES
    _NOTHING.size_bytes = 2**62
    _NOTHING.roll_at = 0.0
    _NOTHING.descriptor = -1


_make_nothing()
