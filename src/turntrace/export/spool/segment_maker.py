"""Makes this process's segments: where, how long they may be, and what of them is held."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from turntrace.export.spool.directory import SEGMENT_SUFFIX
from turntrace.export.spool.segment_file import SegmentFile
from turntrace.record.record_format import FORMAT_VERSION, MIN_READER_VERSION, Header, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from turntrace.clock import Clock
    from turntrace.record.record_format import ScopeTable
    from turntrace.record.span_record import AttributeValue

_LEAST_SHARE: Final = 8


class Home(Protocol):
    """Where segments are made, for as long as somebody has entered and not left."""

    @property
    def path(self) -> Path:
        """The directory."""
        ...

    def register(self, segment: SegmentFile) -> None:
        """Take a new segment into the books."""
        ...

    def leave(self) -> object:
        """Let it be given up, as far as this visitor is concerned."""
        ...


class HeldBudget:
    """How much of what is on disk is held in memory, too; about, in packed bytes.

    `commit` is called by one thread at a time, `release` by the reading thread only: each has a
    count of its own, so there is no lock.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._committed_bytes = 0
        self._released_bytes = 0

    def left_bytes(self, in_use: SegmentFile) -> int:
        """Return how much the segment after ``in_use`` may take; 0 if that is hardly anything."""
        left = self.max_bytes - (self._committed_bytes - self._released_bytes)
        if in_use.records is not None:
            left -= in_use.size_bytes
        return left if left >= max(1, self.max_bytes // _LEAST_SHARE) else 0

    def commit(self, segment: SegmentFile) -> None:
        """Count a segment that is about to be out of use."""
        if segment.records is not None:
            segment.held_bytes = segment.size_bytes
            self._committed_bytes += segment.held_bytes

    def release(self, segment: SegmentFile) -> None:
        """Hold nothing of ``segment`` any more; it is final."""
        segment.release_records()
        self._released_bytes += segment.held_bytes
        segment.held_bytes = 0


class SegmentMaker:
    """Makes one segment after the other; each begins with its header and the scopes so far.

    Args:
        enter_home: Where segments are made, entered. The home is told each segment before the
            first record is in it.
        scopes: Of this process.
    """

    def __init__(
        self,
        *,
        enter_home: Callable[[], Home],
        resource: Mapping[str, AttributeValue],
        schema_url: str,
        writer: str,
        clock: Clock,
        scopes: ScopeTable,
        segment_bytes: int,
        held_bytes: int,
    ) -> None:
        self._enter_home = enter_home
        self.resource = dict(resource)
        self.schema_url = schema_url
        self._writer = writer
        self._clock = clock
        self._scopes = scopes
        self._segment_bytes = segment_bytes
        self._numbers = iter(range(1, 2**62)).__next__
        self.budget = HeldBudget(held_bytes)
        self._spares: deque[SegmentFile] = deque(maxlen=1)

    def prepare(self) -> None:
        """Create the next segment ahead of its time, so that no thread of the app waits for that.

        Called by the reading thread.

        Raises:
            OSError: It could not be created, or not be written.
        """
        if self._spares:
            return
        home = self._enter_home()
        try:
            self._spares.append(self._create(home))
        finally:
            home.leave()

    def discard(self) -> None:
        """Remove what was prepared and is not in use yet."""
        with contextlib.suppress(IndexError, OSError):
            _remove(self._spares.pop())

    def _take_spare(self, home: Home) -> SegmentFile | None:
        with contextlib.suppress(IndexError, OSError):
            spare = self._spares.pop()
            if spare.path.parent == home.path and spare.path.exists():
                return spare
            _remove(spare)  # not put back: there may be another by now
        return None

    def make(self, after: SegmentFile | None) -> tuple[SegmentFile, int]:
        """Create a segment that comes into use ``after`` another, and enter it.

        One for a single record comes after none, and is not held.

        Raises:
            OSError: It could not be created, or not be written.
        """
        held_bytes = self.budget.left_bytes(after) if after else 0
        max_bytes = min(self._segment_bytes, held_bytes) if held_bytes else self._segment_bytes
        home = self._enter_home()
        try:
            segment = self._take_spare(home) or self._create(home)
            segment.max_bytes = segment.direct_bytes = max_bytes
            if held_bytes:
                segment.hold_records()
            place = segment.enter()
            home.register(segment)
        finally:
            home.leave()
        return segment, place

    def _create(self, home: Home) -> SegmentFile:
        number = self._numbers()
        path = home.path / f"{number:012}{SEGMENT_SUFFIX}"
        segment = SegmentFile.create(path, number, self._segment_bytes)
        header = Header(
            FORMAT_VERSION,
            MIN_READER_VERSION,
            writer=self._writer,
            pid=os.getpid(),
            instance=segment.path.parent.name,
            created_ns=self._clock.now_ns(),
            attributes=self.resource,
            schema_url=self.schema_url,
        )
        entries, segment.known_scopes = self._scopes.frames()
        beginning = pack(header) + entries
        try:
            if os.write(segment.descriptor, beginning) != len(beginning):
                raise short_write()
        except OSError:
            _remove(segment)
            raise
        segment.size_bytes = len(beginning)
        return segment

    def after_fork_in_child(self, resource: Mapping[str, AttributeValue] | None) -> None:
        """Hold nothing, and describe the child where it is another resource."""
        self.budget = HeldBudget(self.budget.max_bytes)
        while self._spares:
            self._spares.pop().close()  # the file is the parent's
        if resource is not None:
            self.resource = dict(resource)


def _remove(segment: SegmentFile) -> None:
    segment.close()
    segment.path.unlink(missing_ok=True)


def short_write() -> OSError:
    """Return what is the matter when less was written than was to be."""
    return OSError(errno.ENOSPC, "short write")
