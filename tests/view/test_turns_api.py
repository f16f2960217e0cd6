"""GET /api/turns: the list behind the page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from live_turns import make_turn
from otlp_requests import PROTOBUF, START_NS, make_request, make_span, make_trace_id

from turntrace.view.turns_api import MAX_CHARACTERS, MAX_REPEATED

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def _post(client: TestClient, *spans: Any) -> None:
    body = make_request(spans).SerializeToString()
    assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200


def _ask(client: TestClient, query: str = "") -> dict[str, Any]:
    response = client.get(f"/api/turns?{query}")
    assert response.status_code == 200, response.text
    return response.json()


def test_turn_is_listed_in_milliseconds(client: TestClient) -> None:
    turn = make_turn(
        start_ns=START_NS, duration_ms=8212.5, attributes={"turntrace.turn.cost_usd": 0.002}
    )
    _post(client, turn)
    document = _ask(client)
    (row,) = document["turns"]
    assert row["trace_id"] == turn.trace_id.hex()
    assert (row["start_ms"], row["duration_ms"]) == (START_NS / 1e6, 8212.5)
    assert (row["outcome"], row["event"], row["cost_usd"]) == ("ok", "chat:user_message", 0.002)
    assert document["cursor"] == ""


def test_answer_is_not_kept_by_the_browser(client: TestClient) -> None:
    assert client.get("/api/turns").headers["cache-control"] == "no-store"


def test_overview_is_beside_the_first_page_only(client: TestClient) -> None:
    _post(client, make_turn(), make_turn("error"))
    document = _ask(client, "limit=1")
    overview = document["overview"]
    assert (overview["turns"], overview["sessions"]) == (2, 1)
    assert overview["outcomes"] == {"ok": 1, "error": 1}
    assert overview["choices"]["session"] == [{"value": "5f1c9e2a", "count": 2}]
    assert len(overview["points"]) == 2
    assert _ask(client, "overview=0")["overview"] is None
    assert _ask(client, f"limit=1&cursor={document['cursor']}")["overview"] is None


def test_cursor_leads_to_the_rows_that_follow(client: TestClient) -> None:
    turns = [make_turn(start_ns=START_NS + place) for place in range(3)]
    _post(client, *turns)
    first = _ask(client, "limit=2")
    second = _ask(client, f"limit=2&cursor={first['cursor']}")
    found = [row["trace_id"] for row in first["turns"] + second["turns"]]
    assert found == [turn.trace_id.hex() for turn in reversed(turns)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "cba"),
        ("sort=slowest", "acb"),
        ("sort=dearest", "bca"),
        ("outcome=error&outcome=crashed", "cb"),
        ("min_ms=20", "ca"),
        (f"from_ms={START_NS / 1e6 + 1}", "cb"),
        (f"to_ms={START_NS / 1e6 + 1}", "a"),
        ("attribute=who%3Db", "b"),
        ("attribute=who%20%3D%20b", "b"),
        ("text=TURN-c", "c"),
        ("session=5f1c9e2a", "cba"),
        ("session=other", ""),
        ("event=chat:user_message", "cba"),
        ("model=m&phase=p", ""),
        ("limit=1", "c"),
        ("all=1", "cbax"),
    ],
)
def test_parameters_choose_and_order(client: TestClient, query: str, names: str) -> None:
    facts = {"a": ("ok", 30, 0.1), "b": ("error", 10, 0.3), "c": ("crashed", 20, 0.2)}
    names_of = {}
    for place, (name, (outcome, duration_ms, cost)) in enumerate(facts.items()):
        turn = make_turn(
            outcome,
            duration_ms=duration_ms,
            start_ns=START_NS + place * 1_000_000,
            name=f"turn-{name}",
            attributes={"who": name, "turntrace.turn.cost_usd": cost},
        )
        names_of[turn.trace_id.hex()] = name
        _post(client, turn)
    plain = make_trace_id()
    names_of[plain.hex()] = "x"
    _post(client, make_span(plain, start_time_unix_nano=1, end_time_unix_nano=2))
    found = [names_of[row["trace_id"]] for row in _ask(client, query)["turns"]]
    assert "".join(found) == names


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("sort=oldest", "sort is 'oldest'; it must be one of newest, slowest, dearest"),
        ("limit=0", "limit is '0'; it must be from 1 to 500"),
        ("limit=501", "limit is '501'"),
        ("limit=%D9%A3", "it must be from 1 to 500"),
        ("min_ms=fast", "min_ms is 'fast'; it must be a number of milliseconds from 0 up"),
        ("min_ms=-1", "min_ms is '-1'"),
        ("from_ms=nan", "from_ms is 'nan'"),
        ("to_ms=1e300", "to_ms is '1e300'"),
        ("attribute=nothing", "attribute is 'nothing'; it must be key=value"),
        ("attribute==x", "it must be key=value"),
        ("all=yes", "all is 'yes'; it must be 0 or 1"),
        ("overview=2", "overview is '2'"),
        ("cursor=x", "leave cursor out"),
        ("session=a&session=b", "session stands twice"),
        ("sql=SELECT", "'sql' is no parameter; there are all, attribute, cursor"),
        (f"text={'x' * (MAX_CHARACTERS + 1)}", f"text has {MAX_CHARACTERS + 1} characters"),
        ("outcome=ok&" * (MAX_REPEATED + 1), f"there may be {MAX_REPEATED}"),
    ],
)
def test_bad_parameter_is_refused_with_the_reason(
    client: TestClient, query: str, reason: str
) -> None:
    response = client.get(f"/api/turns?{query.rstrip('&')}")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert reason in response.json()["detail"]


def test_latest_moment_a_store_can_hold_may_be_asked_for(client: TestClient) -> None:
    assert _ask(client, "to_ms=9223372036854.775")["turns"] == []


def test_first_page_does_not_wait_for_a_full_count(client: TestClient) -> None:
    _post(client, *(make_turn() for _ in range(100)))
    started = time.perf_counter()
    assert len(_ask(client, "overview=0")["turns"]) == 100
    assert time.perf_counter() - started < 2
