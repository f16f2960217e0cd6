"""GET /api/turns/{trace_id} and the page over it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from otlp_requests import URL
from starlette.testclient import TestClient
from turn_stories import CONNECT_TRACE_ID, HOSTILE, TRACE_ID, Story, connection, eight_seconds

from turntrace.store.sqlite import SqliteStore
from turntrace.view.app import build_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turntrace.store.contract import StoredSpan

TURN = f"/api/turns/{TRACE_ID}"


@pytest.fixture
def _stored(store: SqliteStore) -> None:
    store.write(eight_seconds().spans).result(10)


@pytest.mark.usefixtures("_stored")
def test_turn_is_served_as_the_page_draws_it(client: TestClient) -> None:
    answer = client.get(TURN)
    assert answer.status_code == 200
    assert answer.json()["counts"]["spans"] == 21
    assert client.get(f"/api/turns/{TRACE_ID.upper()}").json() == answer.json()


@pytest.mark.usefixtures("_stored")
def test_unchanged_turn_is_not_sent_again(client: TestClient, store: SqliteStore) -> None:
    tag = client.get(TURN).headers["etag"]
    assert client.get(TURN, headers={"If-None-Match": tag}).status_code == 304
    late = eight_seconds()
    late.add("late", late.spans[0].span_id, 0, 1)
    store.write(late.spans[-1:]).result(10)
    changed = client.get(TURN, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


class _Counting(SqliteStore):
    """A store that counts the spans it was made to read."""

    read = 0

    def trace(self, trace_id: str, limit: int | None = None) -> list[StoredSpan]:
        spans = super().trace(trace_id, limit)
        self.read += len(spans)
        return spans


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[_Counting]:
    store = _Counting(tmp_path / "counting.sqlite")
    yield store
    store.close()


def test_spans_are_not_read_for_a_turn_that_is_as_it_was(counting: _Counting) -> None:
    counting.write(eight_seconds().spans).result(10)
    with TestClient(build_app(counting), base_url=URL) as client:
        tag = client.get(TURN).headers["etag"]
        assert counting.read == 21
        assert client.get(TURN, headers={"If-None-Match": tag}).status_code == 304
        assert counting.read == 21
        counting.write([connection()]).result(10)
        changed = client.get(TURN, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["links"][0]["is_stored"] is True


def test_span_that_was_sent_again_makes_its_turn_another_one(
    client: TestClient, store: SqliteStore
) -> None:
    story = Story()
    story.add("first", "", 0, 1)
    store.write(story.spans).result(10)
    tag = client.get(TURN).headers["etag"]
    store.write([replace(story.spans[0], attributes={"a": 1})]).result(10)
    assert client.get(TURN, headers={"If-None-Match": tag}).status_code == 200


def test_of_a_very_large_trace_only_what_is_drawn_is_read(
    counting: _Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turntrace.view.turn_api.MAX_ROWS", 5)
    counting.write([connection(), *eight_seconds().spans]).result(10)
    with TestClient(build_app(counting), base_url=URL) as client:
        document = client.get(TURN).json()
        assert (len(document["rows"]), counting.read) == (5, 5)
        assert (document["counts"]["spans"], document["counts"]["left_out"]) == (21, 16)
        assert document["links"][0]["name"] == "socket.io connect /"
        assert client.get(TURN, params={"span": f"{15:016x}"}).status_code == 200
        assert counting.read == 5


@pytest.mark.usefixtures("_stored")
def test_details_of_a_span_have_all_that_is_known_of_it(client: TestClient) -> None:
    span = client.get(TURN, params={"span": f"{15:016x}"}).json()
    assert span["name"] == "execute_tool save_checklist_state"
    assert span["exception_type"] == "sqlalchemy.exc.OperationalError"
    assert span["layers"] == [
        {
            "layer": "universal",
            "attributes": [["error.type", "sqlalchemy.exc.OperationalError"]],
        },
        {
            "layer": "ai",
            "attributes": [
                ["gen_ai.operation.name", "execute_tool"],
                ["gen_ai.tool.name", "save_checklist_state"],
            ],
        },
    ]
    (event,) = span["events"]
    assert (event["name"], event["at"]) == ("exception", ["2.37", "s"])
    assert event["withheld"] == {"attributes": 2, "keys": [], "more": 0}
    assert span["withheld"] == {
        "attributes": 3,
        "keys": [],
        "more": 0,
        "events": 0,
        "links": 0,
    }
    assert span["resource"] == [["service.name", "renovation-backend"]]


def test_long_value_is_cut_and_says_how_long_it_was(client: TestClient, store: SqliteStore) -> None:
    story = Story()
    story.add("a", "", 0, 1, {"app.note": "x" * 5000, "app.list": [1, "two", None]})
    store.write(story.spans).result(10)
    (layer,) = client.get(TURN, params={"span": f"{1:016x}"}).json()["layers"]
    assert layer["layer"] == "other"
    assert dict(layer["attributes"])["app.list"] == '[1,"two",null]'
    assert dict(layer["attributes"])["app.note"].endswith("x… (5,000 characters)")


@pytest.mark.usefixtures("_stored")
@pytest.mark.parametrize(
    ("path", "params"),
    [("/api/turns/" + "ab" * 16, {}), ("/api/turns/no-id", {}), (TURN, {"span": "ff" * 8})],
)
def test_what_is_not_stored_is_a_404_that_says_so(
    client: TestClient, path: str, params: dict[str, str]
) -> None:
    answer = client.get(path, params=params)
    assert answer.status_code == 404
    assert "is stored" in answer.json()["detail"]


@pytest.mark.usefixtures("_stored")
def test_link_says_whether_its_target_is_stored(client: TestClient, store: SqliteStore) -> None:
    (link,) = client.get(TURN).json()["links"]
    assert (link["trace_id"], link["is_stored"]) == (CONNECT_TRACE_ID, False)
    store.write([connection()]).result(10)
    (link,) = client.get(TURN).json()["links"]
    assert (link["name"], link["is_stored"]) == ("socket.io connect /", True)


@pytest.mark.usefixtures("_stored")
def test_page_without_javascript_leads_to_a_plain_list(client: TestClient) -> None:
    page = client.get(f"/turns/{TRACE_ID}").text
    assert f'<noscript><meta http-equiv="refresh" content="0; url=/turns/{TRACE_ID}?plain">' in page
    plain = client.get(f"/turns/{TRACE_ID}?plain").text
    assert "waiting for the model 2.87 s" in plain
    assert plain.count("<tr><td>") == 21
    assert "error OperationalError" in plain


def test_plain_list_escapes_what_others_wrote(client: TestClient, store: SqliteStore) -> None:
    story = Story()
    story.add(HOSTILE, "", 0, 1, {"turntrace.turn.outcome": HOSTILE})
    store.write(story.spans).result(10)
    plain = client.get(f"/turns/{TRACE_ID}?plain").text
    assert "<img" not in plain
    assert "&lt;img" in plain
