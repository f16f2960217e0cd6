"""One probe a row that the reference backend has: real traffic with a bait where content goes."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import socketio
from leak_gemini import FAIL, LONG_ARGUMENTS
from leak_rows import Bait, backend_probe

if TYPE_CHECKING:
    from pathlib import Path

    from leak_backend_rig import User
    from leak_gemini import TellingGemini

BOOM = "qxboom"
"""A message with this in it makes the database fail, with the message in its error."""
_PARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
OK, CREATED, NOT_FOUND, INVALID = 200, 201, 404, 422


def words_and_variables(baits: dict[str, Bait]) -> tuple[list[str], dict[str, str]]:
    """Return baits for the command line and the environment of the backend."""
    process = baits["resource and process arguments"]
    return (
        ["-X", process.word, "-X", process.phrase],
        {"GOOGLE_API_KEY": baits["outbound: Authorization and cookies"].word},
    )


def gemini_path(baits: dict[str, Bait]) -> str:
    """Return a path for the base URL of the model, which the backend then asks for."""
    return f"/{baits['outbound: query string and path'].word}"


def prepare(gemini: TellingGemini, database: Path, baits: dict[str, Bait]) -> None:
    """Let the model, the catalog and the database say baits."""
    completion, arguments = baits["ai: completion, also streamed"], baits["ai: tool arguments"]
    gemini.answer = f"{completion.phrase} {completion.word}"
    gemini.arguments = f"shelfish {arguments.phrase} {arguments.word}"
    error = baits["ai: provider's error body"]
    gemini.error = f"{error.phrase} {error.word}"
    result, failure = baits["ai: tool result"], baits["sql: constraint errors"]
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO products_catalog (id, name, category, style_id, material, price_usd)"
            " SELECT 'bait', ?, 'shelfish', id, ?, 1 FROM style_catalog LIMIT 1",
            (result.phrase, result.word),
        )
        connection.execute(
            "CREATE TRIGGER boom BEFORE INSERT ON chat_messages"
            f" WHEN instr(NEW.content, '{BOOM}') BEGIN"
            f" SELECT RAISE(ABORT, 'UNIQUE constraint failed: {failure.phrase} {failure.word}');"
            " END"
        )
    connection.close()


def both(bait: Bait) -> str:
    return f"{bait.phrase} {bait.word}"


@backend_probe("exception: message")
async def _failing_turn(user: User, bait: Bait) -> None:
    assert await user.say(f"{FAIL} {both(bait)}") == "agent_failed"


@backend_probe("ai: provider's error body")
async def _provider(user: User, _bait: Bait) -> None:
    assert await user.say(FAIL) == "agent_failed"


@backend_probe("exception: pydantic input_value")
async def _invalid(user: User, bait: Bait) -> None:
    assert await user.say("hello", sessionId=both(bait)) == "invalid_payload"
    assert await user.say("hello", attachments=[both(bait)]) == "invalid_payload"
    wrong = {"title": [both(bait)], both(bait): 1}
    assert (await user.http.post("/api/sessions", json=wrong)).status_code == INVALID


@backend_probe("exception: json and int() errors")
async def _unreadable(user: User, bait: Bait) -> None:
    headers = {"content-type": "application/json"}
    answer = await user.http.post("/api/sessions", content=f"{{{both(bait)}", headers=headers)
    assert answer.status_code == INVALID
    answer = await user.http.get("/api/products", params={"limit": both(bait)})
    assert answer.status_code == INVALID


@backend_probe("exception: SQLAlchemy [parameters: ...]")
async def _parameters_of_a_failure(user: User, bait: Bait) -> None:
    assert await user.say(f"{BOOM} {both(bait)}") == "agent_failed"


@backend_probe("sql: constraint errors")
async def _constraint(user: User, _bait: Bait) -> None:
    assert await user.say(BOOM) == "agent_failed"


@backend_probe("exception: raised in a tool, a node, a model call")
async def _tool_failure(user: User, bait: Bait) -> None:
    assert await user.say(f"{LONG_ARGUMENTS} {both(bait)}") == "done"


@backend_probe("inbound: query string")
async def _query(user: User, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        query = urlencode({"category": value[:40], "q": value, value: value})
        assert (await user.http.get(f"/api/products?{query}")).status_code == OK


@backend_probe("inbound: path parameter")
async def _path(user: User, bait: Bait) -> None:
    for value in (bait.word, quote(bait.phrase)):
        for path in (f"/api/sessions/{value}", f"/api/sessions/{value}/messages"):
            assert (await user.http.get(path)).status_code == INVALID


@backend_probe("inbound: 404 path")
async def _unknown(user: User, bait: Bait) -> None:
    for value in (bait.word, quote(bait.phrase)):
        for path in (f"/{value}", f"/api/{value}/x", f"/static/{value}"):
            assert (await user.http.get(path)).status_code == NOT_FOUND


@backend_probe("inbound: Host")
async def _host(user: User, bait: Bait) -> None:
    for value in (bait.word, quote(bait.phrase)):
        answer = await user.http.get("/api/styles", headers={"host": f"{value}.example"})
        assert answer.status_code == OK


@backend_probe("inbound: user-agent and other headers")
async def _headers(user: User, bait: Bait) -> None:
    names = ("user-agent", "referer", "cookie", "authorization", "x-forwarded-for", "x-note")
    headers = {**dict.fromkeys(names, both(bait)), "x-request-id": bait.phrase, bait.word: "1"}
    assert (await user.http.post("/api/sessions", headers=headers)).status_code == CREATED


@backend_probe("inbound: tracestate")
async def _tracestate(user: User, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        headers = {"traceparent": _PARENT, "tracestate": f"vendor={value},ot=th:8;x:{bait.word}"}
        assert (await user.http.get("/api/styles", headers=headers)).status_code == OK


@backend_probe("inbound: baggage")
async def _baggage(user: User, bait: Bait) -> None:
    headers = {"traceparent": _PARENT, "baggage": f"note={quote(both(bait))},{bait.word}=1"}
    assert (await user.http.post("/api/sessions", headers=headers)).status_code == CREATED


@backend_probe("outbound: baggage and tracestate to a stranger")
async def _sent_on(user: User, bait: Bait) -> None:
    """Send a message whose packet carries context; the model is then asked in that context."""
    carried = urlencode(
        {
            "traceparent": _PARENT,
            "tracestate": f"vendor={bait.word}",
            "baggage": f"note={quote(both(bait))}",
        }
    )
    event = json.dumps(["chat:user_message", {"sessionId": user.session, "content": "hello"}])
    assert await user.emitted(user.sio.eio.send(f"2/?{carried},{event}")) == "done"


@backend_probe("outbound: query string and path")
async def _asked(user: User, _bait: Bait) -> None:
    assert await user.say("hello, see gemini_path()") == "done"


@backend_probe("outbound: Authorization and cookies")
async def _authorized(user: User, _bait: Bait) -> None:
    assert await user.say("hello, see words_and_variables()") == "done"


@backend_probe("sql: parameters")
async def _parameters(user: User, bait: Bait) -> None:
    created = await user.http.post("/api/sessions", json={"title": both(bait)})
    assert created.status_code == CREATED
    listed = await user.http.get("/api/sessions", params={"userId": both(bait)})
    assert listed.status_code == OK


@backend_probe("ai: prompt, system prompt, history")
async def _prompt(user: User, bait: Bait) -> None:
    assert await user.say(both(bait)) == "done"
    assert await user.say("And then?") == "done"


@backend_probe("ai: completion, also streamed")
async def _completion(user: User, bait: Bait) -> None:
    start = len(user.heard)
    assert await user.say("Please answer.") == "done"
    told = [payload for event, payload in user.heard[start:] if event == "chat:assistant_token"]
    assert bait.phrase in "".join(payload["token"] for payload in told)


@backend_probe("ai: tool arguments")
async def _tool_arguments(user: User, bait: Bait) -> None:
    start = len(user.heard)
    assert await user.say("Please look.") == "done"
    told = [payload for event, payload in user.heard[start:] if event == "chat:tool_call"]
    assert bait.phrase in told[0]["input"]["query"]


@backend_probe("ai: tool result")
async def _tool_result(user: User, bait: Bait) -> None:
    start = len(user.heard)
    assert await user.say("Please find.") == "done"
    told = [payload for event, payload in user.heard[start:] if event == "chat:tool_result"]
    assert bait.phrase in [row["name"] for row in told[0]["result"]]


@backend_probe("resource and process arguments")
async def _process(user: User, _bait: Bait) -> None:
    assert (await user.http.get("/health")).status_code == OK


@backend_probe("socket: event name, room name, namespace")
async def _names(user: User, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        await user.sio.emit(value, {"room": value})
        refused = await user.sio.call("chat:join_session", {"sessionId": value})
        assert refused["ok"] is False
    stranger = socketio.AsyncClient(reconnection=False)
    try:
        await stranger.connect(user.url, namespaces=[f"/{bait.word}"], transports=["websocket"])
    except socketio.exceptions.ConnectionError:
        await stranger.disconnect()
    else:
        raise AssertionError("the namespace exists")


@backend_probe("socket: auth payload, event payload, ack payload, binary payload")
async def _payloads(user: User, bait: Bait) -> None:
    other = socketio.AsyncClient(reconnection=False)
    auth = {"token": both(bait)}
    await other.connect(f"{user.url}?note={bait.word}", auth=auth, transports=["websocket"])
    message = {"sessionId": user.session, "content": both(bait).encode(), "note": both(bait)}
    await other.emit("chat:user_message", message)
    acknowledged = await other.call("chat:join_session", {"sessionId": user.session, **auth})
    assert acknowledged == {"ok": True}
    await other.emit("chat:join_session", (both(bait), {"sessionId": both(bait)}))
    await other.disconnect()


@backend_probe("socket: disconnect reason, refusal message")
async def _reasons(user: User, bait: Bait) -> None:
    other = socketio.AsyncClient(reconnection=False)
    await other.connect(user.url, transports=["websocket"])
    refused = await other.call("chat:join_session", {"sessionId": both(bait)})
    assert refused["ok"] is False
    await other.eio.send(f'41,["{both(bait)}"]')  # a disconnect with a reason of the client's own
    await other.disconnect()


@backend_probe("our own log lines and warnings")
async def _talk(user: User, bait: Bait) -> None:
    await user.sio.eio.send(f"2/?traceparent={bait.word},[{both(bait)}")
    again = socketio.AsyncClient(reconnection=False)  # the server may have hung up
    await again.connect(user.url, headers={"traceparent": both(bait)}, transports=["websocket"])
    await again.disconnect()


@backend_probe("spool files, store files, exported files")
async def _files(user: User, bait: Bait) -> None:
    assert await user.say(f"Write this down: {both(bait)}") == "done"


@backend_probe("the page, its API and its live stream")
async def _page(user: User, bait: Bait) -> None:
    assert await user.say(f"<b>{both(bait)}</b>") == "done"


@backend_probe("log records exported by anyone on our provider")
async def _logged(user: User, bait: Bait) -> None:
    assert await user.say(f"Log this: {both(bait)}") == "done"


@backend_probe("metric attributes")
async def _counted(user: User, bait: Bait) -> None:
    assert await user.say(f"Count this: {both(bait)}") == "done"
