"""A spool directory as a later version of turntrace would leave it, which this one cannot read."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from turntrace.record.record_format import FORMAT_VERSION, RecordKind

if TYPE_CHECKING:
    from pathlib import Path

_VERSION: Final = FORMAT_VERSION + 1
_UNREADABLE: Final = b"\x93\x01\x02\xc1 what only the later version understands"


def _frame(payload: bytes) -> bytes:
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


def leave_newer_segment(key_directory: Path) -> Path:
    """Put a dead process's directory with one segment of the next version into a spool."""
    directory = key_directory / "4711-00000000000000ff"
    directory.mkdir(mode=0o700)
    (directory / "lock").touch(0o600)
    header = msgspec.msgpack.encode({"t": int(RecordKind.HEADER), "v": _VERSION, "r": _VERSION})
    segment = directory / "000000000001.seg"
    segment.write_bytes(_frame(header) + _frame(_UNREADABLE) * 100)
    segment.chmod(0o600)
    return segment
