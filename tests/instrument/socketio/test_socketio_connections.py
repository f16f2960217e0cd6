"""Claims about connect and disconnect spans."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING

import pytest
import socketio
from opentelemetry.trace import SpanKind, StatusCode
from socketio_live import live, server, until

from turntrace.instrument.socketio.server import _connections, open_connections

if TYPE_CHECKING:
    from conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded", "instrumented")


async def test_a_connection_is_a_short_server_span_with_its_sid(recorded: Recorded) -> None:
    async with live(server()) as running:
        client = await running.client()
        span = recorded.one("socket.io connect /")
        assert span.attributes["socket.id"] == client.get_sid()
    assert span.kind == SpanKind.SERVER.value
    assert span.attributes["messaging.operation"] == "connection"
    assert "messaging.operation.type" not in span.attributes


async def test_spans_of_a_connect_handler_hang_below_the_connect_span(recorded: Recorded) -> None:
    sio = server()

    @sio.event
    async def connect(sid: str, environ: object, auth: object) -> None:
        recorded.provider.get_tracer("turntrace.test").start_span("look up").end()

    async with live(sio) as running:
        await running.client()
    (child,) = recorded.children("socket.io connect /")
    assert child.name == "look up"


async def test_a_connect_handler_with_two_arguments_is_one_span(recorded: Recorded) -> None:
    sio = server()

    @sio.event
    async def connect(sid: str, environ: object) -> None:
        return None

    async with live(sio) as running:
        await running.client()
    assert recorded.names().count("socket.io connect /") == 1


@pytest.mark.parametrize("always_connect", [False, True])
@pytest.mark.parametrize(
    "refuse", ["false", "ConnectionRefusedError", "its own ConnectionRefusedError"]
)
async def test_a_refused_connection_is_a_span_and_nothing_is_remembered(
    recorded: Recorded, refuse: str, always_connect: bool
) -> None:
    sio = server(always_connect=always_connect)

    @sio.event
    async def connect(sid: str, environ: object, auth: object) -> bool:
        if refuse == "false":
            return False
        if refuse == "ConnectionRefusedError":
            raise ConnectionRefusedError
        raise socketio.exceptions.ConnectionRefusedError("not today")

    async with live(sio) as running, running.bare() as bare:
        assert bare.answer.startswith("40" if always_connect else "44")
        await until(lambda: "socket.io connect /" in recorded.names())
        assert open_connections(sio) == 0
    span = recorded.one("socket.io connect /")
    assert "today" not in repr(span)
    assert "socket.id" not in span.attributes


async def test_a_namespace_nobody_registered_is_a_span_with_a_star(recorded: Recorded) -> None:
    sio = server()
    async with live(sio) as running, running.bare(namespace="/made-up") as bare:
        assert bare.answer.startswith("44")
        await until(lambda: "socket.io connect *" in recorded.names())
        assert open_connections(sio) == 0
    assert "made-up" not in repr(recorded.spans)


async def test_a_connect_handler_that_raises_is_an_error_and_the_exception_goes_on(
    recorded: Recorded,
) -> None:
    sio = server()
    caught: list[BaseException] = []
    original = sio._handle_eio_message

    async def handle(eio_sid: str, data: object) -> None:
        try:
            await original(eio_sid, data)
        except LookupError as error:
            caught.append(error)

    sio.eio.on("message", handle)

    @sio.event
    async def connect(sid: str, environ: object, auth: object) -> None:
        raise LookupError("typed")

    async with live(sio) as running, running.polling_opened() as post:
        await post("40")
        await until(lambda: caught)
    span = recorded.one("socket.io connect /")
    assert span.status_code == StatusCode.ERROR.value
    assert span.attributes["error.type"] == "LookupError"
    assert "typed" not in repr(span)
    assert open_connections(sio) == 0


@pytest.mark.parametrize(
    ("how", "reason"), [("client", "client disconnect"), ("server", "server disconnect")]
)
async def test_a_disconnect_is_a_root_with_its_reason_and_a_link_to_connect(
    recorded: Recorded, how: str, reason: str
) -> None:
    sio = server()
    async with live(sio) as running, running.bare() as bare:
        sid = json.loads(bare.answer[2:])["sid"]
        await until(lambda: open_connections(sio) == 1)
        await (bare.send("41") if how == "client" else sio.disconnect(sid))
        await until(lambda: "socket.io disconnect" in recorded.names())
    span = recorded.one("socket.io disconnect")
    assert span.kind == SpanKind.INTERNAL.value
    assert span.parent_span_id == b""
    assert span.attributes["socket.disconnect_reason"] == reason
    assert span.attributes["socket.id"] == sid
    assert [link.span_id for link in span.links] == [recorded.one("socket.io connect /").span_id]
    assert open_connections(sio) == 0


async def test_a_dropped_websocket_is_a_disconnect_with_its_reason(recorded: Recorded) -> None:
    sio = server()
    async with live(sio) as running:
        async with running.bare():
            pass
        await until(lambda: "socket.io disconnect" in recorded.names())
    reason = recorded.one("socket.io disconnect").attributes["socket.disconnect_reason"]
    assert reason in {"transport close", "transport error"}


async def test_a_disconnect_in_a_handler_is_a_trace_of_its_own(recorded: Recorded) -> None:
    sio = server()

    @sio.on("leave")
    async def leave(sid: str) -> None:
        await sio.disconnect(sid)

    async with live(sio) as running:
        await (await running.client()).emit("leave")
        await until(lambda: "socket.io leave" in recorded.names())
    assert recorded.one("socket.io disconnect").parent_span_id == b""
    assert recorded.one("socket.io leave").trace_id != recorded.one("socket.io disconnect").trace_id


async def test_a_disconnect_handler_with_one_argument_is_one_span(recorded: Recorded) -> None:
    sio = server()
    left: list[str] = []

    @sio.event
    async def disconnect(sid: str) -> None:
        left.append(sid)

    async with live(sio) as running:
        await (await running.client()).disconnect()
        await until(lambda: left)
        await until(lambda: "socket.io disconnect" in recorded.names())
    assert recorded.names().count("socket.io disconnect") == 1


async def test_each_namespace_of_a_connection_has_its_own_connect_and_disconnect(
    recorded: Recorded,
) -> None:
    sio = server(namespaces=["/", "/room"])
    async with live(sio) as running:
        client = await running.client(namespaces=["/", "/room"])
        await client.disconnect()
        await until(lambda: recorded.names().count("socket.io disconnect") == 2)
    linked = {
        span.links[0].span_id for span in recorded.spans if span.name == "socket.io disconnect"
    }
    assert linked == {
        recorded.one("socket.io connect /").span_id,
        recorded.one("socket.io connect /room").span_id,
    }
    assert open_connections(sio) == 0


async def test_a_server_that_is_gone_is_forgotten() -> None:
    async with live(server()) as running:
        sio = running.sio
        await running.client()
        assert sio in _connections
    del sio, running
    gc.collect()
    assert len(_connections) == 0 or all(open_connections(one) == 0 for one in _connections)
