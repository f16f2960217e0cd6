"""Where a spool may lie: the root directory, its secret, the key of a service, the file system."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from turntrace.errors import SpoolError
from turntrace.setting_kinds import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

MOUNTS: Final = Path("/proc/self/mountinfo")
_SECRET_BYTES: Final = 32
_NETWORK: Final = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "smb3",
        "smbfs",
    ]
)
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_EXPLAINED: Final = {
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a file is where a directory should be",
    errno.EEXIST: "a file is where a directory should be",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "symbolic links lead in a circle",
}


def spool_error(path: Path, error: OSError | ValueError) -> SpoolError:
    """Return what to raise when ``path`` cannot be used because of ``error``."""
    if isinstance(error, ValueError):
        return _unusable(path, "no file can have this name")
    why = _EXPLAINED.get(error.errno or 0) or os.strerror(error.errno or 0)
    return _unusable(path, why)


def _unusable(path: Path, why: str) -> SpoolError:
    return SpoolError(
        f"TURNTRACE_SPOOL_DIR={quoted(str(path))} cannot hold the spool: {why} (name a directory on"
        " a local disk that this user may write to); using memory only"
    )


def spool_key(root: Path, *, service: str, endpoint: str, headers: Mapping[str, str]) -> str:
    """Return the name of the directory that holds what is meant for this endpoint and account.

    A hash keyed with a secret that lies in ``root`` and is made at first use: who sees only the
    name cannot try out which headers make it. Header names count in lower case, in any order.

    Raises:
        SpoolError: ``root`` cannot be made, read or written.
    """
    account = sorted((name.lower(), value) for name, value in headers.items())
    try:
        secret = _secret(make_private(root))
    except (OSError, ValueError) as error:
        raise spool_error(root, error) from None
    told = msgspec.msgpack.encode([_utf8(service), _utf8(endpoint), [*map(repr, account)]])
    return hashlib.blake2b(told, key=secret, digest_size=16).hexdigest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def make_private(path: Path) -> Path:
    """Make the directory ``path`` for this user alone, unless it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def make_owned(path: Path) -> Path:
    """Make the directory ``path`` for this user alone; refuse one that another user has put there.

    Raises:
        SpoolError: It is another user's, or a link.
        OSError: It cannot be made.
    """
    make_private(path)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise _unusable(path, "it belongs to another user, or is a link")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def open_file(path: Path, flags: int = 0) -> int:
    """Open a file that is one for reading: not a link, nor a pipe that would be waited for.

    Raises:
        OSError: It is not, or cannot be opened.
    """
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no file")
    return descriptor


def _read_secret(path: Path) -> bytes | None:
    """Return a secret that only this user may know; otherwise nothing, None if there is no file.

    Raises:
        OSError: This user may not read it.
    """
    try:
        descriptor = open_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ELOOP, errno.ENXIO):
            return b""
        raise
    try:
        found = os.fstat(descriptor)
        is_private = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
        return os.read(descriptor, _SECRET_BYTES + 1) if is_private else b""
    finally:
        os.close(descriptor)


def _secret(root: Path) -> bytes:
    """Return this user's secret of ``root``; of several processes that make one, one's stays."""
    path = root / f".secret-{os.geteuid()}"
    for _ in range(2):
        found = _read_secret(path)
        if found is not None and len(found) == _SECRET_BYTES:
            return found
        made = root / f".secret-{os.getpid()}-{secrets.token_hex(8)}"
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
            if found is not None:  # unusable: what lies under its keys is not found again
                made.replace(path)
            else:
                os.link(made, path)
        except FileExistsError:
            continue
        finally:
            made.unlink(missing_ok=True)
    return _read_secret(path) or b""


def refuse_network(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system of ``path``, or an empty text where it is not known.

    Raises:
        SpoolError: Its locks or its appends may not be those of a local disk.
    """
    try:
        kind = filesystem_of(path.resolve(), mounts.read_text("utf-8", "surrogateescape"))
    except OSError:
        return ""
    if kind in _NETWORK or kind.startswith("fuse."):
        raise _unusable(path, f"it is on a network file system ({kind})")
    return kind


def filesystem_of(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds the absolute ``path``.

    ``mounts`` is a text as in ``/proc/self/mountinfo``; of several mounts on one place, the last.

    Example:
        >>> filesystem_of(Path("/srv/spool"), "22 1 0:21 / /srv rw - nfs4 server:/ rw")
        'nfs4'
    """
    longest, kind = 0, ""
    for line in mounts.splitlines():
        before, _, behind = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not behind:  # noqa: PLR2004 - the mount point is the fifth
            continue
        point = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), behind.split(" ")[0]
    return kind
