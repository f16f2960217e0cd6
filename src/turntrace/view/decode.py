"""An OTLP trace request, protobuf or JSON, becomes spans for the store.

Source: opentelemetry-proto 1.x, ``ExportTraceServiceRequest``; the OTLP specification, "JSON
Protobuf Encoding" (ids are hexadecimal, 64-bit integers are strings or numbers). JSON is turned
into the official protobuf message first, so that both encodings mean the same.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from turntrace.errors import ReceiveError
from turntrace.store.contract import (
    MAX_NANOSECONDS,
    Attributes,
    AttributeValue,
    SpanKindWord,
    StatusWord,
    StoredEvent,
    StoredLink,
    StoredSpan,
)
from turntrace.view.bounds import check_json, check_protobuf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8
MAX_VALUE_DEPTH = 32
"""How deep lists and maps may nest in one attribute value."""

_PLAIN = frozenset({"string_value", "int_value", "bool_value"})
_KINDS: dict[int, SpanKindWord] = {2: "server", 3: "client", 4: "producer", 5: "consumer"}
_STATUSES: dict[int, StatusWord] = {1: "ok", 2: "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What a request held: the spans to store, and how many others were unusable, and why."""

    spans: list[StoredSpan]
    rejected: Counter[str]
    """Unusable spans by reason; the reasons are a fixed set, never data of the sender."""

    def message(self) -> str:
        """Say what was rejected in one line; empty if nothing was."""
        reasons = ", ".join(f"{reason} ({count})" for reason, count in self.rejected.most_common())
        return f"rejected {self.rejected.total()} spans: {reasons}" if reasons else ""


def decode_protobuf(body: bytes) -> Decoded:
    """Read a protobuf request.

    Raises:
        RefusedError: 413, it holds more than ``bounds.py`` allows.
        ReceiveError: the body is no ``ExportTraceServiceRequest``. Single bad spans do not
            raise, they are counted in ``Decoded.rejected``.
    """
    check_protobuf(body)
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ReceiveError(f"the body is not a protobuf trace request: {error}") from error
    size_bytes = request.ByteSize()
    request.DiscardUnknownFields()
    if request.ByteSize() != size_bytes:
        _refuse_mistyped(ExportTraceServiceRequest.FromString(body))
        if not request.resource_spans:
            raise ReceiveError(
                "the body is not a protobuf trace request: it has no field that one has"
            )
    return _decode(request)


def decode_json(body: bytes) -> Decoded:
    """Read a JSON request.

    Fields it does not know are ignored, and as in all of protobuf's JSON an absent field and
    null mean nothing was said: ``{}`` and ``{"resourceSpans": null}`` are requests of no spans.

    Raises:
        ReceiveError: as ``decode_protobuf``.
    """
    check_json(body)
    try:
        document = msgspec.json.decode(body)  # the json module would let lone surrogates through
    except (ValueError, RecursionError) as error:
        raise ReceiveError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ReceiveError(
            f"the body must be a JSON object with resourceSpans, not {type(document).__name__}"
        )
    request = ExportTraceServiceRequest()
    try:
        _prepare(document)
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError, OverflowError, ValueError) as error:
        raise ReceiveError(f"the body is not a JSON trace request: {error}") from error
    return _decode(request)


def _decode(request: ExportTraceServiceRequest) -> Decoded:
    spans: list[StoredSpan] = []
    rejected: Counter[str] = Counter()
    for resource_spans in request.resource_spans:
        try:
            resource = _attributes(resource_spans.resource.attributes)
        except _UnusableError as error:
            rejected[str(error)] += sum(len(s.spans) for s in resource_spans.scope_spans)
            continue
        service = str(resource.get("service.name") or "unknown_service")
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            for span in scope_spans.spans:
                try:
                    spans.append(_span(span, scope.name, scope.version, service, resource))
                except _UnusableError as error:
                    rejected[str(error)] += 1
    return Decoded(spans=spans, rejected=rejected)


class _UnusableError(Exception):
    """One span cannot be stored; the text is one of a fixed set of reasons."""


def _span(
    span: Span, scope_name: str, scope_version: str, service: str, resource: Attributes
) -> StoredSpan:
    trace_id, span_id, parent_span_id = span.trace_id, span.span_id, span.parent_span_id
    if len(trace_id) != TRACE_ID_BYTES or not any(trace_id):
        raise _UnusableError("trace id is not 16 bytes (32 hex digits) or all zero")
    if len(span_id) != SPAN_ID_BYTES or not any(span_id):
        raise _UnusableError("span id is not 8 bytes (16 hex digits) or all zero")
    if len(parent_span_id) not in {0, SPAN_ID_BYTES}:
        raise _UnusableError("parent span id is not 8 bytes (16 hex digits)")
    # A clock set back during a span must not cost the span: it ends when it started.
    start_ns = span.start_time_unix_nano or span.end_time_unix_nano
    end_ns = max(start_ns, span.end_time_unix_nano)
    if not start_ns:
        raise _UnusableError("start time is missing")
    if end_ns > MAX_NANOSECONDS:
        raise _UnusableError("time is later than the year 2262")
    links = [_link(link) for link in span.links if _is_usable_link(link)]
    return StoredSpan(
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_span_id=parent_span_id.hex() if any(parent_span_id) else "",
        trace_state=span.trace_state,
        flags=span.flags,
        name=span.name,
        kind=_KINDS.get(span.kind, "internal"),
        start_ns=start_ns,
        end_ns=end_ns,
        status_code=_STATUSES.get(span.status.code, "unset"),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(_event(event, start_ns) for event in span.events),
        links=tuple(links),
        dropped_attributes=span.dropped_attributes_count,
        dropped_events=span.dropped_events_count,
        dropped_links=span.dropped_links_count + len(span.links) - len(links),
        scope_name=scope_name,
        scope_version=scope_version,
        service=service,
        resource=resource,
    )


def _event(event: Span.Event, start_ns: int) -> StoredEvent:
    if event.time_unix_nano > MAX_NANOSECONDS:
        raise _UnusableError("time is later than the year 2262")
    return StoredEvent(
        name=event.name,
        time_ns=event.time_unix_nano or start_ns,
        attributes=_attributes(event.attributes),
        dropped_attributes=event.dropped_attributes_count,
    )


def _is_usable_link(link: Span.Link) -> bool:
    return len(link.trace_id) == TRACE_ID_BYTES and len(link.span_id) == SPAN_ID_BYTES


def _link(link: Span.Link) -> StoredLink:
    return StoredLink(
        trace_id=link.trace_id.hex(),
        span_id=link.span_id.hex(),
        trace_state=link.trace_state,
        attributes=_attributes(link.attributes),
        dropped_attributes=link.dropped_attributes_count,
    )


def _attributes(pairs: Iterable[KeyValue], depth: int = 0) -> Attributes:
    return {pair.key: _value(pair.value, depth) for pair in pairs}


def _value(value: AnyValue, depth: int) -> AttributeValue:
    which = value.WhichOneof("value")
    if which in _PLAIN:
        return cast("str | int | bool", getattr(value, which))
    if which == "double_value":
        return _finite(value.double_value)
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode("ascii")
    if depth >= MAX_VALUE_DEPTH:
        raise _UnusableError(f"attribute value nests deeper than {MAX_VALUE_DEPTH}")
    if which == "array_value":
        return [_value(item, depth + 1) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values, depth + 1)
    return None


def _finite(number: float) -> float | str:
    """Return a number that JSON can say, or its name in protobuf's JSON."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _refuse_mistyped(message: Message) -> None:
    """Raise if a field of the schema came with a wire type that is not its own.

    The protobuf library files such a field under "unknown" and goes on, as it must with fields
    of a newer schema. Those stay ignored; a known number in a wrong type is a damaged request.
    """
    fields = message.DESCRIPTOR.fields_by_number
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]  # the stub lacks __iter__
        field = fields.get(unknown.field_number)
        if field is not None:
            raise ReceiveError(
                f"the body is not a protobuf trace request: {message.DESCRIPTOR.name}.{field.name}"
                f" has wire type {unknown.wire_type}"
            )
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in value if isinstance(value, Sequence) else (value,):
                _refuse_mistyped(child)


def _prepare(document: dict[str, Any]) -> None:
    """Replace the hexadecimal ids of a JSON request by the base64 that protobuf's JSON has.

    An id that is not hexadecimal becomes one of a wrong length, so that only its span is
    rejected. Whatever has another type than it should is left for the parser to name, but for
    unknown words of enums: it would ignore them, as if they were unknown fields.
    """
    for resource_spans in _objects(document, "resourceSpans"):
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            for span in _objects(scope_spans, "spans"):
                _id_fields_to_base64(span, "traceId", "spanId", "parentSpanId")
                _check_word(span, "kind", Span.SpanKind.keys())
                if isinstance(status := span.get("status"), dict):
                    _check_word(status, "code", Status.StatusCode.keys())
                for link in _objects(span, "links"):
                    _id_fields_to_base64(link, "traceId", "spanId")


def _id_fields_to_base64(message: dict[str, Any], *keys: str) -> None:
    for key in keys:
        text = message.get(key)
        if isinstance(text, str):
            try:
                identifier = binascii.unhexlify(text)
            except ValueError:
                identifier = b"?"
            message[key] = base64.b64encode(identifier).decode("ascii")


def _check_word(message: dict[str, Any], key: str, words: Sequence[str]) -> None:
    """Refuse the request for an unknown word, as for any other value of a wrong type.

    OTLP has numbers there, whose meaning may be of the future; no client of any version sends
    another word than those of the schema.
    """
    word = message.get(key)
    if isinstance(word, str) and word not in words:
        try:
            int(word)
        except ValueError:
            raise ReceiveError(
                f"the body is not a JSON trace request: {key} is {word[:40]!r}; it must be a"
                f" number or one of {', '.join(words)}"
            ) from None


def _objects(message: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = message.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
