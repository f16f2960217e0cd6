"""GET /api/turns/{trace_id} and the page over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from turn_stories import CONNECT_TRACE_ID, HOSTILE, TRACE_ID, Story, connection, eight_seconds

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from turntrace.store.sqlite import SqliteStore

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
    assert (event["name"], event["at"], event["withheld"]) == ("exception", ["2.37", "s"], 2)
    assert span["withheld"] == {"attributes": 3, "events": 0, "links": 0}
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
