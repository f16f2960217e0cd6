"""Keeps finished spans on disk, from the moment they end until a collector has acknowledged them.

`SpoolWriter` appends, a `Backlog` per directory reads and acknowledges; here they are one thing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from turntrace.clock import SystemClock
from turntrace.errors import SpoolError
from turntrace.export.spool.backlog import Backlog
from turntrace.export.spool.counts import Books
from turntrace.export.spool.disk_bounds import DiskBounds
from turntrace.export.spool.orphans import MAX_ADOPTED, orphans
from turntrace.export.spool.own_backlog import OwnBacklog
from turntrace.export.spool.own_directories import OwnDirectories
from turntrace.export.spool.place import MOUNTS, make_private, refuse_network, spool_error
from turntrace.export.spool.quarantine import Quarantine
from turntrace.export.spool.segment_maker import SegmentMaker
from turntrace.export.spool.state import Mark, current_counts
from turntrace.export.spool.writer import SpoolWriter
from turntrace.failsafe import Guarded
from turntrace.record.record_format import ResourceEntry, ScopeTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from turntrace.clock import Clock
    from turntrace.export.spool.counts import SpoolCounts
    from turntrace.export.spool.directory import SpoolDirectory
    from turntrace.export.spool.segment_file import Position
    from turntrace.export.spool.stored_segment import SpooledSpan
    from turntrace.record.segment_reader import Frame
    from turntrace.record.span_record import AttributeValue, SpanRecord

MAX_DISK_BYTES: Final = 256 * 1024 * 1024
MAX_UNANSWERED_BYTES: Final = 16 * 1024 * 1024
SEGMENT_BYTES: Final = 1024 * 1024
BATCH_SPANS: Final = 512
HELD_BYTES: Final = 1_000_000
MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
_ANSWERED: Final = ".answered"


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
        batch_spans: Nor is one with so many spans.
        held_bytes: So much of what is on disk is kept in memory as well, to be sent from there.
        on_segment: Called in the appending thread whenever a segment is opened. Never raises,
            takes no lock.
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
        >>> from turntrace.export.spool.place import spool_key
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
        batch_spans: int = BATCH_SPANS,
        held_bytes: int = HELD_BYTES,
        on_segment: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        is_open: Callable[[bytes, bytes], bool] = lambda *_: False,
        on_orphan_frame: Callable[[Frame], None] = lambda _: None,
        mounts: Path = MOUNTS,
    ) -> None:
        self._parent = root / key
        self._is_open = is_open
        self._on_orphan_frame = on_orphan_frame
        self._resource = ResourceEntry(0, dict(resource), schema_url)
        self._own = OwnDirectories(self._parent, self._make_own)
        scopes = ScopeTable()
        segment_bytes = min(segment_bytes, SEGMENT_BYTES)
        maker = SegmentMaker(
            enter_home=self._own.enter,
            resource=resource,
            schema_url=schema_url,
            writer=writer,
            clock=clock or SystemClock(),
            scopes=scopes,
            segment_bytes=segment_bytes,
            held_bytes=held_bytes,
        )
        self._writer = SpoolWriter(
            maker=maker,
            scopes=scopes,
            renew=self._own.renew,
            segment_bytes=segment_bytes,
            batch_spans=batch_spans,
            on_segment=on_segment,
        )
        self._bounds = DiskBounds(
            root,
            self._writer,
            max_disk_bytes=max_disk_bytes,
            max_unanswered_bytes=max_unanswered_bytes,
        )
        self.append = self._writer.append
        self.append_start = self._writer.append_start
        self.prepare = self._writer.prepare
        self.stop_writing = self._writer.close
        self._begin()
        try:
            make_private(root)
            self.filesystem = refuse_network(root, mounts)
            """The type of the file system, such as ``ext4``; empty where it is not known.
            What is on ``overlay`` dies with its container."""
            self._own.renew()
        except (OSError, ValueError) as error:
            raise spool_error(self._parent, error) from None
        self._has_been_answered = (self._parent / _ANSWERED).exists()
        self._bounds.keep(self)

    def _begin(self) -> None:
        self._books = Books()
        self._quarantine = Quarantine(self._parent, self._books)
        self._own.forget()
        self._adopted: list[Backlog] = []
        self._left_alone: set[str] = set()
        self._prefers_own = False
        self.has_let_go = False

    def _make_own(self, directory: SpoolDirectory) -> OwnBacklog:
        return OwnBacklog(
            directory,
            books=self._books,
            quarantine=self._quarantine,
            writer=self._writer,
            resource=self._resource,
            is_open=self._is_open,
            on_frame=self._on_orphan_frame,
        )

    # The shipper's side.

    def backlogs(self) -> list[Backlog]:
        """Return what is read, in this order: adopted directories, then this process's own."""
        return [*self._adopted, *self._own.all()]

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
        self, max_records: int = 512, max_bytes: int = MAX_BATCH_BYTES, *, retire: bool = True
    ) -> list[SpooledSpan]:
        """Return the oldest unacknowledged spans: of this process, or of a dead one, in turn.

        With ``retire`` the segment in use is taken out of use; without, only what is full, and
        what dead processes left, is given. The spans of one answer are of one directory, in the
        order in which they were written, ``max_records`` at most, and end with the first that
        makes them longer than ``max_bytes`` on disk. Damage is passed over and counted. Until
        something is acknowledged the same spans come again.
        """
        with Guarded("spool"):
            for is_own in (self._prefers_own, not self._prefers_own):
                found = (
                    self.read_own(max_records, max_bytes, retire=retire)
                    if is_own
                    else self._read_first(self._adopted, max_records, max_bytes)
                )
                if found:
                    self._prefers_own = is_own  # until something is acknowledged
                    return found
        return []

    def read_own(
        self, max_records: int = 512, max_bytes: int = MAX_BATCH_BYTES, *, retire: bool = True
    ) -> list[SpooledSpan]:
        """Return the oldest unacknowledged spans of this process (see `read`)."""
        current = self._own.current
        if current is None:
            return []
        found = self._read_first([current], max_records, max_bytes)
        if not found:
            self._writer.retire_current(is_full=not retire)
            found = self._read_first([current], max_records, max_bytes)
        return found

    def _read_first(
        self, backlogs: Sequence[Backlog], max_records: int, max_bytes: int
    ) -> list[SpooledSpan]:
        try:
            for backlog in backlogs:
                if found := backlog.read(max_records, max_bytes):
                    return found
        finally:
            self._settle(backlogs)
        return []

    def keep_bounds(self) -> None:
        """Drop the oldest where too much lies on disk; to be called once a second."""
        with Guarded("spool"):
            self._own.give_up_quiet()
            self._bounds.keep(self)
            for backlog in self._own.all():
                backlog.forget_ended()

    def has_full_segment(self) -> bool:
        """Tell whether a full segment of this process, or a dead one's, waits; any thread."""
        writer, current = self._writer, self._own.current
        if any(backlog.has_ready() for backlog in list(self._adopted)):
            return True
        return current is not None and current.has_ready(
            lambda file: writer.current is not file or writer.is_full(file)
        )

    def is_empty(self) -> bool:
        """Tell whether nothing waits here for this process to send; any thread."""
        own = self._own.current
        return (
            not self._writer.slow_disk.draining()
            and not (own is not None and own.has_ready())
            and not any(backlog.has_ready() for backlog in list(self._adopted))
        )

    def let_go(self) -> None:
        """Give the directory up, for another process to adopt, and go on in a new one.

        Nothing happens while no span waits there. A thread in the middle of an append, or a full
        disk, delays it until the next call of this, or of `keep_bounds`.
        """
        with Guarded("spool"):
            self.has_let_go = True
            current = self._own.current
            if current is not None and current.waiting_spans():
                with contextlib.suppress(OSError, SpoolError):
                    self._own.let_go()
            self._own.give_up_quiet()

    def acknowledge(self, position: Position) -> None:
        """Take the fate of the spans up to ``position`` for known; those of its directory only.

        Any position of the last answer will do. What is done is deleted; where that is a part of
        a segment on disk, a checkpoint says so, written by rename.
        """
        with Guarded("spool"):
            for backlog in self.backlogs():
                if backlog.holds(position):
                    backlog.acknowledge(position)
                    self._prefers_own = backlog in self._adopted
            self._release_done()

    def _settle(self, backlogs: Sequence[Backlog]) -> None:
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
            held = {backlog.directory.name for backlog in self._adopted}
            held |= self._left_alone | self._own.names()
            for directory in orphans(self._parent, held):
                if len(self._adopted) >= MAX_ADOPTED:
                    directory.forget()
                    break
                try:
                    backlog = Backlog(
                        directory,
                        books=self._books,
                        quarantine=self._quarantine,
                        on_frame=self._on_orphan_frame,
                    )
                except OSError:
                    directory.forget()
                    continue
                self._adopted.append(backlog)
                count += 1
        return count

    def adopt_to_drop(self) -> None:
        """Adopt, so that what has to go is in the books; not if another process sends."""
        if not self.has_let_go:
            self.adopt()

    def mark(self) -> Mark:
        """Return what of this process is here now, for `is_settled`."""
        return Mark.of(self._own.all(), self._writer.slow_disk)

    def is_settled(self, mark: Mark) -> bool:
        """Tell whether all that was there at ``mark`` is acknowledged, dropped or handed over."""
        return mark.is_settled(self._own.all(), self._writer.slow_disk)

    def files(self) -> list[Path]:
        """Return the segments of this process that are on disk, or were a moment ago."""
        return [segment.path for own in self._own.all() for segment in list(own.segments)]

    def counts(self) -> SpoolCounts:
        """Return the books; from any thread."""
        with self._books.lock:  # or what is adopted meanwhile would be on one side only
            return current_counts(self._books, self._writer, self._own.all(), list(self._adopted))

    def close(self) -> None:
        """Stop writing and give the directories up; what is unacknowledged waits for the next."""
        with Guarded("spool"):
            self._writer.close()
            own = self._own.all()
            self._read_first([empty for empty in own if not empty.waiting_spans()], 1, 1)
            self._settle(own)
            is_quiet = self._writer.is_quiet() and all(backlog.is_quiet() for backlog in own)
            # Who is still inside keeps the locks until the process ends: nobody reads there.
            for backlog in self.backlogs() if is_quiet else self._adopted:
                for directory in backlog.directories():
                    directory.remove()

    def after_fork_in_child(self, resource: Mapping[str, AttributeValue] | None = None) -> None:
        """Let go of all that is the parent's, in a forked child; nothing is written or deleted.

        The child's own directory is made when it first appends. ``resource`` is its own, where it
        is another one.
        """
        with Guarded("spool"):
            for backlog in self._adopted:
                backlog.directory.forget()
            self._writer.after_fork_in_child(resource)
            if resource is not None:
                self._resource = ResourceEntry(0, dict(resource), self._resource.schema_url)
            self._begin()
