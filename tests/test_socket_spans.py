"""Socket.IO traced by hand: the same spans as the hooks make, and never twice."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from socketio.exceptions import ConnectionRefusedError as Refused

import turntrace
from turntrace import attributes as keys
from turntrace import socket_events, socket_spans

if TYPE_CHECKING:
    from conftest import Recorded

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_event_is_a_turn_with_the_attributes_of_the_hooks(recorded: Recorded) -> None:
    with turntrace.trace_socket_event(
        "chat:user_message", sid="a1", transport="websocket", size_bytes=42
    ):
        turntrace.bind(session_id="s1")
    span = recorded.one("socket.io chat:user_message")
    assert span.kind == trace.SpanKind.CONSUMER.value
    assert {k: v for k, v in span.attributes.items() if k != keys.SAMPLING_REASON} == {
        "messaging.system": "socket.io",
        "messaging.operation": "receive",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "/",
        "messaging.message.body.size": 42,
        "socket.id": "a1",
        "socket.event": "chat:user_message",
        "socket.transport": "websocket",
        "socket.content_length": 42,
        "session.id": "s1",
        "turntrace.turn.outcome": "ok",
    }


def test_events_and_the_disconnect_link_to_the_connection_and_are_roots(
    recorded: Recorded,
) -> None:
    with turntrace.trace_connection("a2"):
        pass
    with turntrace.turn("request around it"), turntrace.trace_socket_event("chat:hello", sid="a2"):
        pass
    with turntrace.trace_disconnect("a2", reason="client disconnect"):
        pass
    connect = recorded.one("socket.io connect /")
    hello, bye = recorded.one("socket.io chat:hello"), recorded.one("socket.io disconnect")
    assert [link.span_id for link in hello.links] == [connect.span_id]
    assert [link.span_id for link in bye.links] == [connect.span_id]
    assert hello.parent_span_id == bye.parent_span_id == connect.parent_span_id == b""
    assert len({span.trace_id for span in (connect, hello, bye)}) == 3
    assert bye.attributes[keys.SOCKET_DISCONNECT_REASON] == "client disconnect"
    assert socket_events._by_hand.of("a2") is None


def test_the_context_that_an_event_carried_is_its_parent(recorded: Recorded) -> None:
    with turntrace.trace_socket_event("chat:hello", carrier={"traceparent": PARENT}):
        pass
    span = recorded.one("socket.io chat:hello")
    assert span.trace_id.hex() == PARENT.split("-")[1]
    assert span.parent_span_id.hex() == PARENT.split("-")[2]


@pytest.mark.parametrize("carrier", [{"traceparent": "nonsense"}, {"traceparent": ""}, {}])
def test_a_broken_context_leaves_the_event_a_root(
    recorded: Recorded, carrier: dict[str, str]
) -> None:
    with turntrace.trace_socket_event("chat:hello", carrier=carrier):
        pass
    assert recorded.one("socket.io chat:hello").parent_span_id == b""


def test_a_decorated_handler_gives_its_sid_and_reason(recorded: Recorded) -> None:
    class Handlers:
        @turntrace.trace_connection()
        async def on_connect(self, sid: str, environ: dict[str, str]) -> bool:
            return True

        @turntrace.trace_socket_event("chat:hello")
        async def on_hello(self, sid: str, text: str) -> str:
            return text.upper()

    @turntrace.trace_disconnect()
    def on_disconnect(sid: str, reason: str) -> None: ...

    handlers = Handlers()
    assert asyncio.run(handlers.on_connect("a3", {})) is True
    assert asyncio.run(handlers.on_hello("a3", "s3cret")) == "S3CRET"
    on_disconnect("a3", "ping timeout")
    assert [span.attributes[keys.SOCKET_ID] for span in recorded.spans] == ["a3"] * 3
    assert recorded.one("socket.io disconnect").attributes[keys.SOCKET_DISCONNECT_REASON] == (
        "ping timeout"
    )
    assert len(recorded.one("socket.io chat:hello").links) == 1


def test_a_name_that_a_client_chose_does_not_leave(recorded: Recorded) -> None:
    chosen = "-".join(reversed(["secret", "my"]))
    with turntrace.trace_socket_event(chosen, sid="a4", namespace=f"/{chosen}"):
        pass
    with turntrace.trace_disconnect("a4", reason=chosen):
        pass
    assert recorded.names() == ["socket.io *", "socket.io disconnect"]
    assert chosen not in repr(recorded.spans)


def test_concurrent_calls_of_one_decorated_handler_are_a_turn_each(recorded: Recorded) -> None:
    @turntrace.trace_socket_event("chat:hello")
    async def handler(sid: str) -> None:
        await asyncio.sleep(0)
        turntrace.bind(session_id=f"session-of-{sid}")
        await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(handler(f"sid{number}") for number in range(8)))

    asyncio.run(all_of_them())
    assert len({span.trace_id for span in recorded.spans}) == 8
    for span in recorded.spans:
        assert span.attributes[keys.SESSION_ID] == f"session-of-{span.attributes[keys.SOCKET_ID]}"


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [(KeyError("s3cret"), "error", 2), (asyncio.CancelledError(), "cancelled", 0)],
)
def test_what_a_handler_ended_with_is_the_outcome(
    recorded: Recorded, error: BaseException, outcome: str, status: int
) -> None:
    with pytest.raises(type(error)), turntrace.trace_socket_event("chat:hello"):
        raise error
    span = recorded.one("socket.io chat:hello")
    assert (span.attributes[keys.TURN_OUTCOME], span.status_code) == (outcome, status)
    assert "s3cret" not in repr(span)


def test_a_refused_connection_is_no_failure_and_is_forgotten(recorded: Recorded) -> None:
    with pytest.raises(Refused), turntrace.trace_connection("a5"):
        raise Refused("not you")
    assert recorded.one("socket.io connect /").status_code == 0
    assert socket_events._by_hand.of("a5") is None
    with pytest.raises(ConnectionRefusedError), turntrace.trace_connection("a5"):
        raise ConnectionRefusedError  # of the database, say
    assert recorded.spans[-1].status_code == 2


def test_only_a_parameter_named_sid_is_taken_for_one(recorded: Recorded) -> None:
    @turntrace.trace_socket_event("chat")
    def on_text(text: str) -> None: ...

    @turntrace.trace_socket_event("chat")
    def on_message(websocket: object, text: str) -> None: ...

    @turntrace.trace_socket_event("chat")
    def on_chat(text: str, *, sid: str) -> None: ...

    on_text("s3cret")
    on_message(object(), "s3cret")
    on_chat("s3cret", sid="a7")
    found = [span.attributes.get(keys.SOCKET_ID) for span in recorded.spans]
    assert found == [None, None, "a7"]
    assert "s3cret" not in repr(recorded.spans)


@pytest.mark.parametrize("sid", ["my s3cret message", "s3cret!", "", "x" * 65, "\udcff"])
def test_what_does_not_look_like_a_sid_does_not_leave(recorded: Recorded, sid: str) -> None:
    with turntrace.trace_connection(sid), turntrace.trace_disconnect(sid):
        pass
    with turntrace.trace_socket_event("chat", sid=sid):
        pass
    assert all(keys.SOCKET_ID not in span.attributes for span in recorded.spans)


def test_a_handler_that_calls_another_s_has_two_events(recorded: Recorded) -> None:
    @turntrace.trace_socket_event("chat:a")
    def on_a(sid: str) -> None:
        on_b("other")
        with turntrace.trace_socket_event("chat:b", sid=sid):
            pass

    @turntrace.trace_socket_event("chat:b")
    def on_b(sid: str) -> None: ...

    on_a("mine")
    assert sorted(recorded.names()) == ["socket.io chat:a"] + ["socket.io chat:b"] * 2


def test_a_connection_refused_by_false_or_broken_by_an_error_is_forgotten(
    recorded: Recorded,
) -> None:
    @turntrace.trace_connection()
    def refuse(sid: str, environ: object) -> bool:
        return False

    assert refuse("a8", {}) is False
    with pytest.raises(KeyError), turntrace.trace_connection("a9"):
        raise KeyError
    assert socket_events._by_hand.of("a8") is socket_events._by_hand.of("a9") is None


def test_tasks_that_share_a_scope_each_end_their_own_turn(recorded: Recorded) -> None:
    scope = turntrace.trace_socket_event("chat:hello")

    async def handle(name: str, *, fails: bool) -> None:
        before = trace.get_current_span()
        with contextlib.suppress(KeyError), scope:
            turntrace.bind(session_id=name)
            await asyncio.sleep(0.01 if fails else 0.03)
            if fails:
                raise KeyError
        assert trace.get_current_span() is before

    async def both() -> None:
        await asyncio.gather(handle("ok", fails=False), handle("error", fails=True))

    asyncio.run(both())
    for span in recorded.spans:
        assert span.attributes[keys.TURN_OUTCOME] == span.attributes[keys.SESSION_ID]


def test_an_event_inside_one_that_is_traced_already_joins_it(recorded: Recorded) -> None:
    with turntrace.trace_socket_event("chat:hello", sid="a6") as outer:
        with turntrace.trace_socket_event("chat:hello", sid="a6") as inner:
            assert inner is outer
        assert outer.is_recording()
    assert recorded.names() == ["socket.io chat:hello"]


def test_work_that_outlives_its_event_starts_turns_of_its_own(recorded: Recorded) -> None:
    async def listener(started: asyncio.Event) -> None:
        await started.wait()
        with turntrace.trace_socket_event("chat:later"):
            pass

    async def main() -> None:
        started = asyncio.Event()
        with turntrace.trace_socket_event("chat:hello"):
            task = asyncio.create_task(listener(started))
        started.set()
        await task

    asyncio.run(main())
    hello, later = recorded.one("socket.io chat:hello"), recorded.one("socket.io chat:later")
    assert hello.trace_id != later.trace_id


def test_connections_that_are_remembered_are_bounded(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_spans, "_MAX_CONNECTIONS", 10)
    known = socket_spans.Connections()
    span: Any = trace.get_tracer("test").start_span("any")
    for number in range(25):
        known.opened(f"sid{number}", span)
    assert len(known) == 10
    assert known.of("sid14") is None
    assert known.of("sid24") is not None


def test_a_generator_cannot_be_decorated() -> None:
    def chunks() -> Any:
        yield 1

    with pytest.raises(TypeError, match=r"is a generator.*start_ai_stream_span"):
        turntrace.trace_socket_event("chat:hello")(chunks)
