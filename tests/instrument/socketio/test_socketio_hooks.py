"""Claims about the hooks: they come off without a trace, and never break the app."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any, NoReturn

import engineio
import pytest
import socketio
from opentelemetry import trace
from socketio.packet import Packet
from socketio_live import live, server, until

import turntrace
from turntrace.export import otlp
from turntrace.instrument.socketio.server import open_connections

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from conftest import Recorded

HOOKED = (
    socketio.AsyncServer,
    socketio.AsyncClient,
    engineio.AsyncServer,
    engineio.AsyncClient,
    Packet,
)


def methods() -> list[dict[str, int]]:
    """Return what stands in each class by identity: a wrapper equals what it wraps."""
    return [{name: id(value) for name, value in vars(owner).items()} for owner in HOOKED]


def echo_server(**options: Any) -> socketio.AsyncServer:
    sio = server(**options)

    @sio.on("chat")
    async def chat(sid: str, *args: object) -> object:
        await sio.emit("answer", 1, to=sid)
        return args

    return sio


@pytest.fixture
def _off() -> Any:
    yield
    turntrace.uninstrument()


def test_uninstrument_restores_every_method_exactly() -> None:
    before = methods()
    turntrace.instrument("socketio")
    changed = methods()
    turntrace.uninstrument()
    assert changed != before
    assert methods() == before


def test_instrumenting_twice_wraps_once() -> None:
    turntrace.instrument("socketio")
    once = methods()
    turntrace.instrument("socketio")
    twice = methods()
    turntrace.uninstrument()
    assert once == twice


@pytest.mark.usefixtures("instrumented")
def test_wrapped_methods_are_still_coroutine_functions_with_their_signatures() -> None:
    assert inspect.iscoroutinefunction(socketio.AsyncServer.emit)
    assert "skip_sid" in inspect.signature(socketio.AsyncServer.emit).parameters
    assert inspect.iscoroutinefunction(server().emit)


@pytest.mark.usefixtures("_off")
async def test_a_server_made_before_is_traced(recorded: Recorded) -> None:
    sio = echo_server()
    turntrace.instrument("asgi", "socketio", "aiohttp")
    async with live(sio) as running:
        await (await running.client()).call("chat")
    assert "socket.io chat" in recorded.names()


@pytest.mark.usefixtures("_off")
async def test_a_connection_made_before_is_traced_without_a_link(recorded: Recorded) -> None:
    async with live(echo_server()) as running:
        client = await running.client()
        turntrace.instrument("asgi", "socketio", "aiohttp")
        await client.call("chat")
    assert recorded.one("socket.io chat").links == ()


@pytest.mark.usefixtures("_off")
async def test_uninstrumented_nothing_is_traced_or_remembered(recorded: Recorded) -> None:
    turntrace.instrument("asgi", "socketio", "aiohttp")
    async with live(echo_server()) as running:
        client = await running.client()
        turntrace.uninstrument()
        count = len(recorded.spans)
        assert await client.call("chat", 1) == 1
        assert len(recorded.spans) == count
        assert open_connections(running.sio) == 0


class FailingProvider(trace.TracerProvider):
    def get_tracer(self, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("telemetry is broken")


@pytest.mark.usefixtures("recorded", "instrumented")
async def test_a_provider_that_fails_at_the_start_of_spans_breaks_no_delivery(
    monkeypatch: pytest.MonkeyPatch, recorded: Recorded
) -> None:
    logging.getLogger("turntrace").setLevel(logging.CRITICAL)
    left: list[str] = []
    sio = echo_server()
    sio.on("disconnect", lambda sid, _reason: left.append(sid))
    # What a test of ours would start while the provider still worked is the current span.
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("action"):
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", FailingProvider())
        async with live(sio) as running:
            client = await running.client()
            assert await client.call("chat", 1) == 1
        await until(lambda: left)
    logging.getLogger("turntrace").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("instrumented")
async def test_a_provider_that_fails_at_the_end_of_spans_breaks_no_delivery(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.getLogger("turntrace").setLevel(logging.CRITICAL)

    def broken(*args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("telemetry is broken")

    left: list[str] = []
    sio = echo_server()
    sio.on("disconnect", lambda sid, _reason: left.append(sid))
    monkeypatch.setattr(recorded.provider, "on_end", broken)
    async with live(sio) as running:
        client = await running.client()
        assert await client.call("chat", 1) == 1
    await until(lambda: left)
    logging.getLogger("turntrace").setLevel(logging.NOTSET)


CANARY = "zq7canary"


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_nothing_a_client_says_is_in_any_span(
    recorded: Recorded,
    transport: str,
    action: Callable[[], AbstractContextManager[trace.Span]],
) -> None:
    sio = server(namespaces="*")

    @sio.on("*", namespace="*")
    async def anything(event: str, namespace: str, sid: str, data: object) -> None:
        raise ValueError(f"{event} {namespace} {data}")

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    namespace = f"/{CANARY}"
    async with live(sio) as running:
        client = await running.client(
            transport,
            namespaces=[namespace],
            auth={"token": CANARY},
            headers={"X-Canary": CANARY, "Cookie": f"a={CANARY}", "User-Agent": CANARY},
        )
        await client.emit(CANARY, {CANARY: CANARY}, namespace=namespace)
        await until(lambda: "socket.io *" in recorded.names())
    wire = otlp.encode_request(otlp.Resource({}), recorded.spans)
    assert b"socket.io *" in wire
    assert CANARY.encode() not in wire
