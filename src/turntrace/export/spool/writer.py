"""Appends spans to this process's segments: one write each, from any thread, without a lock."""

from __future__ import annotations

import _thread
import contextlib
import errno
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from turntrace.errors import SpoolError
from turntrace.export.spool.direct_write import direct_write, write_or_raise
from turntrace.export.spool.segment_file import SegmentFile, StartFrame
from turntrace.export.spool.segment_maker import short_write
from turntrace.export.spool.slow_disk import Delayed, SlowDisk
from turntrace.failsafe import Guarded, swallowed
from turntrace.record.record_format import MAX_SCOPES, pack_span, pack_start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turntrace.export.spool.direct_write import Write
    from turntrace.export.spool.segment_file import Position
    from turntrace.export.spool.segment_maker import SegmentMaker
    from turntrace.record.record_format import ScopeTable
    from turntrace.record.span_record import AttributeValue, SpanRecord

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
_TIMED_PLACES: Final = 63
"""Of 64 writes, that at the place without one of these bits is timed."""
_PLACES_WHILE_ROLLING: Final = 64
_MAX_DRAIN_SECONDS: Final = 0.5
_MAX_LEAVE_ROUNDS: Final = 100
_NOTHING: Final = SegmentFile(Path(), 0, -1, 0)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


class SpoolWriter:
    """Appends, and rolls from segment to segment.

    A segment that is still in use is ``current``. Whoever finds it full makes the next one; who
    finds another busy with that goes on in the old one, or has a segment for one record: no
    thread waits for another, and a signal handler or ``__del__`` in the middle of an append may
    append.

    Args:
        maker: Makes segments; after `OSError` of a missing directory ``renew`` makes another.
        scopes: The maker's, too.
        on_segment: Called by who opens a segment, or has filled it, when he has left it.
        write: Must not raise; -1 says that nothing was written.
    """

    def __init__(
        self,
        *,
        maker: SegmentMaker,
        scopes: ScopeTable,
        renew: Callable[[], None],
        segment_bytes: int,
        batch_spans: int,
        on_segment: Callable[[], None],
        write: Write = direct_write,
    ) -> None:
        self._maker = maker
        self._renew = renew
        self.segment_bytes = segment_bytes
        self._last_place = max(1, batch_spans) - 1
        self._on_segment = on_segment
        self._write = write
        self._scopes = scopes
        self._scope_number = self._scopes.number
        self.room_bytes = 2**62
        """How much `opened_bytes` may become; set by who watches over the disk."""
        self.opened_bytes = 0
        """About how much was written to segments that are no longer in use."""
        self.is_closing = self.is_closed = False
        self._reset()

    def _reset(self) -> None:
        self.current = _NOTHING
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.slow_disk = SlowDisk(self._append_frame, lambda: self._write)
        self._is_rolling = _thread.allocate_lock()  # only ever tried, never waited for
        self._retired: deque[SegmentFile] = deque()
        self._retry_at = 0.0
        self._pause_seconds = 0.0
        self._why_paused = "disk_full"

    def append(self, record: SpanRecord) -> Position | None:
        """Write ``record``; None if it could not be written (see `Spool.append`)."""
        segment = self.current
        scope = self._scope_number(record.scope)
        if scope > segment.known_scopes or segment.size_bytes >= segment.direct_bytes:
            return self._append_with_care(record, is_start=False)
        frame = pack_span(record, scope)
        size = len(frame)
        written = -1
        try:
            place = segment.enter()  # in here: what a signal handler raises comes behind it
            # Looked at after entering: from then on nobody takes it for quiet and closes it.
            if place & _TIMED_PLACES and place < self._last_place and self.current is segment:
                write = self._write
                written = write(segment.descriptor, frame, size)
                if written == size:
                    segment.size_bytes += size
                    segment.hold(record)
                    return segment.position
            at: Position | str = "full"
            is_in_place = self.current is segment and place <= self._last_place
            if is_in_place or written >= 0:
                at = self._put(segment, place, Delayed(frame, scope, record), written=written)
            else:
                segment.count_no_span()
        except Exception as error:  # noqa: BLE001 - a signal handler's, in the middle
            swallowed("an append", error)
            return segment.position  # it counts here; what was not written is missed
        finally:
            segment.leave()
        if is_in_place or written >= 0:
            return self._answer(self._conclude(segment, place, at))
        return self._answer(self._append_frame(Delayed(frame, scope, record)))

    def append_start(self, record: SpanRecord) -> Position | None:
        """Write that ``record``'s span has started (see `Spool.append_start`)."""
        return self._append_with_care(record, is_start=True)

    def append_again(self, start: StartFrame) -> Position | None:
        """Copy the start of an open span into the segment in use, or the next one."""
        return self._answer(self._append_frame(Delayed(start.frame, start.scope, None, start)))

    def _append_with_care(self, record: SpanRecord, *, is_start: bool) -> Position | None:
        scope = self._scope_number(record.scope)
        if is_start:
            frame = pack_start(record, scope)
            start = StartFrame(record.trace_id, record.span_id, frame, scope)
            entry = Delayed(frame, scope, None, start)
        else:
            entry = Delayed(pack_span(record, scope), scope, record)
        if self.slow_disk.is_slow:
            return self._answer("closed" if self.is_closing else self.slow_disk.put(entry))
        return self._answer(self._append_frame(entry))

    def _append_frame(self, entry: Delayed, write: Write | None = None) -> Position | str:
        """Write a frame wherever that is possible; return why not, if it is not."""
        entered = self._enter()
        if isinstance(entered, str):
            return entered
        segment, place = entered
        try:
            at = self._put(segment, place, entry, write)
        except Exception as error:  # noqa: BLE001 - as above
            swallowed("an append", error)
            at = segment.position
        finally:
            segment.leave()
        return self._conclude(segment, place, at)

    def _put(
        self,
        segment: SegmentFile,
        place: int,
        entry: Delayed,
        write: Write | None = None,
        written: int = -1,
    ) -> Position | str:
        """Write into a segment that was entered; ``written`` if that was tried."""
        frame, known = entry.frame, segment.known_scopes
        if entry.start is not None:
            segment.count_no_span()  # now: whatever is raised here, it is none
        if entry.scope > known:
            entries, known = self._scopes.frames(after=known)
            frame = entries + frame
        error: OSError | None = None
        try:
            if written < 0:
                written = self._write_watched(segment.descriptor, frame, place, write)
        except OSError as raised:
            error = raised
        if written != len(frame):
            if entry.start is None:
                segment.count_no_span()
            self._pause(error or short_write())
            return self._why_paused
        segment.size_bytes += len(frame)
        segment.known_scopes = max(segment.known_scopes, known)
        self._pause_seconds = 0.0
        if entry.start is not None:
            segment.starts.append(entry.start)
        elif entry.record is not None:
            segment.hold(entry.record)
        return segment.position

    def _write_watched(self, descriptor: int, frame: bytes, place: int, write: Write | None) -> int:
        """Write with ``write``, or without giving up the GIL; tell the watchdog of some.

        Raises:
            OSError: Nothing was written.
        """
        size = len(frame)
        if write is not None:
            return write(descriptor, frame, size)
        if place & _TIMED_PLACES:
            written = self._write(descriptor, frame, size)
        else:
            started = time.monotonic()
            written = self._write(descriptor, frame, size)
            if self.slow_disk.note(time.monotonic() - started):
                self.current.direct_bytes = -1
        # It says no reason; a second try does, or there was none.
        return write_or_raise(descriptor, frame, size) if written < 0 else written

    def _conclude(self, segment: SegmentFile, place: int, at: Position | str) -> Position | str:
        """Do what is to be done when the segment was left."""
        with Guarded("an append"):
            if isinstance(at, str):
                self.retire(segment)  # its last frame is torn, or may be
            if place in (0, self._last_place):
                self._on_segment()
        return at

    def _answer(self, at: Position | str) -> Position | None:
        if isinstance(at, str):
            self.refused[at] += 1
            return None
        return at

    def _enter(self) -> tuple[SegmentFile, int] | str:
        """Return a segment with room, entered, and the place in it; or why there is none."""
        while True:
            segment = self.current
            if segment.size_bytes < segment.max_bytes:
                place = self._place_in(segment, self._last_place)
                if place >= 0:
                    return segment, place
                if self.current is not segment:
                    continue
            if why := self._why_not():
                return why
            if not self._is_rolling.acquire(blocking=False):
                if segment is not _NOTHING:
                    place = self._place_in(segment, self._last_place + _PLACES_WHILE_ROLLING)
                    if place >= 0:
                        return segment, place
                return self._open(is_private=True)
            try:
                if self.current is segment:
                    return self._open(is_private=False)
            finally:
                self._end_rolling()

    def _end_rolling(self) -> None:
        self._is_rolling.release()
        if self.is_closed:  # meanwhile, when `close` could not retire what was made
            self.retire(self.current)

    def _place_in(self, segment: SegmentFile, last_place: int) -> int:
        """Enter ``segment`` and return the place, or -1 if there is none."""
        place = segment.enter()
        if self.current is segment and place <= last_place:
            if segment.direct_bytes < 0 and not self.slow_disk.is_slow:
                segment.direct_bytes = segment.max_bytes
            return place
        segment.count_no_span()
        segment.leave()
        return -1

    def _why_not(self) -> str:
        """Return why there is to be no further segment now, or an empty text."""
        if self.is_closed:
            return "closed"
        if time.monotonic() < self._retry_at:
            return self._why_paused
        is_full = self.opened_bytes + self.current_bytes() >= self.room_bytes
        return "cap" if is_full else ""

    def _open(self, *, is_private: bool) -> tuple[SegmentFile, int] | str:
        """Return a new segment, entered and registered; ``current`` unless it is private."""
        before = None if is_private else self.current
        try:
            entered = self._maker.make(before)
        except OSError as error:
            if error.errno not in _GONE or is_private:
                self._pause(error)
                return self._why_paused
            try:
                self._renew()
                entered = self._maker.make(before)
            except (OSError, SpoolError) as again:
                self._pause(again)
                return self._why_paused
        segment, _ = entered
        if self.slow_disk.is_slow:
            segment.direct_bytes = -1
        if is_private:
            self._retired.append(segment)
        else:
            self._replace(segment)
        return entered

    def prepare(self) -> None:
        """Have the next segment ready, if there may be one; for the reading thread."""
        if not self._why_not():
            with contextlib.suppress(OSError):
                self._maker.prepare()

    def retire(self, segment: SegmentFile) -> None:
        """Take ``segment`` out of use, if it is in use and nobody is replacing it just now."""
        if self.current is segment and self._is_rolling.acquire(blocking=False):
            try:
                if self.current is segment:
                    self._replace(_NOTHING)
            finally:
                self._is_rolling.release()

    def retire_current(self, *, is_full: bool = False) -> None:
        """Take the segment in use out of use if spans are in it; or only if it is full."""
        segment = self.current
        if segment is not _NOTHING and (self.is_full(segment) if is_full else segment.spans()):
            self.retire(segment)

    def _replace(self, segment: SegmentFile) -> None:
        """Put ``segment`` into use; close the one before as soon as the last one has left it."""
        before = self.current
        if before is not _NOTHING:
            self._maker.budget.commit(before)  # as long as nobody can release it
        self.current = segment
        if before is not _NOTHING:
            self.opened_bytes += before.size_bytes
            self._retired.append(before)
        self.close_quiet()

    def close_quiet(self) -> None:
        """Close the descriptors of segments out of use that nobody is in any more."""
        for _ in range(len(self._retired)):
            with contextlib.suppress(IndexError):  # another thread was quicker
                segment = self._retired.popleft()
                if segment.is_quiet():
                    segment.close()
                else:
                    self._retired.append(segment)

    def is_final(self, segment: SegmentFile) -> bool:
        """Tell whether nothing will be written to ``segment`` any more."""
        return self.current is not segment and segment.is_quiet()

    def is_full(self, segment: SegmentFile) -> bool:
        """Tell whether there is no room in ``segment`` any more."""
        is_long = segment.size_bytes >= segment.max_bytes
        return is_long or segment.entered() > self._last_place

    def release(self, segment: SegmentFile) -> None:
        """Hold nothing of ``segment`` any more, in the reading thread; it is final."""
        self._maker.budget.release(segment)

    def current_bytes(self) -> int:
        """Return how much was written to the segment in use."""
        segment = self.current
        return 0 if segment is _NOTHING else segment.size_bytes

    def _pause(self, error: OSError | SpoolError) -> None:
        number = getattr(error, "errno", None)
        self._why_paused = "disk_full" if number in _FULL else "io_error"
        self.failures[errno.errorcode.get(number or 0, type(error).__name__)] += 1
        longer = max(_FIRST_PAUSE_SECONDS, 2 * self._pause_seconds)
        self._pause_seconds = min(_LONGEST_PAUSE_SECONDS, longer)
        self._retry_at = time.monotonic() + self._pause_seconds

    def close(self) -> None:
        """Write what waits for a slow disk, and let who is inside leave; for 0.6 s at most."""
        self.is_closing = True
        self.slow_disk.close(_MAX_DRAIN_SECONDS)
        self.is_closed = True
        for _ in range(_MAX_LEAVE_ROUNDS):
            self.retire(self.current)
            if self.is_quiet():
                break
            time.sleep(0.001)
        self._maker.discard()

    def is_quiet(self) -> bool:
        """Tell whether no segment is in use, and nobody is inside one that was."""
        return self.current is _NOTHING and not self._retired and not self._is_rolling.locked()

    def after_fork_in_child(self, resource: Mapping[str, AttributeValue] | None) -> None:
        """Close the parent's descriptors, and begin with nothing."""
        for segment in (self.current, *self._retired):
            if segment is not _NOTHING:
                segment.close()
        self._maker.after_fork_in_child(resource)
        self.opened_bytes = 0
        self._reset()


# What `SpoolWriter.append` looks at first: it is full.
_NOTHING.known_scopes, _NOTHING.size_bytes = MAX_SCOPES, 2**62
