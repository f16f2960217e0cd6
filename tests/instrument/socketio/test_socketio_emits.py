"""Claims about emits: tokens are counted on the turn, everything else is a PRODUCER span."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import socketio
from opentelemetry.trace import SpanKind, StatusCode
from socketio_live import live, server, until

if TYPE_CHECKING:
    from conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded", "instrumented")


async def test_token_emits_are_counted_on_the_turn_the_first_is_timed_none_is_a_span(
    recorded: Recorded,
) -> None:
    sio = server()

    @sio.on("chat")
    async def chat(sid: str) -> None:
        for _ in range(5):
            await sio.emit("chat:token", "x", to=sid)

    async with live(sio) as running:
        await (await running.client()).call("chat")
    turn = recorded.one("socket.io chat")
    assert recorded.children(turn) == []
    assert turn.attributes["turntrace.turn.tokens_emitted"] == 5
    duration_ms = (turn.end_ns - turn.start_ns) / 1e6
    assert 0 < turn.attributes["turntrace.turn.first_token_ms"] < duration_ms + 1


async def test_tokens_of_turns_at_once_are_counted_apart(recorded: Recorded) -> None:
    sio = server()

    @sio.on("chat")
    async def chat(sid: str, count: int) -> None:
        for _ in range(count):
            await sio.emit("token", "x", to=sid)
            await asyncio.sleep(0)

    async with live(sio) as running:
        client = await running.client()
        await asyncio.gather(*(client.call("chat", count) for count in (1, 2, 3, 4)))
    counts = [
        span.attributes["turntrace.turn.tokens_emitted"]
        for span in recorded.spans
        if span.name == "socket.io chat"
    ]
    assert sorted(counts) == [1, 2, 3, 4]


async def test_a_turn_without_tokens_has_no_token_attributes(recorded: Recorded) -> None:
    sio = server()

    @sio.on("chat")
    async def chat(sid: str) -> None:
        return None

    async with live(sio) as running:
        await (await running.client()).call("chat")
    keys = recorded.one("socket.io chat").attributes
    assert [key for key in keys if key.startswith("turntrace.turn.")] == ["turntrace.turn.outcome"]


async def test_another_emit_is_a_producer_span_below_the_turn(recorded: Recorded) -> None:
    sio = server()

    @sio.on("chat")
    async def chat(sid: str) -> None:
        await sio.emit("answer", {"text": "typed"}, to=sid)

    async with live(sio) as running:
        await (await running.client()).call("chat")
    (emit,) = recorded.children("socket.io chat")
    assert (emit.name, emit.kind) == ("socket.io emit answer", SpanKind.PRODUCER.value)
    assert emit.attributes == {
        "messaging.system": "socket.io",
        "messaging.operation": "emit",
        "messaging.operation.name": "emit",
        "messaging.operation.type": "send",
        "socket.event": "answer",
    }


async def test_an_emit_outside_any_trace_is_no_span_and_arrives(recorded: Recorded) -> None:
    sio = server()
    async with live(sio) as running:
        client = await running.client()
        got = asyncio.Event()
        client.on("news", lambda _data: got.set())
        await sio.emit("news", 1)
        await asyncio.wait_for(got.wait(), 5)
    assert not [name for name in recorded.names() if "emit" in name]


async def test_an_emit_of_a_namespace_class_is_one_span(recorded: Recorded) -> None:
    class Room(socketio.AsyncNamespace):
        async def on_chat(self, sid: str) -> None:
            await self.emit("answer", 1, to=sid)

    sio = server()
    sio.register_namespace(Room("/"))
    async with live(sio) as running:
        await (await running.client()).call("chat")
    assert recorded.names().count("socket.io emit answer") == 1


async def test_an_emit_that_fails_is_an_error_and_the_exception_is_the_original(
    recorded: Recorded,
) -> None:
    sio = server()
    raised: list[BaseException] = []

    @sio.on("chat")
    async def chat(sid: str) -> None:
        try:
            await sio.emit("answer", object(), to=sid)
        except TypeError as error:
            raised.append(error)

    async with live(sio) as running:
        await (await running.client()).call("chat")
    span = recorded.one("socket.io emit answer")
    assert span.status_code == StatusCode.ERROR.value
    assert span.attributes["error.type"] == "TypeError"
    assert raised


async def test_a_call_to_a_client_returns_its_answer(recorded: Recorded) -> None:
    sio = server()

    @sio.on("chat")
    async def chat(sid: str) -> object:
        return await sio.call("question", [1, 2], to=sid)

    async with live(sio) as running:
        client = await running.client()
        client.on("question", lambda data: data)
        assert await client.call("chat") == [1, 2]
    assert recorded.names().count("socket.io emit question") == 1


async def test_an_emitted_name_of_odd_characters_is_a_star(recorded: Recorded) -> None:
    sio = server()

    @sio.on("chat")
    async def chat(sid: str) -> None:
        await sio.emit("what a user typed", 1, to=sid)

    async with live(sio) as running:
        await (await running.client()).call("chat")
        await until(lambda: "socket.io emit *" in recorded.names())
    assert "typed" not in repr(recorded.spans)


async def test_a_name_that_a_client_made_up_is_a_star_even_if_the_app_emits_it(
    recorded: Recorded,
) -> None:
    sio = server()
    typed = f"typed-{7 * 6}"

    @sio.on("chat")
    async def chat(sid: str, name: str) -> None:
        await sio.emit(name, 1, to=sid)
        await sio.emit("written:here", 1, to=sid)

    async with live(sio) as running:
        await (await running.client()).call("chat", typed)
        await until(lambda: "socket.io emit written:here" in recorded.names())
    assert "socket.io emit *" in recorded.names()
    assert typed not in repr(recorded.spans)
