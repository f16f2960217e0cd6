"""GET /api/...: what scripts, the page and `turntrace view --trace` read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from otlp_requests import (
    PROTOBUF,
    START_NS,
    URL,
    attribute,
    make_full_request,
    make_request,
    make_span,
    make_trace_id,
)
from starlette.testclient import TestClient

from turntrace.view.app import build_app

if TYPE_CHECKING:
    from turntrace.store.sqlite import SqliteStore

TRACE_ID = b"a 16 byte id ok!"
A, B, C, D = (f"span{letter:>4}".encode() for letter in "abcd")


def _post(client: TestClient, *requests: Any) -> None:
    for request in requests:
        body = request.SerializeToString()
        assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200


def _span(span_id: bytes, parent: bytes = b"", start: int = 0, **fields: Any) -> Any:
    return make_span(
        TRACE_ID,
        span_id=span_id,
        parent_span_id=parent,
        name=span_id.decode()[-1],
        start_time_unix_nano=START_NS + start,
        end_time_unix_nano=START_NS + start + 10,
        **fields,
    )


def _names(trace: dict[str, Any], ids: list[str]) -> str:
    names = {span["span_id"]: span["name"] for span in trace["spans"]}
    return "".join(names[span_id] for span_id in ids)


def _trace(client: TestClient) -> dict[str, Any]:
    response = client.get(f"/api/traces/{TRACE_ID.hex()}")
    assert response.status_code == 200
    return dict(response.json())


def test_trace_has_its_totals_and_every_field_of_a_span(client: TestClient) -> None:
    _post(client, make_full_request(TRACE_ID))
    trace = _trace(client)
    spans = trace.pop("spans")
    assert trace == {
        "trace_id": TRACE_ID.hex(),
        "root_name": "work",
        "service": "renovation",
        "services": ["renovation"],
        "start_ns": START_NS,
        "duration_ns": 1_000_000,
        "span_count": 2,
        "error_count": 1,
        "roots": [span["span_id"] for span in spans],
        "resources": [{"service": "renovation", "attributes": {"service.name": "renovation"}}],
    }
    span = next(span for span in spans if span["kind"] == "client")
    assert span.pop("attributes")["map"] == {"inner": 0.5, "no": False}
    assert span.pop("span_id")
    assert span == {
        "parent_span_id": b"parent!!".hex(),
        "name": "chat gemini-2.5-flash",
        "kind": "client",
        "service": "renovation",
        "start_ns": START_NS,
        "end_ns": START_NS + 1_000_000,
        "offset_ns": 0,
        "duration_ns": 1_000_000,
        "status": {"code": "error", "message": "it broke"},
        "events": [
            {
                "name": "exception",
                "time_ns": START_NS + 7,
                "offset_ns": 7,
                "attributes": {"exception.type": "ValueError"},
                "dropped_attributes": 1,
            }
        ],
        "links": [
            {
                "trace_id": b"another trace id".hex(),
                "span_id": b"its span".hex(),
                "trace_state": "a=b",
                "attributes": {"why": "connect"},
                "dropped_attributes": 2,
            }
        ],
        "scope": {"name": "turntrace", "version": "0.1"},
        "trace_state": "ot=th:c",
        "flags": 0x301,
        "dropped": {"attributes": 3, "events": 4, "links": 5},
        "resource": 0,
        "is_orphan": True,
        "children": [],
    }


def test_spans_and_children_stand_in_the_order_of_their_start(client: TestClient) -> None:
    _post(client, make_request([_span(D, A, 3), _span(C, A, 2), _span(B, A, 5), _span(A)]))
    trace = _trace(client)
    assert [span["name"] for span in trace["spans"]] == ["a", "c", "d", "b"]
    assert _names(trace, trace["roots"]) == "a"
    assert _names(trace, trace["spans"][0]["children"]) == "cdb"
    assert not any(span["is_orphan"] for span in trace["spans"])


def test_span_whose_parent_is_missing_is_a_root_and_an_orphan(client: TestClient) -> None:
    _post(client, make_request([_span(A), _span(B, A, 1), _span(D, C, 2)]))
    trace = _trace(client)
    assert _names(trace, trace["roots"]) == "ad"
    assert [span["is_orphan"] for span in trace["spans"]] == [False, False, True]


def test_circle_of_parents_is_cut_above_its_earliest_span(client: TestClient) -> None:
    _post(client, make_request([_span(A, A, 1), _span(B, D, 2), _span(C, B, 3), _span(D, C, 4)]))
    trace = _trace(client)
    assert _names(trace, trace["roots"]) == "ab"
    children = {span["name"]: _names(trace, span["children"]) for span in trace["spans"]}
    assert children == {"a": "", "b": "c", "c": "d", "d": ""}
    assert [span["is_orphan"] for span in trace["spans"]] == [True, True, False, False]


def test_trace_over_two_services_names_both(client: TestClient) -> None:
    _post(
        client,
        make_request([_span(A)], service="web"),
        make_request([_span(B, A, 1)], service="worker"),
    )
    trace = _trace(client)
    assert (trace["service"], trace["services"]) == ("web", ["web", "worker"])
    assert [trace["resources"][span["resource"]]["service"] for span in trace["spans"]] == [
        "web",
        "worker",
    ]


def test_markup_and_odd_characters_come_back_unharmed(client: TestClient) -> None:
    name = "</script>\x1b[31m\x00\u2028\N{SNOWMAN}"
    _post(client, make_request([make_span(TRACE_ID, attributes=[attribute(name, name)])]))
    assert _trace(client)["spans"][0]["attributes"] == {name: name}


@pytest.mark.parametrize("trace_id", ["0" * 31 + "1", "latest", "x" * 500, "%00"])
def test_unknown_trace_is_a_404_problem(client: TestClient, trace_id: str) -> None:
    response = client.get(f"/api/traces/{trace_id}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 404


def test_recent_traces_come_newest_first_and_limited(client: TestClient) -> None:
    trace_ids = [make_trace_id() for _ in range(3)]
    for position, trace_id in enumerate(trace_ids):
        span = make_span(trace_id, start_time_unix_nano=START_NS + position)
        _post(client, make_request([span]))
    (first, second) = client.get("/api/traces?limit=2").json()["traces"]
    assert first == {
        "trace_id": trace_ids[2].hex(),
        "root_name": "work",
        "service": "demo",
        "start_ns": START_NS + 2,
        "duration_ns": 999_998,
        "span_count": 1,
        "error_count": 0,
    }
    assert second["trace_id"] == trace_ids[1].hex()
    assert len(client.get("/api/traces").json()["traces"]) == 3


@pytest.mark.parametrize(
    "limit", ["0", "501", "-1", "x", "", "9" * 5000, "\u0661", "000000001999", "0" * 9 + "9" * 18]
)
def test_unusable_limit_is_a_400_problem(client: TestClient, limit: str) -> None:
    response = client.get("/api/traces", params={"limit": limit})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert "from 1 to 500" in response.json()["detail"]


def test_health_is_ok_until_the_store_is_down(client: TestClient, store: SqliteStore) -> None:
    assert client.get("/api/health").json() == {"status": "ok"}
    store.close()
    response = client.get("/api/health")
    assert response.status_code == 503
    assert "closed" in response.json()["detail"]


def test_internal_error_tells_the_client_that_its_connection_ends(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(limit: int) -> None:
        raise RuntimeError(f"{limit} breaks it")

    monkeypatch.setattr(store, "recent", fail)
    with TestClient(build_app(store), base_url=URL, raise_server_exceptions=False) as client:
        response = client.get("/api/traces")
    assert response.json()["detail"] == "internal error: RuntimeError"
    assert (response.status_code, response.headers["connection"]) == (500, "close")


def test_other_paths_and_methods_are_problems(client: TestClient) -> None:
    assert client.get("/nope").json()["status"] == 404
    assert client.post("/api/traces").json()["status"] == 405
    assert client.get("/api/traces/").status_code == 404
