"""Claims about context in packets: who asks, who answers, what is believed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp.web
import pytest
import socketio
from opentelemetry import baggage, context
from socketio.packet import Packet
from socketio_live import live, server, serving

from turntrace.failsafe import failures
from turntrace.instrument.socketio.wire import carrier_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

    from opentelemetry import trace

    from conftest import Recorded

    Action = Callable[[], AbstractContextManager[trace.Span]]

pytestmark = pytest.mark.usefixtures("recorded", "instrumented")

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def echo_server(**options: Any) -> socketio.AsyncServer:
    sio = server(namespaces=["/", "/room"], **options)
    for namespace in ("/", "/room"):

        @sio.on("chat", namespace=namespace)
        async def chat(sid: str, *args: object) -> object:
            return args

    return sio


@pytest.mark.parametrize("namespace", ["/", "/room"])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_an_event_sent_inside_a_trace_continues_it(
    recorded: Recorded, action: Action, transport: str, namespace: str
) -> None:
    async with live(echo_server()) as running:
        client = await running.client(transport, namespaces=[namespace])
        with action():
            assert await client.call("chat", 1, namespace=namespace) == 1
    assert recorded.tree(recorded.one("action")) == [
        "action",
        "  socket.io emit chat",
        "    socket.io chat",
    ]
    turn = recorded.one("socket.io chat")
    assert turn.parent_is_remote
    assert turn.links[0].span_id == recorded.one(f"socket.io connect {namespace}").span_id


async def test_a_binary_event_sent_inside_a_trace_continues_it(
    recorded: Recorded, action: Action
) -> None:
    async with live(echo_server()) as running:
        client = await running.client(namespaces=["/room"])
        with action():
            data = {"a": b"1", "b": [b"2"]}
            assert await client.call("chat", data, namespace="/room") == data
    emit = recorded.one("socket.io emit chat")
    assert recorded.one("socket.io chat").parent_span_id == emit.span_id


async def test_two_events_of_different_traces_on_one_connection_keep_apart(
    recorded: Recorded, action: Action
) -> None:
    async with live(echo_server()) as running:
        client = await running.client()

        async def one() -> bytes:
            with action() as span:
                await client.call("chat", 1)
                return span.get_span_context().trace_id.to_bytes(16, "big")

        traces = await asyncio.gather(one(), one(), one())
    turns = [span for span in recorded.spans if span.name == "socket.io chat"]
    assert sorted(turn.trace_id for turn in turns) == sorted(traces)


async def test_a_client_that_did_not_ask_gets_the_same_handshake_as_without_turntrace() -> None:
    async with live(echo_server()) as running, running.bare() as bare:
        answer = json.loads(bare.answer[2:])
    assert list(answer) == ["sid"]


async def test_a_client_that_asked_is_answered() -> None:
    async with live(echo_server()) as running, running.bare("&tt=1") as bare:
        answer = json.loads(bare.answer[2:])
    assert answer["tt"] == 1


@pytest.mark.parametrize("query", ["&tt=2", "&tt", "&att=1", "&tt=11"])
async def test_a_query_that_looks_alike_is_no_question(query: str) -> None:
    async with live(echo_server()) as running, running.bare(query) as bare:
        answer = json.loads(bare.answer[2:])
    assert "tt" not in answer


async def bare_server(received: list[str]) -> aiohttp.web.Application:
    """Make a Socket.IO server that is not ours and would not know a namespace with a query."""

    async def handle(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        websocket = aiohttp.web.WebSocketResponse()
        await websocket.prepare(request)
        opened = {"sid": "1", "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000}
        await websocket.send_str("0" + json.dumps(opened))
        async for message in websocket:
            received.append(message.data)
            if message.data.startswith("40"):
                await websocket.send_str('40{"sid":"2"}')
            elif message.data.startswith("42"):
                await websocket.send_str(f"43{message.data[2]}[]")
        return websocket

    application = aiohttp.web.Application()
    application.router.add_get("/socket.io/", handle)
    return application


@pytest.fixture
async def stranger() -> AsyncIterator[tuple[str, list[str]]]:
    received: list[str] = []
    runner = aiohttp.web.AppRunner(await bare_server(received))
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", received
    await runner.cleanup()


async def test_a_server_that_did_not_answer_never_sees_context(
    stranger: tuple[str, list[str]], action: Action
) -> None:
    url, received = stranger
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    await client.connect(url, transports=["websocket"])
    with action():
        await client.call("chat", 1, timeout=5)
    await client.disconnect()
    assert received[:2] == ["40{}", '421["chat",1]']


async def test_an_agreement_ends_with_its_connection(
    stranger: tuple[str, list[str]], action: Action
) -> None:
    url, received = stranger
    async with live(echo_server()) as running:
        client = await running.client()
        await client.disconnect()
        await client.connect(url, transports=["websocket"])
        with action():
            await client.call("chat", 1, timeout=5)
        await client.disconnect()
    assert received[:2] == ["40{}", '421["chat",1]']


async def test_baggage_stays_with_the_client(action: Action) -> None:
    sio = echo_server()
    seen: list[str] = []
    original = sio._handle_eio_message

    async def listen(eio_sid: str, data: str) -> None:
        seen.append(data)
        await original(eio_sid, data)

    sio.eio.on("message", listen)
    async with live(sio) as running:
        client = await running.client()
        token = context.attach(baggage.set_baggage("secret", "typed"))
        try:
            with action():
                await client.call("chat", 1)
        finally:
            context.detach(token)
    assert "traceparent=" in seen[-2] + seen[-1]
    assert "typed" not in "".join(seen)


BAD = {
    "malformed": "/?traceparent=nonsense",
    "of zeros": "/?traceparent=00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "repeated": f"/?traceparent={TRACEPARENT}&traceparent={TRACEPARENT.replace('b7', 'c7')}",
    "in another case": f"/?Traceparent={TRACEPARENT}",
    "oversized": f"/?traceparent={TRACEPARENT}&x=" + "x" * 2000,
    "among many fields": f"/?traceparent={TRACEPARENT}" + "&x=1" * 100,
    "with broken percent signs": "/?traceparent=%zz%&%=%",
    "empty": "/?",
}


@pytest.mark.parametrize("namespace", BAD.values(), ids=BAD.keys())
async def test_a_bad_traceparent_is_ignored_and_the_handler_called(
    recorded: Recorded, namespace: str
) -> None:
    before = failures()
    async with live(echo_server()) as running, running.bare() as bare:
        assert await bare.call("chat", 1, head=f"42{namespace},0") == [1]
    assert recorded.one("socket.io chat").parent_span_id == b""
    assert failures() == before


async def test_a_good_traceparent_of_a_client_by_hand_is_the_parent(recorded: Recorded) -> None:
    async with live(echo_server()) as running, running.bare() as bare:
        await bare.call("chat", 1, head=f"42/?traceparent={TRACEPARENT},0")
    turn = recorded.one("socket.io chat")
    assert (turn.trace_id.hex(), turn.parent_span_id.hex()) == tuple(TRACEPARENT.split("-")[1:3])


class ForeignPacket(Packet):
    """A packet class of an app, whose encoding knows no query in a namespace (as msgpack's)."""

    uses_binary_events = False

    def encode(self) -> str:
        return "x" + json.dumps([self.packet_type, self.data, self.namespace, self.id])

    def decode(self, encoded_packet: str) -> None:
        self.packet_type, self.data, self.namespace, self.id = json.loads(encoded_packet[1:])


async def test_an_encoding_that_carries_no_query_is_left_alone(
    recorded: Recorded, action: Action
) -> None:
    sio = echo_server(serializer=ForeignPacket)
    async with serving(socketio.ASGIApp(sio)) as url:
        client = socketio.AsyncClient(
            reconnection=False, handle_sigint=False, serializer=ForeignPacket
        )
        await client.connect(url, transports=["websocket"])
        with action():
            assert await client.call("chat", 1, timeout=5) == 1
        await client.disconnect()
        await sio.shutdown()
    assert recorded.one("socket.io chat").parent_span_id == b""


@pytest.mark.parametrize(
    "packet",
    ["", "2", '2["a-b"]', "2/", "2/,", "51-/", '2/ns,["e"]', "5999-/?a=b,", '2["/?traceparent=1"]'],
)
def test_a_packet_without_context_has_no_fields(packet: str) -> None:
    assert carrier_of(packet).get("traceparent") is None


async def test_a_client_s_handlers_do_not_inherit_the_trace_it_connected_in(
    recorded: Recorded, action: Action
) -> None:
    sio = echo_server()

    @sio.on("poke")
    async def poke(sid: str) -> None:
        await sio.emit("poked", to=sid)

    tracer = recorded.provider.get_tracer("turntrace.test")
    async with live(sio) as running:
        client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        running.clients.append(client)
        poked = asyncio.Event()

        @client.on("poked")
        async def on_poked() -> None:
            tracer.start_span("received").end()
            poked.set()

        with action():
            await client.connect(running.url, transports=["websocket"])
        await client.emit("poke")
        await asyncio.wait_for(poked.wait(), 5)
    assert recorded.one("received").parent_span_id == b""


async def test_a_polling_client_s_requests_are_no_spans_of_the_trace_it_connected_in(
    recorded: Recorded, action: Action
) -> None:
    async with live(echo_server()) as running:
        with action():
            client = await running.client("polling")
            await client.call("chat", 1)
        await client.call("chat", 2)
    assert not [name for name in recorded.names() if name.startswith(("GET", "POST"))]
