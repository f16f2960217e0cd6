"""Keeps finished spans on disk, from the moment they end until a collector has acknowledged them.

`SpoolWriter` appends, a `Backlog` per directory reads and acknowledges; here they are one thing.
"""

from __future__ import annotations

import contextlib
import errno
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from turntrace.clock import SystemClock
from turntrace.export.disk_bounds import DiskBounds
from turntrace.export.orphans import MAX_ADOPTED, orphans
from turntrace.export.quarantine import Quarantine
from turntrace.export.spool_backlog import Backlog
from turntrace.export.spool_counts import Books, SpoolCounts
from turntrace.export.spool_directory import SpoolDirectory
from turntrace.export.spool_place import MOUNTS, make_private, refuse_network, spool_error
from turntrace.export.spool_writer import SpoolWriter
from turntrace.failsafe import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from turntrace.clock import Clock
    from turntrace.export.segment_file import Position, SegmentFile
    from turntrace.export.stored_segment import SpooledSpan, StoredSegment
    from turntrace.record.segment_reader import Frame
    from turntrace.record.span_record import AttributeValue, SpanRecord

MAX_DISK_BYTES: Final = 256 * 1024 * 1024
MAX_UNANSWERED_BYTES: Final = 16 * 1024 * 1024
SEGMENT_BYTES: Final = 1024 * 1024
MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
_ANSWERED: Final = ".answered"

Mark = tuple[tuple["StoredSegment", int], ...]
"""Which spans of this process were on disk at a moment; opaque."""


def _nothing_is_open(trace_id: bytes, span_id: bytes) -> bool:  # noqa: ARG001 - a default
    return False


def _nobody_looks(frame: Frame) -> None:
    pass


class Spool:
    """One process's spool, and those of dead processes with the same key.

    `append` and `append_start` may be called from any thread, a signal handler or ``__del__``;
    `counts` and `mark` from any thread; all else from one thread, the shipper's. Nothing but the
    constructor raises. There is no fsync: what was appended survives the end of the process,
    however that comes, but not a power cut.

    Args:
        root: Where all spools of this user lie; made if missing.
        key: From `spool_key`: what has the same key may be sent with the same headers.
        resource: What all spans of this process have in common; must have passed the guard.
        schema_url: The resource's.
        writer: Name and version of this program, written into each segment.
        max_disk_bytes: Of all segments under ``root``. The oldest go first.
        max_unanswered_bytes: Of what this process holds, while no collector has ever answered.
        segment_bytes: A longer segment is not appended to; 1 MB at most.
        roll_seconds: An older one neither; longer when many wait.
        clock: The wall clock, for headers.
        is_open: Tells of a trace and span id whether that span may still end in this process.
            Its start is copied forward before the segment with it is removed. Never raises.
        on_orphan_frame: Is shown each unacknowledged frame of a dead process's segment once,
            before the segment is removed: whoever closes open starts begins here. Never raises.
        mounts: Where it is written which file systems there are.

    Raises:
        SpoolError: ``root`` cannot be used: not writable, no directory, another user's, full, or
            on a network file system. Whoever called keeps spans in memory.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from turntrace.export.spool_place import spool_key
        >>> root = Path(tempfile.mkdtemp())
        >>> key = spool_key(root, service="chat", endpoint="http://localhost:4318", headers={})
        >>> spool = Spool(root=root, key=key, resource={"service.name": "chat"})
        >>> spool.read()
        []
        >>> spool.close()
    """

    append: Callable[[SpanRecord], Position | None]
    """Write a finished span with one ``write``; None if it could not be written whole.

    The caller still has the span then, and may keep it in memory; appends are tried anew after a
    pause, which grows from 0.05 s to 5 s. The position says in which segment it is.
    """

    append_start: Callable[[SpanRecord], Position | None]
    """Write that a span has started (its ``end_ns`` is ignored); as `append`."""

    def __init__(
        self,
        *,
        root: Path,
        key: str,
        resource: Mapping[str, AttributeValue],
        schema_url: str = "",
        writer: str = "turntrace",
        max_disk_bytes: int = MAX_DISK_BYTES,
        max_unanswered_bytes: int = MAX_UNANSWERED_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        roll_seconds: float = 1.0,
        clock: Clock | None = None,
        is_open: Callable[[bytes, bytes], bool] = _nothing_is_open,
        on_orphan_frame: Callable[[Frame], None] = _nobody_looks,
        mounts: Path = MOUNTS,
    ) -> None:
        self._root = root
        self._parent = root / key
        self._is_open = is_open
        self._on_orphan_frame = on_orphan_frame
        self._writer = SpoolWriter(
            directory=self._own_path,
            renew=self._renew,
            register=self._register,
            resource=resource,
            schema_url=schema_url,
            writer=writer,
            clock=clock or SystemClock(),
            segment_bytes=min(segment_bytes, SEGMENT_BYTES),
            roll_seconds=roll_seconds,
        )
        self._bounds = DiskBounds(
            root,
            self._writer,
            max_disk_bytes=max_disk_bytes,
            max_unanswered_bytes=max_unanswered_bytes,
        )
        self.append = self._writer.append
        self.append_start = self._writer.append_start
        try:
            make_private(root)
            self.filesystem = refuse_network(root, mounts)
            """The type of the file system, such as ``ext4``; empty where it is not known.
            What is on ``overlay`` dies with its container."""
            directory = SpoolDirectory.create(self._parent)
        except OSError as error:
            raise spool_error(self._parent, error) from None
        self._has_been_answered = (root / key / _ANSWERED).exists()
        self._begin(directory)
        self._bounds.keep(self)

    def _begin(self, directory: SpoolDirectory | None) -> None:
        self._books = Books()
        self._quarantine = Quarantine(self._parent, self._books)
        self._directory = directory
        self._former: list[SpoolDirectory] = []
        self._own: Backlog | None = self._make_own(directory) if directory else None
        self._adopted: list[Backlog] = []
        self._left_alone: set[str] = set()
        self._bounds.is_due_now()

    # What the writer asks for, in whatever thread appends.

    def _make_own(self, directory: SpoolDirectory) -> Backlog:
        return Backlog(
            directory,
            books=self._books,
            quarantine=self._quarantine,
            writer=self._writer,
            is_open=self._is_open,
            on_frame=self._on_orphan_frame,
        )

    def _own_path(self) -> Path:
        if self._directory is None:
            raise FileNotFoundError(errno.ENOENT, "there is no directory yet")
        return self._directory.path

    def _renew(self) -> None:
        """Make a directory: the first of a forked child, or instead of one that was deleted.

        Only the thread that rolls calls it.
        """
        directory = SpoolDirectory.create(self._parent)
        before, self._directory = self._directory, directory
        if before is not None:
            self._former.append(before)  # perhaps it is there: nobody is to adopt it from us
        if self._own is None:
            self._own = self._make_own(directory)
        else:
            self._own.directory = directory

    def _register(self, segment: SegmentFile) -> int:
        own = self._own
        return own.register(segment) if own else 0

    # The shipper's side.

    def backlogs(self) -> list[Backlog]:
        """Return what is read, in this order: adopted directories, then this process's own."""
        return [*self._adopted, *([self._own] if self._own else [])]

    def books(self) -> Books:
        """Return the counts as they are kept."""
        return self._books

    @property
    def has_been_answered(self) -> bool:
        """Whether a collector has ever answered a process with this key; may be set to True.

        As long as it is False, only the newest ``max_unanswered_bytes`` are kept.
        """
        return self._has_been_answered

    @has_been_answered.setter
    def has_been_answered(self, value: bool) -> None:
        if value and not self._has_been_answered:
            with contextlib.suppress(OSError):
                (self._parent / _ANSWERED).touch(0o600)
        self._has_been_answered = value

    def read(
        self,
        after: Position | None = None,
        max_records: int = 512,
        max_bytes: int = MAX_BATCH_BYTES,
    ) -> list[SpooledSpan]:
        """Return the oldest spans behind ``after``; without it, the oldest unacknowledged.

        What dead processes left comes first. The spans of one answer are of one directory, in the
        order in which they were written, ``max_records`` at most, and end with the first that
        makes them longer than ``max_bytes`` on disk. Damage is passed over and counted. An empty
        list: nothing is behind ``after`` for now; begin again without it.
        """
        with Guarded("spool"):
            self._bounds.keep(self)
            backlogs = self.backlogs()
            if after is not None:
                names = [self._holds(backlog, after) for backlog in backlogs]
                if True in names:
                    backlogs = backlogs[names.index(True) :]
                else:
                    after = None
            try:
                for backlog in backlogs:
                    found = backlog.read(after, max_records, max_bytes)
                    if found:
                        return found
                    after = None
            finally:
                self._settle(backlogs)
        return []

    @staticmethod
    def _holds(backlog: Backlog, position: Position) -> bool:
        return backlog.directory.name == position.directory or any(
            segment.path.parent.name == position.directory for segment in backlog.segments
        )

    def acknowledge(self, position: Position) -> None:
        """Take the fate of the spans up to ``position`` for known; those of its directory only.

        A checkpoint is written, by rename; then what is not needed any more is deleted.
        """
        with Guarded("spool"):
            for backlog in self.backlogs():
                if self._holds(backlog, position):
                    backlog.acknowledge(position)
            self._release_done()

    def _settle(self, backlogs: list[Backlog]) -> None:
        for backlog in backlogs:
            if any(segment.is_acknowledged() for segment in backlog.segments):
                backlog.settle()
        self._release_done()

    def _release_done(self) -> None:
        for backlog in [backlog for backlog in self._adopted if backlog.is_done()]:
            self._adopted.remove(backlog)
            if backlog.segments:
                self._left_alone.add(backlog.directory.name)
            backlog.directory.remove()

    def adopt(self) -> int:
        """Take over what dead processes with the same key have left; return how many they were."""
        count = 0
        with Guarded("spool"):
            held = {backlog.directory.name for backlog in self._adopted} | self._left_alone
            if self._directory is not None:
                held |= {self._directory.name, *(former.name for former in self._former)}
            for directory in orphans(self._parent, held):
                if len(self._adopted) >= MAX_ADOPTED:
                    directory.forget()
                    break
                try:
                    backlog = Backlog(
                        directory,
                        books=self._books,
                        quarantine=self._quarantine,
                        is_open=self._is_open,
                        on_frame=self._on_orphan_frame,
                    )
                except OSError:
                    directory.forget()
                    continue
                self._adopted.append(backlog)
                count += 1
        return count

    def mark(self) -> Mark:
        """Return what of this process is on disk now, for `is_settled`."""
        segments = list(self._own.segments) if self._own else []
        return tuple([(segment, segment.written_spans()) for segment in segments])

    def is_settled(self, mark: Mark) -> bool:
        """Tell whether all that was on disk at ``mark`` is acknowledged, dropped or lost."""
        return all(segment.has_acknowledged(spans) for segment, spans in mark)

    def counts(self) -> SpoolCounts:
        """Return the books; from any thread."""
        books = self._books
        with books.lock:
            own = list(self._own.segments) if self._own else []
            appended = books.appended_and_gone + sum(segment.written_spans() for segment in own)
            waiting = sum(segment.waiting_spans() for segment in own)
            waiting += sum(backlog.waiting_spans() for backlog in self._adopted)
            return SpoolCounts(
                appended=appended,
                adopted=books.adopted,
                acknowledged=books.acknowledged,
                unacknowledged=waiting,
                dropped=MappingProxyType(dict(+books.dropped)),
                dropped_of_others=books.dropped_of_others,
                refused=MappingProxyType(dict(self._writer.refused)),
                failures=MappingProxyType(dict(self._writer.failures + books.failures)),
                damaged=MappingProxyType(dict(books.damaged)),
                quarantined=books.quarantined,
                newer=books.newer,
                unknown=books.unknown,
            )

    def close(self) -> None:
        """Stop writing and give the directories up; what is unacknowledged waits for the next."""
        with Guarded("spool"):
            self._writer.is_closed = True
            self._writer.retire(self._writer.current)
            if self._own is not None:
                if not self._own.waiting_spans():
                    self._own.read(None, 1, 1)
                self._settle([self._own])
            for backlog in self._adopted:
                backlog.directory.remove()
            for directory in (*self._former, *([self._directory] if self._directory else [])):
                directory.remove()

    def after_fork_in_child(self, resource: Mapping[str, AttributeValue] | None = None) -> None:
        """Let go of all that is the parent's, in a forked child; nothing is written or deleted.

        The child's own directory is made when it first appends. ``resource`` is its own, where it
        is another one.
        """
        with Guarded("spool"):
            for backlog in self._adopted:
                backlog.directory.forget()
            for directory in (*self._former, *([self._directory] if self._directory else [])):
                directory.forget()
            self._writer.after_fork_in_child(resource)
            self._begin(None)
