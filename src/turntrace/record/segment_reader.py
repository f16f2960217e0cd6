"""Reads what a spool's segment holds, frame by frame, whatever has happened to it.

``docs/reference/record-format.md`` is the specification; `turntrace.record.record_format` writes.
"""

from __future__ import annotations

import re
import struct
import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from turntrace.record.record_format import (
    FORMAT_VERSION,
    HEAD_BYTES,
    MAX_PAYLOAD_BYTES,
    Close,
    EventFields,
    Header,
    LinkFields,
    RecordKind,
    ResourceEntry,
    ScopeEntry,
    SpanFields,
    StartFields,
)
from turntrace.record.span_record import EventRecord, LinkRecord, Scope, SpanRecord
from turntrace.record.wire_values import read_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

_KNOWN_KINDS: Final = frozenset(map(int, RecordKind))
_NO_SCOPE: Final = Scope("")
_NO_RESOURCE: Final = ResourceEntry(0)
_MAX_SEARCHED_BYTES: Final = 64 * MAX_PAYLOAD_BYTES
_MAX_TABLE_BYTES: Final = 4 * MAX_PAYLOAD_BYTES
_ENTRY_BYTES: Final = 64
"""What an entry of a table is taken for beside its payload, which may be all but empty."""
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_ZEROS: Final = bytes(64 * 1024)
# Looks ahead, because the bytes of one place may be those of another, too.
_PAYLOAD_START: Final = re.compile(rb"(?=(?:[\x80-\x8f]|\xde[\x00-\xff]{2})\xa1t)")

_unpack_head = struct.Struct("<II").unpack_from


class DamageReason(StrEnum):
    """What is wrong with a damaged stretch."""

    LENGTH = "length"
    """The length word cannot be true."""

    CHECKSUM = "checksum"
    """The checksum does not fit the payload."""

    UNDECODABLE = "undecodable"
    """The checksum fits, but the payload is no record."""

    NO_HEADER = "no_header"
    """The first frame is no header, so nothing behind it can be trusted to be of a version."""


class Started(NamedTuple):
    """A span that was open when this was written; ``span.end_ns`` is 0."""

    span: SpanRecord


class Frame(NamedTuple):
    """An intact record; what stands before ``end_offset`` has been read."""

    record: Header | ScopeEntry | ResourceEntry | SpanRecord | Started | Close
    resource: ResourceEntry
    """Whose span it is; number 0 is the header's."""
    offset: int
    end_offset: int


class Unknown(NamedTuple):
    """An intact record of a kind that a later version made up, and older ones may pass over."""

    kind: int
    offset: int
    end_offset: int


class Damaged(NamedTuple):
    """A stretch that holds no record: at least one was lost. Reading went on behind it."""

    reason: DamageReason
    offset: int
    end_offset: int


class TornTail(NamedTuple):
    """The writer did not get further, or has not yet; nothing behind it."""

    offset: int
    end_offset: int


class Newer(NamedTuple):
    """The segment says that this version may not read it: to be counted and left as it is."""

    version: int
    min_reader: int
    offset: int
    end_offset: int


Outcome = Frame | Unknown | Damaged | TornTail | Newer


class _Versions(msgspec.Struct, tag_field="t", tag=int(RecordKind.HEADER), frozen=True):
    """What every version promises of a header."""

    version: int = msgspec.field(name="v")
    min_reader: int = msgspec.field(name="r")


class _AnyKind(msgspec.Struct, frozen=True):
    kind: int = msgspec.field(name="t")


_Record = Header | ScopeEntry | ResourceEntry | SpanFields | StartFields | Close
_decode = msgspec.msgpack.Decoder(_Record).decode
_decode_versions = msgspec.msgpack.Decoder(_Versions).decode
_decode_kind = msgspec.msgpack.Decoder(_AnyKind).decode


class SegmentReader:
    """Reads one segment, once or again and again while it grows; knows its tables by then.

    Never raises for any bytes. Memory is bounded by some 250 times `MAX_PAYLOAD_BYTES`, time by the
    length of the segment. Not for several threads at once.
    """

    __slots__ = (
        "_resources",
        "_scopes",
        "_searchable_bytes",
        "_table_bytes_left",
        "end_offset",
        "header",
    )

    def __init__(self) -> None:
        self.header: Header | None = None
        """The segment's, once it was read."""
        self.end_offset = 0
        """Where to go on reading: behind what has been read, before a torn tail."""
        self._scopes: dict[int, Scope] = {}
        self._resources: dict[int, ResourceEntry] = {}
        self._searchable_bytes = 0
        self._table_bytes_left = _MAX_TABLE_BYTES

    def read(
        self, segment: bytes | bytearray | memoryview | mmap, from_offset: int = 0
    ) -> Iterator[Outcome]:
        """Yield what ends behind ``from_offset``, in order, to the end of the data.

        A reader that has not read this segment before walks it from its start, for the tables.
        The end of the data is the end of the buffer, or zeros up to it. Close the iterator before
        the buffer (an ``mmap`` cannot be closed under it). It ends early after `Newer`.

        Example:
            >>> list(SegmentReader().read(bytes(64)))
            []
        """
        self._searchable_bytes = _MAX_SEARCHED_BYTES
        with memoryview(segment) as view:
            offset = from_offset if self.header else 0
            while offset < len(view):
                end = self._intact_end(view, offset)
                outcome = self._record(view, offset, end) if end else self._gap(view, offset)
                if outcome is None:
                    break
                self.end_offset = offset if isinstance(outcome, TornTail) else outcome.end_offset
                if outcome.end_offset > from_offset:
                    yield outcome
                if isinstance(outcome, Newer):
                    break
                offset = outcome.end_offset

    def _record(self, view: memoryview, offset: int, end: int) -> Outcome:
        payload = view[offset + HEAD_BYTES : end]
        if self.header is None:
            try:
                version, min_reader = msgspec.structs.astuple(_decode_versions(payload))
            except Exception:  # noqa: BLE001 - msgspec raises many types; each means no header
                return Damaged(DamageReason.NO_HEADER, offset, len(view))
            if min_reader > FORMAT_VERSION:
                return Newer(version, min_reader, offset, len(view))
        try:
            fields = _decode(payload)
            return self._learned(fields, offset, end)
        except Exception:  # noqa: BLE001 - as above; RecursionError and UnicodeDecodeError too
            if self.header is None:
                return Damaged(DamageReason.NO_HEADER, offset, len(view))
            kind = _kind(payload)
            if kind is None or kind in _KNOWN_KINDS:
                return Damaged(DamageReason.UNDECODABLE, offset, end)
            return Unknown(kind, offset, end)

    def _learned(self, fields: _Record, offset: int, end: int) -> Frame:
        resource = self._resources.get(0, _NO_RESOURCE)
        match fields:
            case SpanFields():
                resource = self._resources.get(fields.resource, resource)
                span = _span_record(fields, self._scopes.get(fields.scope, _NO_SCOPE))
                record = Started(span) if isinstance(fields, StartFields) else span
                return Frame(record, resource, offset, end)
            case Header():
                attributes, _ = read_attributes(fields.attributes)
                fields = msgspec.structs.replace(fields, attributes=attributes)
                resource = ResourceEntry(0, attributes, fields.schema_url)
                self.header = self.header or fields
                self._resources.setdefault(0, resource)
            case ScopeEntry():
                scope = Scope(fields.name, fields.version, fields.schema_url)
                if self._scopes.get(fields.number) != scope and self._has_room(end - offset):
                    self._scopes[fields.number] = scope
            case ResourceEntry():
                attributes, _ = read_attributes(fields.attributes)
                fields = resource = msgspec.structs.replace(fields, attributes=attributes)
                if self._resources.get(fields.number) != fields and self._has_room(end - offset):
                    self._resources[fields.number] = fields
            case Close():
                _check_ids(fields)
        return Frame(fields, resource, offset, end)

    def _has_room(self, size: int) -> bool:
        """Tell whether an entry may be remembered; an entry that is repeated needs no room."""
        self._table_bytes_left -= size + _ENTRY_BYTES
        return self._table_bytes_left >= 0

    def _gap(self, view: memoryview, offset: int) -> Damaged | TornTail | None:
        """Return what stands at ``offset``, where no intact frame begins; None at the end."""
        size = len(view)
        if _is_zero(view, offset):
            return None
        claimed_end = size + 1
        reason = DamageReason.LENGTH
        if size - offset >= HEAD_BYTES:
            length, _ = _unpack_head(view, offset)
            if length > MAX_PAYLOAD_BYTES:
                claimed_end = 0
            elif length:
                claimed_end = offset + HEAD_BYTES + length
        if 0 < claimed_end <= size:
            reason = DamageReason.CHECKSUM
            if self._is_boundary(view, claimed_end):
                return Damaged(reason, offset, claimed_end)
            if self._searchable_bytes < 0:
                return Damaged(reason, offset, size)
        found = self._next_frame(view, offset + 1)
        if not found and claimed_end > size:
            return TornTail(offset, size)
        return Damaged(reason, offset, found or size)

    def _next_frame(self, view: memoryview, offset: int) -> int:
        """Return where the next intact frame begins at ``offset`` or behind it, or 0.

        Looks for how every payload starts. Bytes made up to look like many starts of long frames
        would take quadratic time, so how much is checksummed in search of one is bounded.
        """
        for start in _PAYLOAD_START.finditer(view, offset + HEAD_BYTES):
            candidate = start.start() - HEAD_BYTES
            length, _ = _unpack_head(view, candidate)
            if length > MAX_PAYLOAD_BYTES or start.start() + length > len(view):
                continue
            if self._searchable_bytes < 0:
                return 0
            if self._intact_end(view, candidate):
                return candidate
        return 0

    def _intact_end(self, view: memoryview, offset: int) -> int:
        """Return where the frame at ``offset`` ends, or 0; a checksum in vain is charged."""
        start = offset + HEAD_BYTES
        if start > len(view):
            return 0
        length, checksum = _unpack_head(view, offset)
        end: int = start + length
        if not 0 < length <= MAX_PAYLOAD_BYTES or end > len(view):
            return 0
        if zlib.crc32(view[start:end]) == checksum:
            return end
        self._searchable_bytes -= length
        return 0

    def _is_boundary(self, view: memoryview, offset: int) -> bool:
        """Tell whether a frame may have ended at ``offset``."""
        head = bytes(view[offset : offset + HEAD_BYTES])
        return not head.strip(b"\0") or self._intact_end(view, offset) > 0


def _is_zero(view: memoryview, offset: int) -> bool:
    """Tell whether nothing but zeros stands at ``offset`` and behind it."""
    length = 4  # most often the first word tells
    while offset < len(view):
        piece = view[offset : offset + length]
        if piece != _ZEROS[: len(piece)]:
            return False
        offset += length
        length = min(16 * length, len(_ZEROS))
    return True


def _kind(payload: memoryview) -> int | None:
    try:
        return _decode_kind(payload).kind
    except Exception:  # noqa: BLE001 - msgspec raises many types; each means no record
        return None


def _check_ids(of: SpanFields | LinkFields | Close) -> None:
    if len(of.trace_id) != _TRACE_ID_BYTES or len(of.span_id) != _SPAN_ID_BYTES:
        raise ValueError("no ids")  # the reader takes it for damage


def _span_record(fields: SpanFields, scope: Scope) -> SpanRecord:
    _check_ids(fields)
    if len(fields.parent_span_id) not in {0, _SPAN_ID_BYTES}:
        raise ValueError("no id of a parent")
    attributes, dropped = read_attributes(fields.attributes)
    return SpanRecord(
        fields.trace_id,
        fields.span_id,
        fields.parent_span_id,
        fields.parent_is_remote,
        fields.flags,
        fields.trace_state,
        fields.name,
        fields.kind,
        fields.start_ns,
        fields.end_ns,
        attributes,
        tuple([_event(event) for event in fields.events]),
        tuple([_link(link) for link in fields.links]),
        fields.status_code,
        fields.status_description,
        fields.dropped_attributes + dropped,
        fields.dropped_events,
        fields.dropped_links,
        scope,
    )


def _event(fields: EventFields) -> EventRecord:
    attributes, dropped = read_attributes(fields.attributes)
    return EventRecord(fields.name, fields.time_ns, attributes, fields.dropped_attributes + dropped)


def _link(fields: LinkFields) -> LinkRecord:
    _check_ids(fields)
    attributes, dropped = read_attributes(fields.attributes)
    return LinkRecord(
        fields.trace_id,
        fields.span_id,
        fields.trace_state,
        fields.flags,
        attributes,
        fields.dropped_attributes + dropped,
    )
