"""The records that a spool's segment holds, and how each becomes a frame of bytes.

``docs/reference/record-format.md`` is the specification; `turntrace.record.segment_reader` reads.
A field's wire name, once given, is never given to anything else.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from turntrace.record.span_record import Scope
from turntrace.record.wire_values import held_attributes, held_int, held_text

if TYPE_CHECKING:
    from turntrace.record.span_record import EventRecord, LinkRecord, SpanRecord

FORMAT_VERSION: Final = 1
"""The version that this code writes; raised with every change of what is written."""
MIN_READER_VERSION: Final = 1
"""The oldest version that may read what this code writes."""
MAX_PAYLOAD_BYTES: Final = 256 * 1024
"""A longer record is shortened when it is packed; a reader takes a longer length for damage."""
MAX_SCOPES: Final = 1_000
"""Scopes that get a number; a span of any further one is written without its scope."""
HEAD_BYTES: Final = 8
"""What stands before each payload: its length and its checksum."""

_MAX_SHORTENED_CHARS: Final = 4096

_pack_head = struct.Struct("<II").pack
_encode = msgspec.msgpack.Encoder().encode
_crc32 = zlib.crc32


class RecordKind(IntEnum):
    """The value of ``t``, the first key of each record."""

    HEADER = 1
    SCOPE = 2
    RESOURCE = 3
    SPAN = 4
    START = 5
    CLOSE = 6


class CloseReason(StrEnum):
    """Why a span that was started will not come."""

    ABANDONED = "abandoned"
    """Its process gave it up: nobody ends it, or its record was dropped, which was counted."""

    RECOVERED = "recovered"
    """Another process has closed it, and holds the record that says so."""


class Header(
    msgspec.Struct, tag_field="t", tag=int(RecordKind.HEADER), omit_defaults=True, frozen=True
):
    """The first record of a segment: who wrote it, and who may read it."""

    version: int = msgspec.field(name="v")
    min_reader: int = msgspec.field(name="r")
    writer: str = msgspec.field(default="", name="w")
    """Name and version of the writing program: ``turntrace 1.2.0``."""
    pid: int = msgspec.field(default=0, name="p")
    instance: str = msgspec.field(default="", name="i")
    """Tells this process from an earlier one with the same pid."""
    created_ns: int = msgspec.field(default=0, name="c")
    attributes: dict[str, Any] = msgspec.field(default_factory=dict, name="a")
    """Of resource 0, which a record means that names no other."""
    schema_url: str = msgspec.field(default="", name="u")


class ScopeEntry(
    msgspec.Struct, tag_field="t", tag=int(RecordKind.SCOPE), omit_defaults=True, frozen=True
):
    """Gives a scope its number, before the first record that uses it."""

    number: int = msgspec.field(name="n")
    """From 1; 0 is the scope without a name."""
    name: str = msgspec.field(default="", name="s")
    version: str = msgspec.field(default="", name="v")
    schema_url: str = msgspec.field(default="", name="u")


class ResourceEntry(
    msgspec.Struct, tag_field="t", tag=int(RecordKind.RESOURCE), omit_defaults=True, frozen=True
):
    """Gives one more resource its number, before the first record that uses it."""

    number: int = msgspec.field(name="n")
    """From 1; 0 is the header's."""
    attributes: dict[str, Any] = msgspec.field(default_factory=dict, name="a")
    schema_url: str = msgspec.field(default="", name="u")


class EventFields(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """An `EventRecord` on disk."""

    name: str = msgspec.field(default="", name="n")
    time_ns: int = msgspec.field(default=0, name="b")
    attributes: dict[str, Any] = msgspec.field(default_factory=dict, name="a")
    dropped_attributes: int = msgspec.field(default=0, name="d")


class LinkFields(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """A `LinkRecord` on disk."""

    trace_id: bytes = msgspec.field(name="i")
    span_id: bytes = msgspec.field(name="s")
    trace_state: str = msgspec.field(default="", name="T")
    flags: int = msgspec.field(default=0, name="f")
    attributes: dict[str, Any] = msgspec.field(default_factory=dict, name="a")
    dropped_attributes: int = msgspec.field(default=0, name="d")


class SpanFields(
    msgspec.Struct,
    tag_field="t",
    tag=int(RecordKind.SPAN),
    omit_defaults=True,
    frozen=True,
    gc=False,
):
    """A `SpanRecord` on disk: the same fields in the same order, scope and resource by number."""

    trace_id: bytes = msgspec.field(name="i")
    span_id: bytes = msgspec.field(name="s")
    parent_span_id: bytes = msgspec.field(default=b"", name="p")
    parent_is_remote: bool = msgspec.field(default=False, name="R")
    flags: int = msgspec.field(default=0, name="f")
    trace_state: str = msgspec.field(default="", name="T")
    name: str = msgspec.field(default="", name="n")
    kind: int = msgspec.field(default=0, name="k")
    start_ns: int = msgspec.field(default=0, name="b")
    end_ns: int = msgspec.field(default=0, name="e")
    attributes: dict[str, Any] = msgspec.field(default_factory=dict, name="a")
    events: tuple[EventFields, ...] = msgspec.field(default=(), name="E")
    links: tuple[LinkFields, ...] = msgspec.field(default=(), name="L")
    status_code: int = msgspec.field(default=0, name="c")
    status_description: str = msgspec.field(default="", name="m")
    dropped_attributes: int = msgspec.field(default=0, name="d")
    dropped_events: int = msgspec.field(default=0, name="D")
    dropped_links: int = msgspec.field(default=0, name="K")
    scope: int = msgspec.field(default=0, name="S")
    resource: int = msgspec.field(default=0, name="r")


class StartFields(SpanFields, tag=int(RecordKind.START), frozen=True):
    """A span that has started and not ended: what is known of it so far."""


class Close(
    msgspec.Struct, tag_field="t", tag=int(RecordKind.CLOSE), omit_defaults=True, frozen=True
):
    """Says that a span whose start was written will not come."""

    trace_id: bytes = msgspec.field(name="i")
    span_id: bytes = msgspec.field(name="s")
    reason: str = msgspec.field(default=CloseReason.ABANDONED.value, name="w")
    """A `CloseReason`, or one that a later version knows."""


_Fields = TypeVar("_Fields", bound=msgspec.Struct)


class ScopeTable:
    """The numbers of a process's scopes: the same in all its segments, so frames can be copied.

    Without a lock: a scope is in the list before anybody is told its number. A segment that knows
    the first ``known`` scopes needs ``frames(after=known)`` before a record with a higher number.
    """

    __slots__ = ("_numbers", "_scopes")

    def __init__(self) -> None:
        self._scopes: list[Scope] = []
        self._numbers: dict[Scope, int] = {Scope(""): 0}

    def number(self, scope: Scope) -> int:
        """Return the number of ``scope``; 0, the scope without a name, when the table is full."""
        number = self._numbers.get(scope)
        if number is None:
            if len(self._scopes) >= MAX_SCOPES:
                return 0
            self._scopes.append(scope)
            # The first of equals: two threads with the same new scope agree.
            number = self._numbers[scope] = self._scopes.index(scope) + 1
        return number

    def frames(self, after: int = 0) -> tuple[bytes, int]:
        """Return the entries of the scopes above number ``after``, and the highest number so far.

        Example:
            >>> ScopeTable().frames()
            (b'', 0)
        """
        scopes = self._scopes[after:]
        entries = [ScopeEntry(number, *scope) for number, scope in enumerate(scopes, after + 1)]
        return b"".join(map(pack, entries)), after + len(scopes)


def pack(record: Header | ScopeEntry | ResourceEntry | Close) -> bytes:
    r"""Return the frame of a record that is no span.

    Never raises for a record of the declared types; what becomes of texts, numbers and attributes
    that have no form is what `pack_span` says.

    Example:
        >>> pack(ScopeEntry(1, "sql")).hex(" ")
        '0d 00 00 00 80 74 3b 3c 83 a1 74 02 a1 6e 01 a1 73 a3 73 71 6c'
    """
    return _frame(record)


def pack_span(record: SpanRecord, scope: int, resource: int = 0) -> bytes:
    """Return the frame of an ended span: ``length | crc32 | payload``.

    ``scope`` and ``resource`` are numbers that entries in the same segment explain. Never raises
    for a record of the declared types. An int beyond 64 bits becomes its decimal text, a lone
    surrogate U+FFFD; an attribute that has no form (an int beyond 256 bits, a tuple nested deeper
    than 32, a foreign type) is left out and counted in ``dropped_attributes``. Of a record longer
    than `MAX_PAYLOAD_BYTES` events, links and the largest attributes are left out, and counted.
    """
    # By position, and written out rather than called: this is on the path of every span.
    fields = SpanFields(
        record.trace_id,
        record.span_id,
        record.parent_span_id,
        record.parent_is_remote,
        record.flags,
        record.trace_state,
        record.name,
        record.kind,
        record.start_ns,
        record.end_ns,
        record.attributes,
        tuple(map(_event_fields, record.events)) if record.events else (),
        tuple(map(_link_fields, record.links)) if record.links else (),
        record.status_code,
        record.status_description,
        record.dropped_attributes,
        record.dropped_events,
        record.dropped_links,
        scope,
        resource,
    )
    try:
        payload = _encode(fields)
    except Exception:  # noqa: BLE001 - a value without a form; msgspec raises many types
        return _frame(fields)
    size = len(payload)
    if size > MAX_PAYLOAD_BYTES:
        return _frame(fields)
    return _pack_head(size, _crc32(payload)) + payload


def pack_start(record: SpanRecord, scope: int, resource: int = 0) -> bytes:
    """Return the frame that says that a span was started; as `pack_span`, without an end.

    ``record`` is what is known of the open span: its links and attributes so far; its ``end_ns``
    is not written.
    """
    return _frame(
        StartFields(
            record.trace_id,
            record.span_id,
            record.parent_span_id,
            record.parent_is_remote,
            record.flags,
            record.trace_state,
            record.name,
            record.kind,
            record.start_ns,
            0,
            record.attributes,
            tuple(map(_event_fields, record.events)),
            tuple(map(_link_fields, record.links)),
            record.status_code,
            record.status_description,
            record.dropped_attributes,
            record.dropped_events,
            record.dropped_links,
            scope,
            resource,
        )
    )


def _frame(fields: msgspec.Struct) -> bytes:
    try:
        payload = _encode(fields)
    except Exception:  # noqa: BLE001 - as above
        fields = _held(fields)
        payload = _encode(fields)
    size = len(payload)
    if size > MAX_PAYLOAD_BYTES:
        payload = _encode(_shortened(_held(fields)))
        size = len(payload)
    return _pack_head(size, _crc32(payload)) + payload


def _event_fields(event: EventRecord) -> EventFields:
    return EventFields(*event)


def _link_fields(link: LinkRecord) -> LinkFields:
    return LinkFields(*link)


def _held(fields: _Fields) -> _Fields:
    """Return ``fields`` with nothing in them that MessagePack cannot say."""
    changes: dict[str, Any] = {}
    dropped = 0
    for name in fields.__struct_fields__:
        value = getattr(fields, name)
        match value:
            case str():
                changes[name] = held_text(value)
            case bool():
                continue
            case int():
                changes[name] = held_int(value)
            case dict():
                changes[name], dropped = held_attributes(value)
            case tuple():
                changes[name] = tuple(map(_held, value))
    if "dropped_attributes" in changes:
        changes["dropped_attributes"] = held_int(changes["dropped_attributes"] + dropped)
    return replace(fields, **changes)


def _shortened(fields: msgspec.Struct) -> msgspec.Struct:
    """Return ``fields`` with as much of them as fits into a record: the small attributes first."""
    changes: dict[str, Any] = {
        name: value[:_MAX_SHORTENED_CHARS]
        for name in fields.__struct_fields__
        if isinstance(value := getattr(fields, name), str)
    }
    attributes = getattr(fields, "attributes", {})
    sizes = {key: len(_encode({key: value})) for key, value in attributes.items()}
    kept: set[str] = set()
    left = MAX_PAYLOAD_BYTES // 2  # the rest is far more than everything else can take
    for key in sorted(sizes, key=sizes.__getitem__):
        left -= sizes[key]
        if left < 0:
            break
        kept.add(key)
    if sizes:
        changes["attributes"] = {key: attributes[key] for key in attributes if key in kept}
    if isinstance(fields, SpanFields):
        changes |= {
            "events": (),
            "links": (),
            "dropped_attributes": held_int(fields.dropped_attributes + len(sizes) - len(kept)),
            "dropped_events": held_int(fields.dropped_events + len(fields.events)),
            "dropped_links": held_int(fields.dropped_links + len(fields.links)),
        }
    return replace(fields, **changes)
