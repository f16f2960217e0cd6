"""One process's directory of a spool: who owns it, which segments it has, how far it was read."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
import zlib
from typing import TYPE_CHECKING, Final

from turntrace.export.spool.place import make_owned, open_file

try:
    import fcntl
except ImportError:  # no such locks on this platform
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEGMENT_SUFFIX: Final = ".seg"
NEW: Final = ".new-"
_LOCK: Final = "lock"
_CHECKPOINT: Final = "checkpoint"
_MAX_CHECKPOINT_BYTES: Final = 1_000_000
_STALE_SECONDS: Final = 60.0


class SpoolDirectory:
    """A directory whose lock this process holds; it has the lock until `forget` or `remove`.

    The lock is of the open file, so it ends with the process however that ends, and a forked
    child's copy of the descriptor keeps it alive: the child has to `forget` first.
    """

    __slots__ = ("_descriptor", "has_stale_checkpoint", "name", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.name = path.name
        self.has_stale_checkpoint = False
        """The last checkpoint could not be written, or be read."""
        self._descriptor = descriptor

    @classmethod
    def create(cls, parent: Path) -> SpoolDirectory:
        """Make a directory of this process in ``parent``.

        It gets its final name only when it is locked, or somebody might take it for an orphan.

        Raises:
            SpoolError: The directory belongs to another user.
            OSError: It cannot be made, or there are no locks here.
        """
        make_owned(parent)
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        made = parent / (NEW + name)
        made.mkdir(mode=0o700)
        descriptor = -1
        try:
            descriptor = _locked(made / _LOCK, os.O_CREAT | os.O_EXCL)
            made.rename(parent / name)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if descriptor >= 0:
                os.close(descriptor)
            raise
        return cls(parent / name, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> SpoolDirectory | None:
        """Take over the directory of a dead process; None if somebody holds it, or has removed it.

        One without a lock file is left alone: whether its process lives, nobody can tell.
        """
        try:
            descriptor = _locked(path / _LOCK, 0)
        except OSError:
            with contextlib.suppress(OSError):  # what a removal that was cut off has left
                path.rmdir()
            return None
        try:
            is_it = os.path.samestat(os.fstat(descriptor), (path / _LOCK).stat())
        except OSError:
            is_it = False
        if not is_it:  # it was removed, and the lock was on nothing
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def segments(self) -> list[tuple[int, Path]]:
        """Return number and path of each segment, by number.

        Raises:
            OSError: The directory cannot be read.
        """
        found = []
        for path in self.path.iterdir():
            number = path.name.removesuffix(SEGMENT_SUFFIX)
            if number != path.name and number.isascii() and number.isdecimal():
                found.append((int(number), path))
        return sorted(found)

    def read_checkpoint(self) -> dict[int, int]:
        """Return up to which offset each segment was acknowledged; nothing if that is damaged."""
        try:
            with os.fdopen(open_file(self.path / _CHECKPOINT), "rb") as file:
                checksum, _, told = file.read(_MAX_CHECKPOINT_BYTES).partition(b" ")
            if int(checksum) == zlib.crc32(told):
                return {int(number): int(offset) for number, offset in json.loads(told).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError):
            pass
        self.has_stale_checkpoint = True
        return {}

    def write_checkpoint(self, offsets: Mapping[int, int]) -> bool:
        """Write down up to which offset each segment was acknowledged; False if that failed.

        A rename without fsync: what the kernel has survives the death of the process. After a
        power cut an older checkpoint may be found, and what was sent since is sent again.
        """
        told = json.dumps(offsets).encode()
        made = self.path / f".{_CHECKPOINT}"
        try:
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"%d %b" % (zlib.crc32(told), told))
            made.replace(self.path / _CHECKPOINT)
        except OSError:
            self.has_stale_checkpoint = True
            return False
        self.has_stale_checkpoint = False
        return True

    def remove(self) -> None:
        """Remove what is left if it holds no segment, and give the lock up."""
        with contextlib.suppress(OSError):
            if not self.segments():
                for name in (f".{_CHECKPOINT}", _CHECKPOINT, _LOCK):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()
        self.forget()

    def forget(self) -> None:
        """Close the lock's descriptor and touch nothing else; in a child, the parent keeps it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def sweep_unborn(parent: Path) -> None:
    """Remove directories that somebody began to make and was killed before they had a name."""
    with contextlib.suppress(OSError):
        for path in parent.glob(NEW + "*"):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _locked(path: Path, flags: int) -> int:
    if fcntl is None:
        raise OSError(0, "no file locks")
    descriptor = open_file(path, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
