"""What an OTLP request means, in either encoding."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_requests import (
    START_NS,
    attribute,
    make_full_request,
    make_request,
    make_span,
    make_trace_id,
    to_json,
    to_json_bytes,
)

from turntrace.errors import ReceiveError
from turntrace.store.contract import StoredEvent, StoredLink
from turntrace.view.decode import MAX_VALUE_DEPTH, Decoded, decode_json, decode_protobuf

TRACE_ID = b"a 16 byte id ok!"


def _decode(*spans: Span) -> Decoded:
    """Decode spans in both encodings, which must agree."""
    request = make_request(spans)
    decoded = decode_protobuf(request.SerializeToString())
    assert decode_json(to_json_bytes(request)) == decoded
    return decoded


def test_every_field_arrives() -> None:
    (span, _) = decode_protobuf(make_full_request(TRACE_ID).SerializeToString()).spans
    assert span.trace_id == TRACE_ID.hex()
    assert span.parent_span_id == b"parent!!".hex()
    assert (span.name, span.kind) == ("chat gemini-2.5-flash", "client")
    assert (span.start_ns, span.end_ns) == (START_NS, START_NS + 1_000_000)
    assert (span.status_code, span.status_message) == ("error", "it broke")
    assert (span.trace_state, span.flags) == ("ot=th:c", 0x301)
    assert span.attributes == {
        "text": "a",
        "count": -5,
        "ratio": 1.0,
        "yes": True,
        "bytes": "AP8=",
        "list": [2**62, "é"],
        "map": {"inner": 0.5, "no": False},
        "nan": "NaN",
        "infinite": "-Infinity",
        "empty": None,
    }
    assert span.events == (
        StoredEvent(
            name="exception",
            time_ns=START_NS + 7,
            attributes={"exception.type": "ValueError"},
            dropped_attributes=1,
        ),
    )
    assert span.links == (
        StoredLink(
            trace_id=b"another trace id".hex(),
            span_id=b"its span".hex(),
            trace_state="a=b",
            attributes={"why": "connect"},
            dropped_attributes=2,
        ),
    )
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (3, 4, 5)
    assert (span.scope_name, span.scope_version) == ("turntrace", "0.1")
    assert (span.service, span.resource) == ("renovation", {"service.name": "renovation"})


def test_both_encodings_mean_the_same() -> None:
    request = make_full_request(TRACE_ID)
    assert decode_json(to_json_bytes(request)) == decode_protobuf(request.SerializeToString())


def test_json_takes_names_of_enums_numbers_as_numbers_and_upper_case_ids() -> None:
    document = to_json(make_full_request(TRACE_ID))
    expected = decode_json(json.dumps(document).encode())
    (span, _) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    span["kind"] = "SPAN_KIND_CLIENT"
    span["status"]["code"] = "STATUS_CODE_ERROR"
    span["startTimeUnixNano"] = int(span["startTimeUnixNano"])
    span["traceId"] = span["traceId"].upper()
    assert decode_json(json.dumps(document).encode()) == expected


def test_json_ignores_fields_it_does_not_know() -> None:
    document = to_json(make_request([make_span(TRACE_ID)]))
    expected = decode_json(json.dumps(document).encode())
    document["novel"] = [1, {"a": None}]
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["novel"] = "x"
    assert decode_json(json.dumps(document).encode()) == expected


@pytest.mark.parametrize(
    "fields",
    [{"kind": "nope"}, {"kind": ""}, {"kind": "SERVER"}, {"status": {"code": "STATUS_CODE_NOPE"}}],
)
def test_json_word_that_an_enum_does_not_have_is_an_error(fields: dict[str, Any]) -> None:
    document = to_json(make_request([make_span(TRACE_ID)]))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0].update(fields)
    with pytest.raises(ReceiveError, match=r"(kind|code) is '.*'; it must be a number or one of"):
        decode_json(json.dumps(document).encode())


@pytest.mark.parametrize("kind", ["3", 3, "SPAN_KIND_CLIENT"])
def test_json_enum_is_a_number_a_number_as_text_or_a_word(kind: Any) -> None:
    document = to_json(make_request([make_span(TRACE_ID)]))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["kind"] = kind
    assert decode_json(json.dumps(document).encode()).spans[0].kind == "client"


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans":null}', b'{"resourceSpans":[]}'])
def test_json_that_says_nothing_is_a_request_of_no_spans_as_in_proto3(body: bytes) -> None:
    assert decode_json(body) == Decoded(spans=[], rejected=Counter())


def test_protobuf_ignores_fields_it_does_not_know() -> None:
    body = make_request([make_span(TRACE_ID)]).SerializeToString()
    novel = b"\xa2\x06\x03abc"  # field 100, three bytes
    assert decode_protobuf(body + novel) == decode_protobuf(body)


@pytest.mark.parametrize("decode", [decode_json, decode_protobuf])
def test_empty_request_is_no_error(decode: Any) -> None:
    body = b"{}" if decode is decode_json else b""
    assert decode(body).spans == []
    assert decode(body).message() == ""


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"trace_id": b""}, "trace id"),
        ({"trace_id": b"short"}, "trace id"),
        ({"trace_id": bytes(16)}, "trace id"),
        ({"trace_id": b"x" * 17}, "trace id"),
        ({"span_id": b""}, "span id"),
        ({"span_id": bytes(8)}, "span id"),
        ({"span_id": b"x" * 16}, "span id"),
        ({"parent_span_id": b"x"}, "parent span id"),
        ({"start_time_unix_nano": 0, "end_time_unix_nano": 0}, "start time"),
        ({"end_time_unix_nano": 2**64 - 1}, "2262"),
        ({"events": [Span.Event(time_unix_nano=2**63)]}, "2262"),
    ],
)
def test_unusable_span_is_rejected_alone_with_its_reason(
    overrides: dict[str, Any], reason: str
) -> None:
    good = make_span(TRACE_ID)
    decoded = _decode(good, make_span(**{"trace_id": TRACE_ID} | overrides), good)
    assert len(decoded.spans) == 2
    assert decoded.rejected.total() == 1
    assert reason in decoded.message()
    assert decoded.message().startswith("rejected 1 spans: ")


def test_reasons_are_counted_each() -> None:
    bad = make_span(b"")
    decoded = _decode(bad, bad, make_span(TRACE_ID, span_id=b""))
    assert decoded.spans == []
    assert decoded.message() == (
        "rejected 3 spans: trace id is not 16 bytes (32 hex digits) or all zero (2),"
        " span id is not 8 bytes (16 hex digits) or all zero (1)"
    )


def test_json_id_that_is_not_hexadecimal_rejects_its_span_only() -> None:
    document = to_json(make_request([make_span(TRACE_ID), make_span(TRACE_ID)]))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = "this is no id!!!"
    decoded = decode_json(json.dumps(document).encode())
    assert (len(decoded.spans), decoded.rejected.total()) == (1, 1)


def test_span_that_ends_before_it_starts_ends_when_it_starts() -> None:
    (span,) = _decode(make_span(TRACE_ID, end_time_unix_nano=START_NS - 5)).spans
    assert (span.start_ns, span.end_ns) == (START_NS, START_NS)


def test_span_without_start_starts_when_it_ends() -> None:
    (span,) = _decode(make_span(TRACE_ID, start_time_unix_nano=0)).spans
    assert span.start_ns == span.end_ns == START_NS + 1_000_000


def test_parent_of_zeros_is_no_parent() -> None:
    (span,) = _decode(make_span(TRACE_ID, parent_span_id=bytes(8))).spans
    assert span.parent_span_id == ""


def test_link_with_unusable_ids_is_dropped_and_counted() -> None:
    links = [
        Span.Link(trace_id=b"x", span_id=b"y"),
        Span.Link(trace_id=TRACE_ID, span_id=b"12345678"),
    ]
    (span,) = _decode(make_span(TRACE_ID, links=links)).spans
    assert (len(span.links), span.dropped_links) == (1, 1)


def test_kind_and_status_of_a_future_version_fall_back() -> None:
    span = make_span(TRACE_ID, kind=99)
    span.status.code = 77
    (decoded,) = decode_protobuf(make_request([span]).SerializeToString()).spans
    assert (decoded.kind, decoded.status_code) == ("internal", "unset")


def test_missing_service_is_said() -> None:
    request = make_request([make_span(TRACE_ID)])
    request.resource_spans[0].resource.Clear()
    assert decode_protobuf(request.SerializeToString()).spans[0].service == "unknown_service"


def test_value_nested_too_deep_rejects_its_span() -> None:
    value = AnyValue(int_value=1)
    for _ in range(MAX_VALUE_DEPTH + 1):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    deep = make_span(TRACE_ID, attributes=[KeyValue(key="deep", value=value)])
    decoded = decode_protobuf(make_request([make_span(TRACE_ID), deep]).SerializeToString())
    assert len(decoded.spans) == 1
    assert "nests deeper" in decoded.message()


@pytest.mark.parametrize(
    "body",
    [
        make_full_request(TRACE_ID).SerializeToString()[:-3],
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x08\x01",  # resource_spans as a varint
        b"\x0a\x04\x12\x02\x10\x01",  # spans as a varint
        b"\xff" * 40,
        b"hello",
        b'{"resourceSpans": []}',
        b"\xa2\x06\x03abc",
        make_request([make_span(TRACE_ID, name="abc")])
        .SerializeToString()
        .replace(b"abc", b"\xff\xfe\xfd"),
    ],
)
def test_malformed_protobuf_is_an_error(body: bytes) -> None:
    with pytest.raises(ReceiveError, match="not a protobuf trace request"):
        decode_protobuf(body)


def test_wrong_wire_type_is_named() -> None:
    with pytest.raises(ReceiveError, match=r"ScopeSpans\.spans has wire type 0"):
        decode_protobuf(b"\x0a\x04\x12\x02\x10\x01")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b'"text"',
        b"[" * 100_000,
        b'{"resourceSpans": 5}',
        b'{"resourceSpans": [5]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": "x"}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": {}}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\\ud800"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": "\\ud800"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "\\udc00"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"\\ud800": 1}]}]}]}',
        b'{"novel": ["\\ud800\\ud800"]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "soon"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": -1}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": '
        + b"9" * 5000
        + b"}]}]}]}",
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": 1e999}]}]}]}',
    ],
)
def test_malformed_json_is_an_error(body: bytes) -> None:
    with pytest.raises(ReceiveError, match="the body"):
        decode_json(body)


_FIELD_NAMES = [
    "resourceSpans",
    "resource",
    "scopeSpans",
    "scope",
    "spans",
    "traceId",
    "spanId",
    "links",
    "kind",
    "flags",
    "name",
    "status",
    "startTimeUnixNano",
    "attributes",
    "key",
    "value",
    "bytesValue",
    "intValue",
    "doubleValue",
    "arrayValue",
    "values",
]

_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_FIELD_NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_documents)
def test_any_json_document_is_decoded_or_refused(document: Any) -> None:
    for body in (document, {"resourceSpans": [{"scopeSpans": [{"spans": [document]}]}]}):
        try:
            decode_json(json.dumps(body).encode())
        except ReceiveError as error:
            assert str(error)  # noqa: PT017 - either way is right, and any other exception is not


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    for decode in (decode_protobuf, decode_json):
        try:
            decode(body)
        except ReceiveError as error:
            assert str(error)  # noqa: PT017 - either way is right, and any other exception is not


@given(st.text(max_size=30), st.integers(-(2**63), 2**63 - 1), st.floats())
def test_any_value_is_the_same_in_both_encodings(text: str, number: int, ratio: float) -> None:
    span = make_span(
        make_trace_id(),
        name=text.encode("utf-8", "replace").decode(),
        attributes=[attribute("number", number), attribute("ratio", ratio)],
    )
    decoded = _decode(span)
    assert decoded.spans[0].attributes["number"] == number
