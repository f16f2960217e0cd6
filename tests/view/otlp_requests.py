"""OTLP requests for the tests of the view, in both encodings."""

from __future__ import annotations

import base64
import itertools
import json
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from turntrace.view.body import BodyLimits

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
URL = "http://127.0.0.1:4318"
SMALL_LIMITS = BodyLimits(max_sent_bytes=20_000, max_body_bytes=100_000, max_held_bytes=40_000)
START_NS = 1_795_339_927_412_000_000

_numbers = itertools.count(1)


def make_trace_id() -> bytes:
    return next(_numbers).to_bytes(16, "big")


def make_span(trace_id: bytes, **overrides: Any) -> Span:
    fields: dict[str, Any] = {
        "trace_id": trace_id,
        "span_id": next(_numbers).to_bytes(8, "big"),
        "name": "work",
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": START_NS + 1_000_000,
    }
    return Span(**fields | overrides)


def make_request(spans: Iterable[Span], service: str = "demo") -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(attribute("service.name", service))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "turntrace"
    scope_spans.scope.version = "0.1"
    scope_spans.spans.extend(spans)
    return request


def attribute(key: str, value: str | float) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=value))


def make_full_request(trace_id: bytes) -> ExportTraceServiceRequest:
    """Return a request whose first span uses every field and every type of value."""
    values = {
        "bytes": AnyValue(bytes_value=b"\x00\xff"),
        "list": AnyValue(
            array_value=ArrayValue(values=[AnyValue(int_value=2**62), AnyValue(string_value="é")])
        ),
        "map": AnyValue(
            kvlist_value=KeyValueList(
                values=[attribute("inner", 0.5), attribute("no", value=False)]
            )
        ),
        "nan": AnyValue(double_value=float("nan")),
        "infinite": AnyValue(double_value=float("-inf")),
        "empty": AnyValue(),
    }
    span = make_span(
        trace_id,
        name="chat gemini-2.5-flash",
        kind=Span.SPAN_KIND_CLIENT,
        parent_span_id=b"parent!!",
        trace_state="ot=th:c",
        flags=0x301,
        attributes=[
            attribute("text", "a"),
            attribute("count", -5),
            attribute("ratio", 1.0),
            attribute("yes", value=True),
            *(KeyValue(key=key, value=value) for key, value in values.items()),
        ],
        events=[
            Span.Event(
                name="exception",
                time_unix_nano=START_NS + 7,
                attributes=[attribute("exception.type", "ValueError")],
                dropped_attributes_count=1,
            )
        ],
        links=[
            Span.Link(
                trace_id=b"another trace id",
                span_id=b"its span",
                trace_state="a=b",
                attributes=[attribute("why", "connect")],
                dropped_attributes_count=2,
            )
        ],
        dropped_attributes_count=3,
        dropped_events_count=4,
        dropped_links_count=5,
    )
    span.status.code = 2
    span.status.message = "it broke"
    return make_request([span, make_span(trace_id)], service="renovation")


def to_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """Return a request in OTLP's own JSON, whose ids are hexadecimal."""
    document = json_format.MessageToDict(request, use_integers_for_enums=True)
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for message in (span, *span.get("links", ())):
                    for key in {"traceId", "spanId", "parentSpanId"} & message.keys():
                        message[key] = base64.b64decode(message[key]).hex()
    return document


def to_json_bytes(request: ExportTraceServiceRequest) -> bytes:
    return json.dumps(to_json(request)).encode()
