"""Claims about received events: roots, links, names, what handlers see."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import socketio
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from socketio_live import live, server, until

from turntrace.instrument.socketio.server import open_connections

if TYPE_CHECKING:
    from conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded", "instrumented")

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


def echo_server(**options: Any) -> socketio.AsyncServer:
    sio = server(**options)

    @sio.on("chat")
    async def chat(sid: str, *args: object) -> object:
        return args

    return sio


@TRANSPORTS
async def test_an_event_outside_any_trace_is_its_own_root(
    recorded: Recorded, transport: str
) -> None:
    async with live(echo_server()) as running:
        await (await running.client(transport)).call("chat", 1)
    assert recorded.one("socket.io chat").parent_span_id == b""


@TRANSPORTS
async def test_an_event_links_to_the_connect_span_of_its_connection(
    recorded: Recorded, transport: str
) -> None:
    async with live(echo_server()) as running:
        await (await running.client(transport)).call("chat", 1)
    connect = recorded.one("socket.io connect /")
    (link,) = recorded.one("socket.io chat").links
    assert (link.trace_id, link.span_id) == (connect.trace_id, connect.span_id)


async def test_each_connection_has_its_own_link(recorded: Recorded) -> None:
    async with live(echo_server()) as running:
        for _ in range(3):
            await (await running.client()).call("chat", 1)
    linked = [span.links[0].span_id for span in recorded.spans if span.name == "socket.io chat"]
    connects = [span.span_id for span in recorded.spans if span.name == "socket.io connect /"]
    assert linked == connects


async def test_an_event_is_a_consumer_span_with_its_facts(recorded: Recorded) -> None:
    async with live(echo_server()) as running, running.bare() as bare:
        await bare.call("chat", "hällo")
    span = recorded.one("socket.io chat")
    assert span.kind == SpanKind.CONSUMER.value
    # bare.call() writes JSON in ASCII: 420["chat", "hllo"] with an escape of six characters.
    size = len('20["chat", "h\\u00e4llo"]')
    sid = span.attributes["socket.id"]
    assert span.attributes == {
        "messaging.system": "socket.io",
        "messaging.destination.name": "/",
        "messaging.message.body.size": size,
        "messaging.operation": "receive",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "socket.content_length": size,
        "socket.event": "chat",
        "socket.id": sid,
        "socket.transport": "websocket",
        "turntrace.sampling.reason": span.attributes["turntrace.sampling.reason"],
        "turntrace.turn.outcome": "ok",
    }


@TRANSPORTS
async def test_the_transport_is_noted(recorded: Recorded, transport: str) -> None:
    async with live(echo_server()) as running:
        await (await running.client(transport)).call("chat")
    assert recorded.one("socket.io chat").attributes["socket.transport"] == transport


async def test_the_size_counts_bytes_not_characters(recorded: Recorded) -> None:
    async with live(echo_server()) as running, running.bare() as bare:
        await bare.send('420["chat","日本"]')
        await bare.receive()
    packet = '20["chat","日本"]'
    assert recorded.one("socket.io chat").attributes["socket.content_length"] == len(
        packet.encode()
    )


async def test_spans_in_a_handler_hang_below_its_event(recorded: Recorded) -> None:
    sio = server()
    tracer = recorded.provider.get_tracer("turntrace.test")

    @sio.on("chat")
    async def chat(sid: str) -> None:
        with tracer.start_as_current_span("work"):
            await asyncio.to_thread(lambda: tracer.start_span("threaded").end())

    async with live(sio) as running:
        await (await running.client()).call("chat")
    assert recorded.tree(recorded.one("socket.io chat")) == [
        "socket.io chat",
        "  work",
        "    threaded",
    ]


async def test_with_handlers_run_in_line_events_are_roots_and_nothing_stays_current(
    recorded: Recorded,
) -> None:
    async with live(echo_server(async_handlers=False)) as running:
        client = await running.client()
        await client.call("chat", 1)
        await client.call("chat", 2)
    found = [span for span in recorded.spans if span.name == "socket.io chat"]
    assert len({span.trace_id for span in found}) == 2
    assert {span.parent_span_id for span in found} == {b""}


@pytest.mark.parametrize(
    "sent",
    [
        "text",
        7,
        None,
        True,
        [1, [2, "3"]],
        {"a": {"b": [1]}},
        b"\x00\xff",
        {"file": b"bytes", "n": [b"1", 2]},
    ],
    ids=repr,
)
async def test_a_handler_gets_exactly_what_was_sent(sent: object) -> None:
    sio = server()
    got: list[Any] = []

    @sio.on("chat")
    async def chat(sid: str, data: object) -> object:
        got.append(data)
        return data

    async with live(sio) as running:
        answer = await (await running.client()).call("chat", [sent] if sent is None else (sent,))
    expected = [None] if sent is None else sent
    assert got == [expected]
    assert type(got[0]) is type(expected)
    assert answer == expected


async def test_several_arguments_arrive_one_by_one() -> None:
    sio = server()
    got: list[Any] = []

    @sio.on("chat")
    async def chat(*args: object) -> None:
        got.append(args)

    async with live(sio) as running:
        client = await running.client()
        await client.call("chat", (1, "two", [3], {"four": 4}))
        sid = client.get_sid()
    assert got == [(sid, 1, "two", [3], {"four": 4})]


@pytest.mark.parametrize(
    ("returned", "answer"),
    [(None, []), ((), []), (1, [1]), ([1, 2], [[1, 2]]), ((1, "2"), [1, "2"]), (False, [False])],
    ids=repr,
)
async def test_what_a_handler_returns_is_acknowledged_unchanged(
    returned: object, answer: list[object]
) -> None:
    sio = server()

    @sio.on("chat")
    async def chat(sid: str) -> object:
        return returned

    async with live(sio) as running, running.bare() as bare:
        assert await bare.call("chat") == answer


async def test_a_synchronous_handler_is_traced_and_answers(recorded: Recorded) -> None:
    sio = server()
    current: list[trace.Span] = []

    @sio.on("chat")
    def chat(sid: str, data: object) -> object:
        current.append(trace.get_current_span())
        return data

    async with live(sio) as running:
        assert await (await running.client()).call("chat", "x") == "x"
    assert current[0].get_span_context().span_id == int.from_bytes(
        recorded.one("socket.io chat").span_id, "big"
    )


async def test_an_event_nobody_handles_gets_no_span(recorded: Recorded) -> None:
    async with live(echo_server()) as running:
        client = await running.client()
        await client.emit("unknown", 1)
        await client.call("chat", 1)
    assert recorded.names().count("socket.io chat") == 1
    assert not [name for name in recorded.names() if "unknown" in name or "*" in name]


async def test_an_event_for_a_catch_all_is_named_with_a_star(recorded: Recorded) -> None:
    sio = server()

    @sio.on("*")
    async def anything(event: str, sid: str, data: object) -> object:
        return [event, data]

    async with live(sio) as running:
        answer = await (await running.client()).call("made-by-a-client", 1)
    assert answer == ["made-by-a-client", 1]
    assert recorded.one("socket.io *").attributes["socket.event"] == "*"


async def test_an_event_of_a_namespace_catch_all_has_neither_name_nor_namespace_of_the_client(
    recorded: Recorded,
) -> None:
    sio = server(namespaces="*")

    @sio.on("*", namespace="*")
    async def anything(event: str, namespace: str, sid: str, data: object) -> object:
        return [event, namespace, data]

    async with live(sio) as running:
        client = await running.client(namespaces=["/invented"])
        answer = await client.call("invented", 1, namespace="/invented")
    assert answer == ["invented", "/invented", 1]
    assert recorded.one("socket.io *").attributes["messaging.destination.name"] == "*"
    assert recorded.one("socket.io connect *").attributes["messaging.destination.name"] == "*"


async def test_events_of_a_class_namespace_are_named_by_its_methods(recorded: Recorded) -> None:
    class Room(socketio.AsyncNamespace):
        async def on_chat(self, sid: str, data: object) -> object:
            return data

    sio = server()
    sio.register_namespace(Room("/room"))
    async with live(sio) as running:
        client = await running.client(namespaces=["/room"])
        assert await client.call("chat", [1], namespace="/room") == [1]
    span = recorded.one("socket.io chat")
    assert span.attributes["messaging.destination.name"] == "/room"
    assert span.links[0].span_id == recorded.one("socket.io connect /room").span_id


async def test_an_event_without_a_method_in_a_class_namespace_gets_no_span(
    recorded: Recorded,
) -> None:
    class Room(socketio.AsyncNamespace):
        async def on_chat(self, sid: str) -> None:
            return None

    sio = server()
    sio.register_namespace(Room("/"))
    async with live(sio) as running:
        client = await running.client()
        await client.emit("unknown")
        await client.call("chat")
    assert [name for name in recorded.names() if "connect" not in name] == ["socket.io chat"]


async def test_a_class_namespace_with_its_own_dispatch_is_named_with_a_star(
    recorded: Recorded,
) -> None:
    class Room(socketio.AsyncNamespace):
        async def trigger_event(self, event: str, *args: object) -> object:
            return event if event not in {"connect", "disconnect"} else None

    sio = server()
    sio.register_namespace(Room("/"))
    async with live(sio) as running:
        assert await (await running.client()).call("whatever") == "whatever"
    assert "socket.io *" in recorded.names()


async def test_a_method_set_on_a_namespace_object_is_a_handler(recorded: Recorded) -> None:
    async def on_chat(sid: str) -> str:
        return "answered"

    room = socketio.AsyncNamespace("/")
    room.on_chat = on_chat
    sio = server()
    sio.register_namespace(room)
    async with live(sio) as running:
        assert await (await running.client()).call("chat") == "answered"
    assert "socket.io chat" in recorded.names()


async def test_a_raising_handler_makes_its_span_an_error_without_the_message(
    recorded: Recorded,
) -> None:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context))
    sio = server()

    @sio.on("chat")
    async def chat(sid: str) -> None:
        raise ValueError("what a user typed")

    async with live(sio) as running:
        await (await running.client()).emit("chat")
        await until(lambda: "socket.io chat" in recorded.names())
        # At once, without the garbage collector: nothing of ours keeps the task alive.
        await until(lambda: seen, "the loop's exception handler")
    span = recorded.one("socket.io chat")
    assert span.status_code == StatusCode.ERROR.value
    assert span.attributes["error.type"] == "ValueError"
    assert span.attributes["turntrace.turn.outcome"] == "error"
    assert "typed" not in repr(span)
    assert str(seen[0]["exception"]) == "what a user typed"


async def test_with_handlers_run_in_line_an_exception_reaches_the_same_place_as_without(
    recorded: Recorded,
) -> None:
    sio = server(async_handlers=False)

    @sio.on("chat")
    async def chat(sid: str) -> None:
        raise LookupError

    caught: list[BaseException] = []
    original = sio._handle_eio_message

    async def handle(eio_sid: str, data: object) -> None:
        try:
            await original(eio_sid, data)
        except LookupError as error:
            caught.append(error)
            raise

    sio.eio.on("message", handle)
    async with live(sio) as running:
        await (await running.client()).emit("chat")
        await until(lambda: caught)
    assert recorded.one("socket.io chat").attributes["error.type"] == "LookupError"


async def test_a_cancelled_handler_has_the_outcome_cancelled(recorded: Recorded) -> None:
    sio = server()
    tasks: list[asyncio.Task[Any]] = []

    @sio.on("chat")
    async def chat(sid: str) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.Event().wait()

    async with live(sio) as running:
        await (await running.client()).emit("chat")
        await until(lambda: tasks)
        tasks[0].cancel()
        await until(lambda: "socket.io chat" in recorded.names())
    span = recorded.one("socket.io chat")
    assert span.attributes["turntrace.turn.outcome"] == "cancelled"
    assert span.status_code == StatusCode.UNSET.value


async def test_a_cancelled_method_of_a_class_namespace_has_the_outcome_cancelled(
    recorded: Recorded,
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    class Room(socketio.AsyncNamespace):
        async def on_chat(self, sid: str) -> None:
            tasks.append(asyncio.current_task())
            await asyncio.Event().wait()

    sio = server()
    sio.register_namespace(Room("/"))
    async with live(sio) as running:
        await (await running.client()).emit("chat")
        await until(lambda: tasks)
        tasks[0].cancel()
        await until(lambda: "socket.io chat" in recorded.names())
    assert recorded.one("socket.io chat").attributes["turntrace.turn.outcome"] == "cancelled"


async def test_a_handler_whose_answering_task_was_cancelled_has_the_outcome_cancelled(
    recorded: Recorded,
) -> None:
    sio = server()
    answers: list[asyncio.Task[Any]] = []

    @sio.on("chat")
    async def chat(sid: str) -> None:
        answers.append(asyncio.create_task(asyncio.Event().wait()))
        await answers[0]

    @sio.on("stop")
    async def stop(sid: str) -> None:
        answers[0].cancel()

    async with live(sio) as running:
        client = await running.client()
        await client.emit("chat")
        await until(lambda: answers)
        await client.call("stop")
        await until(lambda: "socket.io chat" in recorded.names())
    assert recorded.one("socket.io chat").attributes["turntrace.turn.outcome"] == "cancelled"
    assert recorded.one("socket.io stop").attributes["turntrace.turn.outcome"] == "ok"


async def test_eight_turns_at_once_are_eight_traces_without_a_stranger_in_them(
    recorded: Recorded,
) -> None:
    sio = server()
    tracer = recorded.provider.get_tracer("turntrace.test")
    all_in = asyncio.Barrier(8)

    @sio.on("chat")
    async def chat(sid: str, number: int) -> int:
        with tracer.start_as_current_span(f"outer {number}"):
            await all_in.wait()
            with tracer.start_as_current_span(f"inner {number}"):
                await sio.emit("answer", number, to=sid)
        return number

    async with live(sio) as running:
        clients = [
            await running.client(transport) for transport in ["websocket"] * 2 + ["polling"] * 2
        ]
        calls = [clients[number % 4].call("chat", number) for number in range(8)]
        assert await asyncio.gather(*calls) == list(range(8))
    turns = [span for span in recorded.spans if span.name == "socket.io chat"]
    assert len({turn.trace_id for turn in turns}) == 8
    for turn in turns:
        lines = recorded.tree(turn)
        number = lines[1].rsplit(" ", 1)[1]
        assert lines == [
            "socket.io chat",
            f"  outer {number}",
            f"    inner {number}",
            "      socket.io emit answer",
        ]


async def test_a_task_of_a_handler_that_goes_on_keeps_its_turn_as_parent(
    recorded: Recorded,
) -> None:
    sio = server()
    tracer = recorded.provider.get_tracer("turntrace.test")
    may_go_on = asyncio.Event()

    async def answer() -> None:
        await may_go_on.wait()
        tracer.start_span("late").end()

    @sio.on("chat")
    async def chat(sid: str) -> None:
        sio.start_background_task(answer)

    async with live(sio) as running:
        await (await running.client()).call("chat")
        may_go_on.set()
        await until(lambda: "late" in recorded.names())
    assert recorded.one("late").parent_span_id == recorded.one("socket.io chat").span_id


@TRANSPORTS
async def test_tasks_that_the_library_starts_run_in_an_empty_context(
    recorded: Recorded, transport: str
) -> None:
    tracer = recorded.provider.get_tracer("turntrace.test")
    sio = server()
    current: list[trace.Span] = []
    original = sio.eio._service_task

    async def service_task() -> None:
        current.append(trace.get_current_span())
        await original()

    sio.eio._service_task = service_task

    async def around(scope: Any, receive: Any, send: Any) -> None:
        # Whatever instruments HTTP outside of ours has its span current here.
        with tracer.start_as_current_span("somebody's HTTP span"):
            await socketio.ASGIApp(sio)(scope, receive, send)

    async with live(sio, around) as running:
        await running.client(transport)
        await until(lambda: current)
    assert current == [trace.INVALID_SPAN]


async def test_binary_payloads_arrive_and_are_traced(recorded: Recorded) -> None:
    async with live(echo_server()) as running:
        answer = await (await running.client()).call("chat", {"image": b"\x00\x01" * 50})
    assert answer == {"image": b"\x00\x01" * 50}
    assert recorded.one("socket.io chat").attributes["socket.content_length"] > 100


async def test_an_event_that_arrives_together_with_a_disconnect_still_links_to_its_connection(
    recorded: Recorded,
) -> None:
    async with live(echo_server()) as running, running.polling() as post:
        await post('42["chat",1]\x1e41')
        await until(lambda: "socket.io disconnect" in recorded.names())
        await until(lambda: "socket.io chat" in recorded.names())
    (link,) = recorded.one("socket.io chat").links
    assert link.span_id == recorded.one("socket.io connect /").span_id


@pytest.mark.parametrize("spoof", ["connect", "disconnect"])
async def test_an_event_a_client_named_after_the_library_s_own_is_not_taken_for_it(
    recorded: Recorded, spoof: str
) -> None:
    sio = echo_server()
    called: list[str] = []

    @sio.event
    async def connect(*args: object) -> None:
        called.append("connect")

    @sio.event
    async def disconnect(*args: object) -> None:
        called.append("disconnect")

    async with live(sio) as running:
        client = await running.client()
        await client.emit(spoof, {"forged": True})
        await client.call("chat", 1)
        await until(lambda: len(called) == 2, "the app's own handler")
        # The library calls the app's handler for it; that is the app's matter.
        assert called == ["connect", spoof]
        assert open_connections(sio) == 1
        assert recorded.names().count("socket.io connect /") == 1
        assert recorded.names().count("socket.io disconnect") == 0
        assert len(recorded.one("socket.io chat").links) == 1


async def test_after_a_spoofed_disconnect_the_real_one_is_a_span(recorded: Recorded) -> None:
    sio = echo_server(async_handlers=False)
    async with live(sio) as running:
        client = await running.client()
        await client.emit("disconnect", 1)
        await client.call("chat", 1)
        await client.disconnect()
        await until(lambda: "socket.io disconnect" in recorded.names())
    assert open_connections(sio) == 0


@pytest.mark.parametrize("event", [7, None, ["a"], {"a": 1}], ids=repr)
async def test_an_event_name_that_is_no_text_breaks_nothing(
    recorded: Recorded, event: object
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    sio = echo_server()
    async with live(sio) as running, running.bare() as bare:
        await bare.send("42" + json.dumps([event]))
        assert await bare.call("chat", 1) == [1]
    assert recorded.names().count("socket.io chat") == 1
