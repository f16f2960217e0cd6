"""How much lies under a spool's root, of all processes and keys, and what may go first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from turntrace.export.spool.directory import SEGMENT_SUFFIX, SpoolDirectory
from turntrace.export.spool.quarantine import QUARANTINE
from turntrace.export.spool.stored_segment import SegmentCursor, StoredSegment
from turntrace.record.segment_reader import Frame, Newer
from turntrace.record.span_record import SpanRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turntrace.export.spool.backlog import Backlog
    from turntrace.export.spool.counts import Books
    from turntrace.export.spool.writer import SpoolWriter


class _Spool(Protocol):
    """What the bounds ask of a spool."""

    has_been_answered: bool
    has_let_go: bool

    def backlogs(self) -> list[Backlog]: ...
    def books(self) -> Books: ...
    def adopt_to_drop(self) -> None: ...


class DiskBounds:
    """Keeps what lies on disk within its bounds: the oldest go first, and are counted.

    The reading thread looks once a second. In between the writer has some room, and refuses what
    would go beyond.
    """

    def __init__(
        self, root: Path, writer: SpoolWriter, *, max_disk_bytes: int, max_unanswered_bytes: int
    ) -> None:
        self._root = root
        self._writer = writer
        self._max_disk_bytes = max_disk_bytes
        self._max_unanswered_bytes = max_unanswered_bytes
        self._headroom_bytes = min(max_disk_bytes // 8, 4 * writer.segment_bytes)

    def keep(self, spool: _Spool) -> None:
        """Look whether there is too much, and drop what is."""
        writer = self._writer
        writer.close_quiet()
        files = sorted(files_below(self._root))
        total = sum(file.size_bytes for file in files)
        target = self._max_disk_bytes - self._headroom_bytes
        if total > target:
            spool.adopt_to_drop()
            total -= _make_room(spool, files, total - target)
        if not (spool.has_been_answered or spool.has_let_go):
            self._keep_newest(spool)
        room = self._max_disk_bytes - total
        writer.room_bytes = writer.opened_bytes + writer.current_bytes() + room

    def _keep_newest(self, spool: _Spool) -> None:
        sized = [
            (backlog, segment, segment.size_bytes())
            for backlog in spool.backlogs()
            for segment in list(backlog.segments)
        ]
        excess_bytes = sum(size for _, _, size in sized) - self._max_unanswered_bytes
        for backlog, segment, size in sized:
            if excess_bytes <= 0:
                break
            if backlog.drop(segment, "unanswered"):
                excess_bytes -= size


def _make_room(spool: _Spool, files: list[FoundFile], excess_bytes: int) -> int:
    """Drop the oldest files; return how many bytes there are less."""
    held = {
        segment.path: (backlog, segment)
        for backlog in spool.backlogs()
        for segment in list(backlog.segments)
    }
    dead = DeadDirectories()
    freed = 0
    for file in sorted(files, key=lambda file: not file.is_quarantined()):
        if freed >= excess_bytes:
            break
        if file.is_quarantined():
            with contextlib.suppress(OSError):
                file.path.unlink(missing_ok=True)
        elif file.path in held:
            backlog, segment = held[file.path]
            if not backlog.drop(segment, "cap"):
                continue
        else:
            spans = dead.drop(file.path)
            if spans is None:
                continue
            with spool.books().lock:
                spool.books().dropped_of_others += spans
        freed += file.size_bytes
    dead.release()
    return freed


class FoundFile(NamedTuple):
    """A segment under the root."""

    modified_ns: int
    path: Path
    size_bytes: int

    def is_quarantined(self) -> bool:
        """Tell whether everything readable in it was acknowledged."""
        return self.path.parent.name == QUARANTINE


def files_below(root: Path) -> Iterator[FoundFile]:
    """Yield every segment below ``root`` that this user may see, in no order; no link is followed.

    What is no segment by its name, nobody here has written.
    """
    for key in _entries(root):
        for directory in _entries(key.path) if _is_directory(key) else ():
            for entry in _entries(directory.path) if _is_directory(directory) else ():
                number = entry.name.removesuffix(SEGMENT_SUFFIX)
                is_numbered = number.isascii() and number.isdecimal()
                if number != entry.name and (is_numbered or directory.name == QUARANTINE):
                    with contextlib.suppress(OSError):  # it was removed just now
                        found = entry.stat(follow_symlinks=False)
                        yield FoundFile(found.st_mtime_ns, Path(entry.path), found.st_size)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_dir(follow_symlinks=False)
    return False


def _entries(path: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:  # somebody else's, or gone
        return []


class DeadDirectories:
    """Makes room in directories that nobody holds: those of other keys, which we never send."""

    def __init__(self) -> None:
        self._held: dict[Path, SpoolDirectory | None] = {}

    def drop(self, path: Path) -> int | None:
        """Delete the segment ``path``; return how many spans were in it, or None if it must stay.

        It stays if a process holds the directory, or if it is a later version's.
        """
        parent = path.parent
        if parent not in self._held:
            self._held[parent] = SpoolDirectory.adopt(parent)
        directory = self._held[parent]
        if directory is None:
            return None
        spans = 0
        number = int(path.name.removesuffix(SEGMENT_SUFFIX))
        acknowledged = directory.read_checkpoint().get(number, 0)
        try:
            for outcome in SegmentCursor(StoredSegment(path, number), acknowledged, 0).outcomes():
                if isinstance(outcome, Newer):
                    return None
                spans += isinstance(outcome, Frame) and isinstance(outcome.record, SpanRecord)
            path.unlink(missing_ok=True)
        except OSError:
            return None
        return spans

    def release(self) -> None:
        """Give all of them up again, and remove the empty ones."""
        for directory in self._held.values():
            if directory is not None:
                directory.remove()
        self._held.clear()
