"""How much a request may hold, in numbers, not in bytes."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from otlp_requests import PROTOBUF, URL, make_full_request, make_request, make_span, to_json_bytes
from starlette.testclient import TestClient

from turntrace.errors import ReceiveError
from turntrace.view import bounds
from turntrace.view.app import build_app
from turntrace.view.decode import decode_json, decode_protobuf

if TYPE_CHECKING:
    from turntrace.store.sqlite import SqliteStore

TRACE_ID = b"a 16 byte id ok!"
MANY = 600_000


def _field(number: int, content: bytes) -> bytes:
    size = len(content)
    length = bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2]) + bytes(length) + bytes([size]) + content


def _in_span(content: bytes) -> bytes:
    return _field(1, _field(2, _field(2, content)))


HUGE = {
    "resources": b"\x0a\x00" * MANY,
    "scopes": _field(1, b"\x12\x00" * MANY),
    "spans": _field(1, _field(2, b"\x12\x00" * MANY)),
    "events": _in_span(b"\x5a\x00" * MANY),
    "links": _in_span(b"\x6a\x00" * MANY),
    "attributes": _in_span(b"\x4a\x00" * MANY),
    "values of a list": _in_span(_field(9, _field(2, _field(5, b"\x0a\x00" * MANY)))),
    "one status again and again": _in_span(b"\x7a\x00" * MANY),
    "unknown fields": _field(1, b"\x50\x01" * MANY),
    "tags longer than they need be": b"\x8a\x00\x00" * MANY,
    "one number again and again": _in_span(b"\x30\x01" * MANY),
}


@pytest.mark.parametrize("what", HUGE)
def test_small_request_of_very_many_things_is_refused_before_they_are_built(what: str) -> None:
    with pytest.raises(ReceiveError, match=r"more than .* in one request"):
        bounds.check_protobuf(HUGE[what])


HUGE_JSON = {
    "nesting": b"[" * MANY,
    "lists": b"[" + b"[]," * MANY + b"1]",
    "resources": b'{"resourceSpans":[' + b"{}," * MANY + b"{}]}",
    "names": b"{" + b'"a":1,' * MANY + b'"b":2}',
    "strings": b'"' * MANY,
}


@pytest.mark.parametrize("what", HUGE_JSON)
def test_json_of_very_many_values_is_refused_before_they_are_built(what: str) -> None:
    tracemalloc.start()
    with pytest.raises(ReceiveError, match=r"more than .* in one request"):
        decode_json(HUGE_JSON[what])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_tiny_gzip_of_very_many_events_is_413(store: SqliteStore) -> None:
    body = gzip.compress(HUGE["events"])
    assert len(body) < 3000
    headers = {**PROTOBUF, "content-encoding": "gzip"}
    with TestClient(build_app(store), base_url=URL) as client:
        assert client.post("/v1/traces", content=body, headers=headers).status_code == 413


def test_text_may_be_long_and_full_of_punctuation() -> None:
    text = '[{,"\\' * 100_000
    request = make_request([make_span(TRACE_ID, name=text)])
    assert decode_protobuf(request.SerializeToString()).spans[0].name == text
    assert decode_json(to_json_bytes(request)).spans[0].name == text


def test_collector_batch_of_8192_spans_is_taken() -> None:
    request = make_request([make_span(TRACE_ID) for _ in range(8192)])
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.status.code = 1
    assert len(decode_protobuf(request.SerializeToString()).spans) == 8192


@pytest.mark.parametrize(
    "damage",
    [
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0b" + b"\x0a\x00" * 9 + b"\x0c",
        b"\x0a\x02\x12\x05",
        b"\xff" * 40,
        b"\x8a\x80\x80\x80\x80\x01\x00",
        b"\x50",
    ],
)
def test_damage_in_a_large_request_is_named(damage: bytes) -> None:
    large = make_request([make_span(TRACE_ID, name="x" * 200_000)]).SerializeToString()
    with pytest.raises(ReceiveError, match="not a protobuf trace request"):
        decode_protobuf(large + damage)


def test_messages_nested_without_end_are_refused() -> None:
    value = b""
    for _ in range(500):
        value = _field(5, _field(1, value))
    with pytest.raises(ReceiveError, match="not a protobuf trace request"):
        bounds._count(_in_span(_field(9, _field(2, value))))


def test_counting_finds_every_field_of_a_full_request(monkeypatch: pytest.MonkeyPatch) -> None:
    body = make_full_request(TRACE_ID).SerializeToString()
    bounds._count(body)
    # resource, its message, scope spans, scope, two spans, status, event, link
    for limit, is_refused in ((8, True), (9, False)):
        monkeypatch.setattr(bounds, "MAX_RECORDS", limit)
        if is_refused:
            with pytest.raises(ReceiveError, match="more than 8 spans"):
                bounds._count(body)
        else:
            bounds._count(body)


@given(st.binary(max_size=300))
def test_counting_any_bytes_ends_or_refuses(body: bytes) -> None:
    request: Any = make_full_request(TRACE_ID).SerializeToString()
    for content in (body, request + body, request[: len(body)] + body):
        try:
            bounds._count(content)
        except (ReceiveError, IndexError) as error:
            assert error is not None  # noqa: PT017 - either way is right, and any other is not


def test_tokens_of_json_are_its_strings_brackets_and_commas() -> None:
    body = b'{"a": [1, "b,[{", {}], "q\\"[,": "\\\\"}'
    tokens = [b"{", b'"a"', b"[", b",", b'"b,[{"', b",", b"{", b",", b'"q\\"[,"', b'"\\\\"']
    assert bounds._TOKEN.findall(body) == tokens
