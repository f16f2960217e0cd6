"""Packs finished spans straight into OTLP protobuf bytes, a few microseconds each.

The wire layout follows ``opentelemetry/proto/trace/v1/trace.proto`` (1.x). Tags are written out
as literals beside the field they stand for: ``(field number << 3) | wire type``.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from turntrace.export.otlp_attributes import AttributeTable
from turntrace.export.protobuf import clamp_uint64, count, field, utf8, varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from turntrace.record.span_record import (
        AttributeValue,
        EventRecord,
        LinkRecord,
        Scope,
        SpanRecord,
    )

SPANS_PER_CHUNK: Final = 16
"""How many spans are encoded between two chances for the event loop to run (about 0.1 ms)."""

_MAX_NAMES: Final = 512
_MAX_CACHED_CHARS: Final = 64

_pack_times = struct.Struct("<BQBQ").pack  # start_time_unix_nano = 7, end_time_unix_nano = 8
_pack_event_time = struct.Struct("<BQ").pack  # Event.time_unix_nano = 1
_pack_flags = struct.Struct("<I").pack

_KINDS: Final = {kind: b"\x30%c" % (kind + 1) for kind in range(5)}  # kind = 6
_STATUSES: Final = {0: b"", 1: b"\x18\x01", 2: b"\x18\x02"}  # Status.code = 3
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_FLAGS_MASK: Final = 0x3FF
_SPAN_FLAGS: Final = {  # flags = 16
    (flags, is_remote): b"\x85\x01"
    + _pack_flags(flags | _HAS_IS_REMOTE | (_IS_REMOTE if is_remote else 0))
    for flags in range(256)
    for is_remote in (False, True)
}
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8


class Resource(NamedTuple):
    """What the spans of one process have in common."""

    attributes: Mapping[str, AttributeValue]
    schema_url: str = ""


class EncodedChunk(NamedTuple):
    """A few encoded spans, by scope; chunks are joined into a request."""

    spans: dict[Scope, bytes]
    """The ``ScopeSpans.spans`` fields, tags included."""

    record_count: int
    """How many records went in."""

    skipped: int
    """How many of them were too malformed to be a span at all, and were left out."""

    size_bytes: int
    """How many bytes the chunk adds to the request, about."""


class OtlpEncoder:
    """Encodes records; remembers (bounded) how frequent keys, names and short values look.

    May be shared by threads: under the GIL a race costs a cache entry, never a wrong byte. The
    remembered values stay in memory, so records must have passed the guard.
    """

    __slots__ = (
        "_event_attributes",
        "_event_names",
        "_link_attributes",
        "_names",
        "_span_attributes",
    )

    def __init__(self) -> None:
        self._span_attributes = AttributeTable(b"\x4a")  # Span.attributes = 9
        self._event_attributes = AttributeTable(b"\x1a")  # Event.attributes = 3
        self._link_attributes = AttributeTable(b"\x22")  # Link.attributes = 4
        self._names: dict[str, bytes] = {}
        self._event_names: dict[str, bytes] = {}

    def encode_spans(
        self, records: Iterable[SpanRecord], spans_per_chunk: int = SPANS_PER_CHUNK
    ) -> Iterator[EncodedChunk]:
        """Yield the records as chunks of at most ``spans_per_chunk``, in order.

        The caller may do ``time.sleep(0)`` after each chunk, so that other threads wait for the
        GIL no longer than one chunk takes. Never raises for any record.
        """
        remaining = iter(records)
        while batch := tuple(islice(remaining, spans_per_chunk)):
            parts: dict[Scope, list[bytes]] = {}
            parts_by_identity: dict[int, list[bytes]] = {}  # hashing three strings is slow
            skipped = 0
            for record in batch:
                try:
                    body = self._encode_span(record)
                    scope = record.scope
                    pieces = parts_by_identity.get(id(scope))
                    if pieces is None:
                        pieces = parts_by_identity[id(scope)] = parts.setdefault(scope, [])
                except Exception:  # noqa: BLE001 - one broken record must not cost its batch
                    skipped += 1
                else:
                    pieces.append(b"\x12" + varint(len(body)) + body)  # ScopeSpans.spans = 2
            spans = {scope: b"".join(pieces) for scope, pieces in parts.items()}
            size_bytes = sum(map(len, spans.values()))
            yield EncodedChunk(spans, len(batch), skipped, size_bytes)

    def _encode_span(self, record: SpanRecord) -> bytes:  # noqa: C901 - hot: a call is 0.1 us
        """Return the ``Span`` message; fields in ascending order, as protoc writes them."""
        trace_id = record.trace_id
        span_id = record.span_id
        parent_span_id = record.parent_span_id
        if len(trace_id) == _TRACE_ID_BYTES and len(span_id) == _SPAN_ID_BYTES:
            out = [b"\x0a\x10" + trace_id + b"\x12\x08" + span_id]
        else:
            out = [field(b"\x0a", trace_id), field(b"\x12", span_id)]
        append = out.append
        if record.trace_state:
            append(field(b"\x1a", utf8(record.trace_state)))
        if parent_span_id:
            append(
                b"\x22\x08" + parent_span_id
                if len(parent_span_id) == _SPAN_ID_BYTES
                else field(b"\x22", parent_span_id)
            )
        name = self._names.get(record.name)
        append(_learn_name(self._names, b"\x2a", record.name) if name is None else name)
        append(_KINDS.get(record.kind, b""))
        append(_encode_times(record.start_ns, record.end_ns))
        dropped = record.dropped_attributes
        if record.attributes:
            dropped += self._span_attributes.append_to(out, record.attributes)
        if dropped:
            append(count(b"\x50", dropped))
        for event in record.events:
            append(self._encode_event(event))
        if record.dropped_events:
            append(count(b"\x60", record.dropped_events))
        for link in record.links:
            append(self._encode_link(link))
        if record.dropped_links:
            append(count(b"\x70", record.dropped_links))
        if record.status_code or record.status_description:
            append(_encode_status(record.status_code, record.status_description))
        append(_SPAN_FLAGS[record.flags & 0xFF, record.parent_is_remote])
        return b"".join(out)

    def _encode_event(self, event: EventRecord) -> bytes:
        name, time_ns, attributes, dropped = event
        try:
            time = _pack_event_time(0x09, time_ns)
        except struct.error:
            time = _pack_event_time(0x09, clamp_uint64(time_ns))
        name_field = self._event_names.get(name) or _learn_name(self._event_names, b"\x12", name)
        out = [time, name_field]
        if attributes:
            dropped += self._event_attributes.append_to(out, attributes)
        if dropped:
            out.append(count(b"\x20", dropped))
        return field(b"\x5a", b"".join(out))  # Span.events = 11

    def _encode_link(self, link: LinkRecord) -> bytes:
        trace_id, span_id, trace_state, flags, attributes, dropped = link
        out = [field(b"\x0a", trace_id), field(b"\x12", span_id)]
        if trace_state:
            out.append(field(b"\x1a", utf8(trace_state)))
        dropped += self._link_attributes.append_to(out, attributes)
        if dropped:
            out.append(count(b"\x28", dropped))
        out.append(b"\x35" + _pack_flags(flags & _FLAGS_MASK))  # Link.flags = 6
        return field(b"\x6a", b"".join(out))  # Span.links = 13


def encode_resource(resource: Resource) -> bytes:
    """Return the ``ResourceSpans.resource`` field, ready for `join_request`.

    Values that cannot be encoded are left out and counted in the resource's own
    ``dropped_attributes_count``.
    """
    out: list[bytes] = []
    dropped = AttributeTable(b"\x0a").append_to(out, resource.attributes)
    if dropped:
        out.append(count(b"\x10", dropped))
    return field(b"\x0a", b"".join(out))


def join_request(
    encoded_resource: bytes, chunks: Iterable[EncodedChunk], resource_schema_url: str = ""
) -> bytes:
    """Return one ``ExportTraceServiceRequest`` of all chunks: one ``ScopeSpans`` per scope."""
    spans_of: dict[Scope, list[bytes]] = {}
    for chunk in chunks:
        for scope, spans in chunk.spans.items():
            spans_of.setdefault(scope, []).append(spans)
    out = [encoded_resource]
    size = len(encoded_resource)
    for scope, pieces in spans_of.items():
        head, tail = _encode_scope(scope)
        length = len(head) + sum(map(len, pieces)) + len(tail)
        prefix = b"\x12" + varint(length)  # ResourceSpans.scope_spans = 2
        out += [prefix, head, *pieces, tail]
        size += len(prefix) + length
    if resource_schema_url:
        schema_url = field(b"\x1a", utf8(resource_schema_url))
        out.append(schema_url)
        size += len(schema_url)
    return b"".join([b"\x0a", varint(size), *out])


def encode_request(resource: Resource, records: Sequence[SpanRecord]) -> bytes:
    r"""Return the ``ExportTraceServiceRequest`` for ``records``, in one go.

    Never raises for any record: an attribute value that has no OTLP form is left out and counted
    in ``dropped_attributes_count``. An int outside 64 bits becomes its decimal text (up to 256
    bits; beyond that it is left out), a lone surrogate becomes U+FFFD, a tuple nested deeper than
    32 is left out.

    Example:
        >>> encode_request(Resource({}), [])
        b'\n\x02\n\x00'
    """
    chunks = OtlpEncoder().encode_spans(records, spans_per_chunk=max(1, len(records)))
    return join_request(encode_resource(resource), chunks, resource.schema_url)


def _encode_scope(scope: Scope) -> tuple[bytes, bytes]:
    """Return what comes before and after the spans in a ``ScopeSpans``."""
    name, version, schema_url = scope
    inner = field(b"\x0a", utf8(name)) if name else b""
    if version:
        inner += field(b"\x12", utf8(version))
    return field(b"\x0a", inner), field(b"\x1a", utf8(schema_url)) if schema_url else b""


def _learn_name(known: dict[str, bytes], tag: bytes, name: str) -> bytes:
    encoded = field(tag, utf8(name))
    if len(known) < _MAX_NAMES and len(name) <= _MAX_CACHED_CHARS:
        known[name] = encoded
    return encoded


def _encode_times(start_ns: int, end_ns: int) -> bytes:
    try:
        return _pack_times(0x39, start_ns, 0x41, end_ns)
    except struct.error:
        return _pack_times(0x39, clamp_uint64(start_ns), 0x41, clamp_uint64(end_ns))


def _encode_status(code: int, description: str) -> bytes:
    message = field(b"\x12", utf8(description)) if description else b""
    return field(b"\x7a", message + _STATUSES.get(code, b""))  # Span.status = 15
