"""Claims about the encoder: its bytes mean what the official classes mean."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from export_records import make_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope as SdkScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.trace import Status as ApiStatus

from turntrace.export.otlp import (
    OtlpEncoder,
    Resource,
    encode_request,
    encode_resource,
    join_request,
)
from turntrace.record.span_record import EventRecord, LinkRecord, Scope, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

THOROUGH = settings(  # a busy machine is no failure
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
UINT64 = st.integers(0, 2**64 - 1)
UINT32 = st.integers(0, 2**32 - 1)
COUNTS = st.sampled_from([0, 0, 0, 1, 127, 128, 70_000, 2**32 - 1])
KEYS = st.sampled_from(
    ["session.id", "gen_ai.usage.input_tokens", "", "ключ", "k" * 200]
) | st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = (
    st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["", "ok", "\x00", "😀", "x" * 127, "x" * 128, "é" * 64, "x" * 2_000])
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, -1, 127, 128, 1023, 1024, 16383, 16384, 2**21 - 1, 2**21, 2**63 - 1])
    | st.floats()
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(st.none() | inner, max_size=4).map(tuple),
    max_leaves=5,
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=5)
TEXT = st.text(st.characters(codec="utf-8"), max_size=150)
SCOPES = st.sampled_from(
    [Scope("turntrace"), Scope("turntrace", "1.2"), Scope("sql", "", "https://schema/1"), Scope("")]
)
EVENTS = st.builds(EventRecord, TEXT, UINT64, ATTRIBUTES, COUNTS)
LINKS = st.builds(
    LinkRecord,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
    st.sampled_from(["", "ot=th:8", "a=b,c=d"]),
    st.integers(0, 0x3FF),
    ATTRIBUTES,
    COUNTS,
)
RECORDS = st.builds(
    SpanRecord,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_span_id=st.just(b"") | st.binary(min_size=8, max_size=8),
    parent_is_remote=st.booleans(),
    flags=st.integers(0, 255),
    trace_state=st.sampled_from(["", "ot=th:8", "a=b,c=d"]),
    name=TEXT,
    kind=st.integers(0, 4),
    start_ns=UINT64,
    end_ns=UINT64,
    attributes=ATTRIBUTES,
    events=st.lists(EVENTS, max_size=2).map(tuple),
    links=st.lists(LINKS, max_size=2).map(tuple),
    status_code=st.integers(0, 2),
    status_description=st.just("") | TEXT,
    dropped_attributes=COUNTS,
    dropped_events=COUNTS,
    dropped_links=COUNTS,
    scope=SCOPES,
)

# The same message, by the official classes.


def any_value(value: Any) -> AnyValue:  # noqa: PLR0911 - one per type
    if value is None:
        return AnyValue()
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def official_span(record: SpanRecord) -> Span:
    has_status = record.status_code or record.status_description
    return Span(
        trace_id=record.trace_id,
        span_id=record.span_id,
        trace_state=record.trace_state,
        parent_span_id=record.parent_span_id,
        flags=record.flags | 0x100 | (0x200 if record.parent_is_remote else 0),
        name=record.name,
        kind=Span.SpanKind.ValueType(record.kind + 1),
        start_time_unix_nano=record.start_ns,
        end_time_unix_nano=record.end_ns,
        attributes=key_values(record.attributes),
        dropped_attributes_count=record.dropped_attributes,
        events=[
            Span.Event(
                time_unix_nano=event.time_ns,
                name=event.name,
                attributes=key_values(event.attributes),
                dropped_attributes_count=event.dropped_attributes,
            )
            for event in record.events
        ],
        dropped_events_count=record.dropped_events,
        links=[
            Span.Link(
                trace_id=link.trace_id,
                span_id=link.span_id,
                trace_state=link.trace_state,
                attributes=key_values(link.attributes),
                dropped_attributes_count=link.dropped_attributes,
                flags=link.flags,
            )
            for link in record.links
        ],
        dropped_links_count=record.dropped_links,
        status=Status(
            message=record.status_description, code=Status.StatusCode.ValueType(record.status_code)
        )
        if has_status
        else None,
    )


def official_request(resource: Resource, records: list[SpanRecord]) -> ExportTraceServiceRequest:
    by_scope: dict[Scope, list[Span]] = {}
    for record in records:
        by_scope.setdefault(record.scope, []).append(official_span(record))
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=ResourceMessage(attributes=key_values(resource.attributes)),
                schema_url=resource.schema_url,
                scope_spans=[
                    ScopeSpans(
                        scope=InstrumentationScope(name=scope.name, version=scope.version),
                        schema_url=scope.schema_url,
                        spans=spans,
                    )
                    for scope, spans in by_scope.items()
                ],
            )
        ]
    )


def canonical(request: ExportTraceServiceRequest) -> bytes:
    """Return bytes to compare by: unlike messages, they treat one NaN as equal to itself."""
    return request.SerializeToString(deterministic=True)


def decode(data: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(data)


def decode_span(record: SpanRecord) -> Span:
    request = decode(encode_request(Resource({}), [record]))
    return request.resource_spans[0].scope_spans[0].spans[0]


SHARED_ENCODER = OtlpEncoder()


@THOROUGH
@given(
    st.builds(Resource, ATTRIBUTES, st.sampled_from(["", "https://schema/2"])),
    st.lists(RECORDS, max_size=3),
)
def test_bytes_mean_what_the_official_classes_mean(
    resource: Resource, records: list[SpanRecord]
) -> None:
    expected = canonical(official_request(resource, records))
    assert canonical(decode(encode_request(resource, records))) == expected


@THOROUGH
@given(st.lists(RECORDS, max_size=5), st.integers(1, 3))
def test_what_the_encoder_remembers_and_its_chunks_change_nothing(
    records: list[SpanRecord], spans_per_chunk: int
) -> None:
    resource = Resource({"service.name": "chat"})
    chunks = list(SHARED_ENCODER.encode_spans(records, spans_per_chunk))
    joined = join_request(encode_resource(resource), chunks)
    assert canonical(decode(joined)) == canonical(official_request(resource, records))
    assert [chunk.record_count for chunk in chunks[:-1]] == [spans_per_chunk] * (len(chunks) - 1)
    assert sum(chunk.record_count for chunk in chunks) == len(records)


SDK_SCALARS = (
    st.text(st.characters(codec="utf-8"))
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
)
SDK_ATTRIBUTES = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1),
    SDK_SCALARS | st.lists(st.text(st.characters(codec="utf-8"))).map(tuple),
    max_size=8,
)


@THOROUGH
@given(
    SDK_ATTRIBUTES,
    SDK_ATTRIBUTES,
    st.integers(0, 4),
    st.sampled_from(list(StatusCode)),
    st.booleans(),
    TEXT,
)
def test_bytes_mean_what_the_official_exporter_sends(  # noqa: PLR0917 - hypothesis fills them in
    attributes: dict[str, Any],
    event_attributes: dict[str, Any],
    kind: int,
    status: StatusCode,
    is_remote: bool,
    name: str,
) -> None:
    description = "why" if status is StatusCode.ERROR else ""
    record = make_record(
        name=name,
        kind=kind,
        parent_span_id=b"\x01" * 8,
        parent_is_remote=is_remote,
        trace_state="a=b,c=d",
        flags=0,  # the official exporter leaves the W3C flags out
        attributes=attributes,
        events=(EventRecord("first_token", 5, event_attributes),),
        links=(LinkRecord(b"\x03" * 16, b"\x04" * 8, "", 0x100, attributes),),
        status_code=status.value,
        status_description=description,
    )
    state = TraceState([("a", "b"), ("c", "d")])
    trace_id = int.from_bytes(record.trace_id, "big")
    span = ReadableSpan(
        name=name,
        context=SpanContext(
            trace_id, int.from_bytes(record.span_id, "big"), is_remote=False, trace_state=state
        ),
        parent=SpanContext(trace_id, int.from_bytes(b"\x01" * 8, "big"), is_remote=is_remote),
        resource=SdkResource({"service.name": "chat"}),
        attributes=attributes,
        events=(Event("first_token", event_attributes, 5),),
        links=(
            Link(
                SpanContext(
                    int.from_bytes(b"\x03" * 16, "big"),
                    int.from_bytes(b"\x04" * 8, "big"),
                    is_remote=False,
                    trace_flags=TraceFlags(0),
                ),
                attributes,
            ),
        ),
        kind=SpanKind(kind),
        status=ApiStatus(status, description or None),
        start_time=record.start_ns,
        end_time=record.end_ns,
        instrumentation_scope=SdkScope(record.scope.name, record.scope.version),
    )
    official = encode_spans([span])
    if status is StatusCode.UNSET:  # theirs is present but empty: the same meaning
        official.resource_spans[0].scope_spans[0].spans[0].ClearField("status")
    ours = decode(encode_request(Resource({"service.name": "chat"}), [record]))
    assert canonical(ours) == canonical(official)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (f"a{chr(0xD800)}b", "a\ufffdb"),
        (chr(0xDC00), "\ufffd"),
        (chr(0xD800), "\ufffd"),
        (chr(0xD83D) + chr(0xDE00), "😀"),
    ],
)
def test_text_that_is_no_utf8_is_mended_wherever_it_stands(text: str, sent: str) -> None:
    span = decode_span(
        make_record(
            name=text,
            attributes={text: text, "nested": ((text,),)},
            trace_state=text,
            status_description=text,
            events=(EventRecord(text, 1, {}),),
            scope=Scope(text, text, text),
        )
    )
    assert span.name == span.trace_state == span.status.message == span.events[0].name == sent
    assert span.attributes[0].key == span.attributes[0].value.string_value == sent
    nested = span.attributes[1].value.array_value.values[0].array_value.values[0]
    assert nested.string_value == sent


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**256 - 1])
def test_int_beyond_64_bits_becomes_its_decimal_text(number: int) -> None:
    span = decode_span(make_record(attributes={"n": number, "in": (number,)}))
    assert span.attributes[0].value.string_value == str(number)
    assert span.attributes[1].value.array_value.values[0].string_value == str(number)


class _Rude:
    def __bool__(self) -> bool:
        raise RuntimeError

    __str__ = __repr__ = __len__ = __iter__ = __bool__  # type: ignore[assignment] # it is rude


def _nested(depth: int) -> tuple[Any, ...]:
    value: tuple[Any, ...] = ()
    for _ in range(depth - 1):
        value = (value,)
    return value


@pytest.mark.parametrize(
    "value",
    [2**257, 10**5000, _Rude(), {"a": 1}, (1, _Rude()), _nested(33), _nested(5000)],
    ids=["258 bits", "5001 digits", "object", "dict", "inside", "33 deep", "5000 deep"],
)
def test_value_without_otlp_form_is_left_out_and_counted(value: Any) -> None:
    attributes = {"before": 1, "bad": value, "after": 2}
    record = make_record(
        attributes=attributes,
        dropped_attributes=3,
        events=(EventRecord("e", 1, attributes),),
        links=(LinkRecord(b"\x01" * 16, b"\x01" * 8, "", 0, attributes),),
    )
    span = decode_span(record)
    for holder, dropped in ((span, 4), (span.events[0], 1), (span.links[0], 1)):
        assert [item.key for item in holder.attributes] == ["before", "after"]
        assert holder.dropped_attributes_count == dropped


def test_value_left_out_of_the_resource_is_counted() -> None:
    request = decode(encode_request(Resource({"a": 1, "bad": _Rude()}), []))  # type: ignore[dict-item] # on purpose
    resource = request.resource_spans[0].resource
    assert [item.key for item in resource.attributes] == ["a"]
    assert resource.dropped_attributes_count == 1


def test_deepest_allowed_tuple_can_be_read() -> None:
    span = decode_span(make_record(events=(EventRecord("e", 1, {"deep": _nested(32)}),)))
    assert span.events[0].attributes[0].value.HasField("array_value")


def test_equal_values_of_different_types_are_not_confused() -> None:
    records = [make_record(attributes={"k": value}) for value in (1, True, 1.0, "1", 0, False, 0.0)]
    spans = decode(encode_request(Resource({}), records)).resource_spans[0].scope_spans[0].spans
    assert [span.attributes[0].value.WhichOneof("value") for span in spans] == [
        "int_value",
        "bool_value",
        "double_value",
        "string_value",
        "int_value",
        "bool_value",
        "double_value",
    ]


def test_subclasses_are_sent_as_what_they_are() -> None:
    class Number(int):
        pass

    class Text(str):
        __slots__ = ()

    span = decode_span(make_record(attributes={Text("k"): Text("v"), "n": Number(7), "l": [1]}))  # type: ignore[dict-item] # lists come from careless callers
    assert span.attributes[0].value.string_value == "v"
    assert span.attributes[1].value.int_value == 7
    assert span.attributes[2].value.array_value.values[0].int_value == 1


def test_nan_keeps_its_bits() -> None:
    span = decode_span(make_record(attributes={"nan": math.nan, "inf": -math.inf}))
    assert struct.pack("<d", span.attributes[0].value.double_value) == struct.pack("<d", math.nan)
    assert span.attributes[1].value.double_value == -math.inf


@pytest.mark.parametrize("moment", [-1, 2**64, -(2**70)])
def test_time_out_of_range_is_clamped(moment: int) -> None:
    span = decode_span(make_record(start_ns=moment, events=(EventRecord("e", moment, {}),)))
    expected = 0 if moment < 0 else 2**64 - 1
    assert span.start_time_unix_nano == span.events[0].time_unix_nano == expected


def test_record_that_is_no_span_is_skipped_and_counted() -> None:
    records = [make_record(), make_record(trace_id=None), make_record(attributes=7), make_record()]
    (chunk,) = OtlpEncoder().encode_spans(records)
    assert (chunk.record_count, chunk.skipped) == (4, 2)
    request = decode(join_request(encode_resource(Resource({})), [chunk]))
    spans = request.resource_spans[0].scope_spans[0].spans
    assert [span.span_id for span in spans] == [records[0].span_id, records[3].span_id]


def test_what_is_remembered_is_bounded() -> None:
    encoder = OtlpEncoder()
    for number in range(3000):
        attributes = {f"k{number}": "v", "same": f"v{number}", "long": "x" * number}
        list(encoder.encode_spans([make_record(name=f"n{number}", attributes=attributes)]))
    table = encoder._span_attributes
    assert len(encoder._names) <= 512
    assert len(table._keys) <= 512
    assert len(table._keys["same"].strings) <= 32
    assert len(table._keys["long"].string_heads) <= 32
    assert sum(len(key.strings) for key in table._keys.values()) <= 4096
