"""Looks at what lies under a spool's root, of all processes and keys, and changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from turntrace.errors import SpoolError
from turntrace.export.spool.directory import SEGMENT_SUFFIX, SpoolDirectory
from turntrace.export.spool.place import open_file
from turntrace.export.spool.quarantine import QUARANTINE
from turntrace.record.segment_reader import Damaged, Frame, Newer, SegmentReader, TornTail
from turntrace.record.span_record import SpanRecord

try:
    import fcntl
except ImportError:  # no such locks on this platform
    fcntl = None  # type: ignore[assignment]

LOCK: Final = "lock"
ANSWERED: Final = ".answered"
_MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024
_PROCESS: Final = re.compile(r"(\d{1,10})-[0-9a-f]{16}", re.ASCII)


class Life(StrEnum):
    """Whether the process that owns a directory lives."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """Its lock is missing, or this user may not read it."""


@dataclass(slots=True, kw_only=True)
class ProcessReport:
    """One directory. Of a process that lives, as far as its checkpoint and its writes have got."""

    directory: str
    life: Life
    pid: int | None
    segments: int = 0
    size_bytes: int = 0
    spans: int = 0
    """Readable spans that no checkpoint says are acknowledged."""
    oldest_ns: int | None = None
    """When the oldest of them ended, in nanoseconds since the Unix epoch."""
    newer: int = 0
    """Segments that a later version wrote; their spans are not counted."""
    damaged: int = 0
    """Segments with a stretch that cannot be read."""
    unreadable: int = 0
    """Segments that could not be opened, or are no files."""


@dataclass(slots=True, kw_only=True)
class KeyReport:
    """What is meant for one service, endpoint and account."""

    key: str
    processes: list[ProcessReport]
    has_been_answered: bool
    """Whether a collector has ever answered a process with this key."""
    quarantined: int
    """Damaged segments put aside; all that was readable in them is acknowledged."""
    quarantined_bytes: int


@dataclass(slots=True, kw_only=True)
class SpoolReport:
    """All that lies under a root."""

    root: Path
    keys: list[KeyReport]
    unreadable: int
    """Directories that this user may not read."""

    def processes(self) -> list[ProcessReport]:
        """Return the directories of all keys."""
        return [process for key in self.keys for process in key.processes]

    def spans(self) -> int:
        """Return how many spans wait."""
        return sum(process.spans for process in self.processes())

    def size_bytes(self) -> int:
        """Return the bytes of all segments, as the bound counts them: quarantined ones too."""
        waiting = sum(process.size_bytes for process in self.processes())
        return waiting + sum(key.quarantined_bytes for key in self.keys)

    def quarantined(self) -> int:
        """Return how many segments were put aside."""
        return sum(key.quarantined for key in self.keys)


def look_at(root: Path, only_key: str | None = None) -> SpoolReport:
    """Return what lies under ``root``; what is removed meanwhile is left out.

    Reads every segment. Links are not followed, and what is no spool's is passed over. To know
    whether a process lives, its lock is tried for an instant, shared and without a wait; who
    looks for dead processes at that very instant takes this one the next time.

    Args:
        root: Where all spools of this user lie.
        only_key: Look at this one only.

    Raises:
        SpoolError: ``root`` cannot be read.

    Example:
        >>> import tempfile
        >>> look_at(Path(tempfile.mkdtemp())).spans()
        0
    """
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if _is_directory(entry))
    except OSError as error:
        raise SpoolError(
            f"the spool {str(root)!r} cannot be read: {os.strerror(error.errno or 0)}; name its"
            " directory with --dir or TURNTRACE_SPOOL_DIR, or ask as the user that it belongs to"
        ) from None
    report = SpoolReport(root=root, keys=[], unreadable=0)
    for name in names:
        if not name.startswith(".") and only_key in (None, name):
            _look_at_key(root / name, report)
    return report


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _look_at_key(path: Path, report: SpoolReport) -> None:
    entries = _entries(path, report)
    if entries is None:
        return
    found = KeyReport(
        key=path.name,
        processes=[],
        has_been_answered=any(entry.name == ANSWERED for entry in entries),
        quarantined=0,
        quarantined_bytes=0,
    )
    for entry in entries:
        if entry.name.startswith(".") or not _is_directory(entry):
            continue
        if entry.name == QUARANTINE:
            _look_at_quarantine(Path(entry.path), found, report)
        elif process := _look_at_process(Path(entry.path), report):
            found.processes.append(process)
    if found.processes or found.quarantined or found.has_been_answered:
        report.keys.append(found)


def _entries(path: Path, report: SpoolReport) -> list[os.DirEntry[str]] | None:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):  # removed, or replaced, just now
        return None
    except OSError:
        report.unreadable += 1
        return None


def _look_at_quarantine(path: Path, found: KeyReport, report: SpoolReport) -> None:
    for entry in _entries(path, report) or ():
        with contextlib.suppress(OSError):
            size_bytes = entry.stat(follow_symlinks=False).st_size
            found.quarantined += 1
            found.quarantined_bytes += size_bytes


def _look_at_process(path: Path, report: SpoolReport) -> ProcessReport | None:
    entries = _entries(path, report)
    if entries is None:
        return None
    named = _PROCESS.fullmatch(path.name)
    segments = [entry for entry in entries if entry.name.endswith(SEGMENT_SUFFIX)]
    if not named and not segments:
        return None
    found = ProcessReport(
        directory=path.name, life=_life_of(path), pid=int(named[1]) if named else None
    )
    checkpoint = SpoolDirectory(path, -1).read_checkpoint()
    for entry in segments:
        number = entry.name.removesuffix(SEGMENT_SUFFIX)
        is_numbered = number.isascii() and number.isdecimal()
        offset = checkpoint.get(int(number), 0) if is_numbered and len(number) < 20 else 0  # noqa: PLR2004 - digits of 64 bits
        _look_at_segment(Path(entry.path), offset, found)
    return found


def _life_of(path: Path) -> Life:
    """Try the lock that a living process holds, and give it up at once."""
    if fcntl is None:
        return Life.UNKNOWN
    try:
        descriptor = open_file(path / LOCK)
    except OSError:
        return Life.UNKNOWN
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Life.ALIVE
    except OSError:
        return Life.UNKNOWN
    else:
        return Life.DEAD
    finally:
        os.close(descriptor)


def _look_at_segment(path: Path, offset: int, found: ProcessReport) -> None:
    try:
        data, size_bytes = _read(path)
    except FileNotFoundError:  # acknowledged just now
        return
    except OSError:
        found.unreadable += 1
        return
    found.segments += 1
    found.size_bytes += size_bytes
    is_damaged = False
    for outcome in SegmentReader().read(data, offset):
        if isinstance(outcome, Newer):
            found.newer += 1
        elif isinstance(outcome, Frame) and isinstance(outcome.record, SpanRecord):
            found.spans += 1
            _note_time(found, outcome.record.end_ns)
        # The tail of a segment that is being written is torn until the write has ended.
        is_torn = isinstance(outcome, TornTail) and found.life is Life.DEAD
        is_damaged = is_damaged or is_torn or isinstance(outcome, Damaged)
    found.damaged += is_damaged


def _note_time(found: ProcessReport, end_ns: int) -> None:
    if found.oldest_ns is None or end_ns < found.oldest_ns:
        found.oldest_ns = end_ns


def _read(path: Path) -> tuple[bytes, int]:
    """Return what a segment holds, up to more than any writer of ours makes it, and its length."""
    descriptor = open_file(path)
    try:
        return os.pread(descriptor, _MAX_SEGMENT_BYTES, 0), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
