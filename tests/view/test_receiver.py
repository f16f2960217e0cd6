"""POST /v1/traces: what is taken, what is refused, and how it is said."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp_requests import (
    JSON,
    PROTOBUF,
    SMALL_LIMITS,
    URL,
    make_full_request,
    make_request,
    make_span,
    make_trace_id,
    to_json,
    to_json_bytes,
)
from starlette.testclient import TestClient

from turntrace.errors import ReceiveError
from turntrace.store.sqlite import SqliteStore
from turntrace.view.app import build_app
from turntrace.view.body import decompress

if TYPE_CHECKING:
    from pathlib import Path

TRACE_ID = b"a 16 byte id ok!"


def _status(response: Any) -> tuple[int, str]:
    """Return code and message of a ``google.rpc.Status`` in the encoding of the response."""
    if response.headers["content-type"] == JSON["content-type"]:
        body = response.json()
        assert body.keys() == {"code", "message"}
        return body["code"], body["message"]
    assert response.headers["content-type"] == PROTOBUF["content-type"]
    # 8: field 1, varint. 18: field 2, length. Written by hand, as the sender has no class for it.
    body = response.content
    assert body[0] == 8
    assert body[2] == 18
    length = body[3] if body[3] < 128 else body[3] - 128 + (body[4] << 7)
    message = body[-length:]
    assert len(body) == 3 + (1 if length < 128 else 2) + length
    return body[1], message.decode()


def test_protobuf_is_stored_and_answered_with_an_empty_success(
    client: TestClient, store: SqliteStore
) -> None:
    body = make_full_request(TRACE_ID).SerializeToString()
    response = client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == "application/x-protobuf"
    assert len(store.trace(TRACE_ID.hex())) == 2


def test_json_is_stored_and_answered_with_an_empty_success(
    client: TestClient, store: SqliteStore
) -> None:
    body = to_json_bytes(make_full_request(TRACE_ID))
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    response = client.post("/v1/traces", content=body, headers=headers)
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == "application/json"
    assert len(store.trace(TRACE_ID.hex())) == 2


def test_both_encodings_store_the_same(client: TestClient, store: SqliteStore) -> None:
    request = make_full_request(TRACE_ID)
    client.post("/v1/traces", content=to_json_bytes(request), headers=JSON)
    from_json = store.trace(TRACE_ID.hex())
    client.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert store.trace(TRACE_ID.hex()) == from_json


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    ],
)
def test_content_codings_are_undone(
    client: TestClient, store: SqliteStore, coding: str, encode: Any
) -> None:
    body = encode(make_full_request(TRACE_ID).SerializeToString())
    headers = {**PROTOBUF, "content-encoding": coding}
    assert client.post("/v1/traces", content=body, headers=headers).status_code == 200
    assert len(store.trace(TRACE_ID.hex())) == 2


def test_request_sent_again_is_stored_once(client: TestClient, store: SqliteStore) -> None:
    body = make_full_request(TRACE_ID).SerializeToString()
    for _ in range(3):
        assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    assert len(store.trace(TRACE_ID.hex())) == 2


def test_partial_success_counts_exactly_in_protobuf(client: TestClient, store: SqliteStore) -> None:
    spans = [make_span(TRACE_ID), make_span(b""), make_span(TRACE_ID), make_span(b"x")]
    body = make_request(spans).SerializeToString()
    response = client.post("/v1/traces", content=body, headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert response.status_code == 200
    assert partial.rejected_spans == 2
    assert "trace id is not 16 bytes" in partial.error_message
    assert len(store.trace(TRACE_ID.hex())) == 2


def test_partial_success_counts_exactly_in_json(client: TestClient, store: SqliteStore) -> None:
    body = to_json_bytes(make_request([make_span(TRACE_ID), make_span(b"")]))
    response = client.post("/v1/traces", content=body, headers=JSON)
    partial = response.json()["partialSuccess"]
    assert (response.status_code, partial["rejectedSpans"]) == (200, "1")
    assert "trace id" in partial["errorMessage"]
    assert len(store.trace(TRACE_ID.hex())) == 1


def test_request_of_bad_spans_only_stores_nothing(client: TestClient, store: SqliteStore) -> None:
    body = make_request([make_span(b"")]).SerializeToString()
    assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    assert store.recent(1) == []


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (make_full_request(TRACE_ID).SerializeToString()[:-3], PROTOBUF, "not a protobuf"),
        (b"\x08\x01", PROTOBUF, "wire type"),
        (b'{"resourceSpans": 1}', JSON, "not a JSON trace request"),
        (b"{", JSON, "not JSON"),
        (b"", JSON, "not JSON"),
        (b"no gzip", {**PROTOBUF, "content-encoding": "gzip"}, "not valid gzip"),
        (
            gzip.compress(b"abc", mtime=0)[:-4],
            {**JSON, "content-encoding": "gzip"},
            "ends too early",
        ),
        (
            gzip.compress(b"", mtime=0) + b"!",
            {**JSON, "content-encoding": "gzip"},
            "not valid gzip",
        ),
        (b"", {**PROTOBUF, "content-encoding": "gzip"}, "ends too early"),
        (zlib.compress(b"") * 2, {**JSON, "content-encoding": "deflate"}, "follows its end"),
        (gzip.compress(b"", mtime=0) * 65, {**JSON, "content-encoding": "gzip"}, "follows its end"),
    ],
)
def test_malformed_request_is_400_in_its_own_encoding(
    client: TestClient, store: SqliteStore, body: bytes, headers: dict[str, str], message: str
) -> None:
    response = client.post("/v1/traces", content=body, headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == headers["content-type"]
    code, text = _status(response)
    assert code == 3
    assert message in text
    assert store.recent(1) == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/grpc", "", "a" * 5000])
def test_other_content_types_are_415(client: TestClient, content_type: str) -> None:
    headers = {"content-type": content_type}
    response = client.post("/v1/traces", content=b"{}", headers=headers)
    assert response.status_code == 415
    assert "must be application/x-protobuf or application/json" in _status(response)[1]


def test_missing_content_type_is_415(client: TestClient) -> None:
    assert client.post("/v1/traces", content=b"{}").status_code == 415


def test_other_content_codings_are_415_and_say_what_is_accepted(client: TestClient) -> None:
    headers = {**PROTOBUF, "content-encoding": "zstd"}
    response = client.post("/v1/traces", content=b"", headers=headers)
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405(client: TestClient, method: str) -> None:
    response = client.request(method, "/v1/traces")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert _status(response)[0] == 12


def test_body_over_the_limit_is_413(client: TestClient) -> None:
    body = b"x" * (SMALL_LIMITS.max_sent_bytes + 1)
    response = client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert response.status_code == 413
    assert "send smaller batches" in _status(response)[1]


def test_chunked_body_over_the_limit_is_413(client: TestClient) -> None:
    chunks = (b"x" * 1000 for _ in range(100))
    response = client.post("/v1/traces", content=chunks, headers=PROTOBUF)
    assert response.status_code == 413


@pytest.mark.parametrize("length", ["-1", "nonsense", "9" * 5000, "\xb2"])
def test_strange_content_length_is_never_an_internal_error(client: TestClient, length: str) -> None:
    headers = {**PROTOBUF, "content-length": length.encode("latin-1")}
    response = client.post("/v1/traces", content=b"", headers=headers)
    assert response.status_code < 500


def test_gzip_bomb_is_413_and_never_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(ReceiveError, match="larger than 100000 bytes decompressed"):
        decompress(bomb, "gzip", 100_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_gzip_bomb_over_http_is_413(client: TestClient) -> None:
    bomb = gzip.compress(bytes(1_000_000))
    headers = {**PROTOBUF, "content-encoding": "gzip"}
    assert client.post("/v1/traces", content=bomb, headers=headers).status_code == 413


def test_gzip_bomb_of_several_members_is_413(client: TestClient) -> None:
    bomb = gzip.compress(bytes(60_000)) * 2
    headers = {**PROTOBUF, "content-encoding": "gzip"}
    assert client.post("/v1/traces", content=bomb, headers=headers).status_code == 413


def test_refused_bodies_are_not_counted_as_held(client: TestClient) -> None:
    for _ in range(10):
        body = b"x" * (SMALL_LIMITS.max_sent_bytes - 1)
        assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 400
        assert (
            client.post("/v1/traces", content=iter([body, body]), headers=PROTOBUF).status_code
            == 413
        )


async def test_busy_store_is_429_with_retry_after_and_takes_more_later(tmp_path: Path) -> None:
    path = tmp_path / "view.sqlite"
    store = SqliteStore(path, max_pending_spans=2)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    transport = httpx.ASGITransport(app=build_app(store))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:

        def post() -> asyncio.Task[httpx.Response]:
            body = make_request([make_span(TRACE_ID), make_span(TRACE_ID)]).SerializeToString()
            return asyncio.create_task(client.post("/v1/traces", content=body, headers=PROTOBUF))

        tasks = [post(), post()]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=4)
        (refused,) = done
        assert refused.result().status_code == 429
        assert refused.result().headers["retry-after"] == "1"
        assert _status(refused.result())[0] == 8
        blocker.execute("ROLLBACK")
        blocker.close()
        (taken,) = waiting
        assert (await taken).status_code == 200
        assert (await post()).status_code == 200
    assert len(store.trace(TRACE_ID.hex())) == 4
    store.close()


def test_store_that_is_down_is_503_with_retry_after(client: TestClient, store: SqliteStore) -> None:
    store.close()
    body = make_request([make_span(TRACE_ID)]).SerializeToString()
    response = client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert _status(response)[0] == 14


def test_every_body_is_kept_decompressed_when_asked_for(store: SqliteStore, tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    directory.mkdir()
    plain = make_full_request(TRACE_ID).SerializeToString()
    document = to_json_bytes(make_full_request(TRACE_ID))
    malformed = b"no protobuf at all"
    with TestClient(build_app(store, keep_requests=directory), base_url=URL) as client:
        headers = {**PROTOBUF, "content-encoding": "gzip"}
        client.post("/v1/traces", content=gzip.compress(plain), headers=headers)
        client.post("/v1/traces", content=document, headers=JSON)
        client.post("/v1/traces", content=malformed, headers=PROTOBUF)
    kept = sorted(directory.iterdir())
    assert [file.read_bytes() for file in kept] == [plain, document, malformed]
    assert [file.suffix for file in kept] == [".pb", ".json", ".pb"]


def test_request_that_cannot_be_kept_is_503(store: SqliteStore, tmp_path: Path) -> None:
    app = build_app(store, keep_requests=tmp_path / "missing")
    body = make_request([make_span(TRACE_ID)]).SerializeToString()
    with TestClient(app, base_url=URL) as client:
        assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 503
    assert store.recent(1) == []


def test_other_signals_are_told_how_to_be_quiet(client: TestClient) -> None:
    response = client.post("/v1/metrics", content=b"", headers=PROTOBUF)
    assert response.status_code == 404
    assert "OTEL_METRICS_EXPORTER=none" in _status(response)[1]


_damage = st.lists(
    st.tuples(st.integers(0, 2000), st.binary(max_size=4), st.integers(0, 4)), max_size=3
)


@given(damage=_damage, is_json=st.booleans(), is_gzip=st.booleans())
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_damaged_request_is_stored_as_answered_or_not_at_all(
    client: TestClient, store: SqliteStore, damage: Any, is_json: bool, is_gzip: bool
) -> None:
    before = {summary.trace_id for summary in store.recent(10_000)}
    request = make_full_request(make_trace_id())
    body = to_json_bytes(request) if is_json else request.SerializeToString()
    headers = dict(JSON if is_json else PROTOBUF)
    if is_gzip:
        body = gzip.compress(body, mtime=0)
        headers["content-encoding"] = "gzip"
    for position, insertion, removed in damage:
        position %= len(body) + 1  # noqa: PLW2901 - anywhere in what is left
        body = body[:position] + insertion + body[position + removed :]
    response = client.post("/v1/traces", content=body, headers=headers)
    added = [s for s in store.recent(10_000) if s.trace_id not in before]
    assert response.status_code in {200, 400, 413}
    if response.status_code != 200:
        assert added == []
    elif not damage:
        assert [summary.span_count for summary in added] == [2]


@given(body=st.binary(max_size=300), is_json=st.booleans())
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_random_bytes_are_never_an_internal_error_nor_stored(
    client: TestClient, store: SqliteStore, body: bytes, is_json: bool
) -> None:
    headers = JSON if is_json else PROTOBUF
    response = client.post("/v1/traces", content=body, headers=headers)
    assert response.status_code in {200, 400}
    assert store.recent(1) == []


def test_huge_attribute_and_many_spans_pass_the_default_limits(store: SqliteStore) -> None:
    spans = [make_span(TRACE_ID, name="x" * 200) for _ in range(3000)]
    request = make_request(spans)
    document = json.dumps(to_json(request)).encode()
    with TestClient(build_app(store), base_url=URL) as client:
        assert client.post("/v1/traces", content=document, headers=JSON).status_code == 200
    assert store.recent(1)[0].span_count == 3000
