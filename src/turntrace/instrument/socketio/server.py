"""The server's hooks: every event is a turn of its own, linked to the connection it came on."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry.context import Context

from turntrace import attributes as keys
from turntrace.failsafe import Guarded
from turntrace.instrument import asgi
from turntrace.instrument.socketio import wire
from turntrace.instrument.socketio.names import (
    EmittedNames,
    handled_name,
    namespace_name,
)
from turntrace.instrument.socketio.spans import end, note_failure, start_emit
from turntrace.record.context import SPAN_KEY, TURN_KEY, attach, detach, get_current
from turntrace.record.turn_summary import CANCELLED, TurnSummary, current_turn
from turntrace.settings import DEFAULT_TOKEN_EVENTS
from turntrace.socket_spans import (
    CONNECTION,
    DISCONNECT,
    Connections,
    connection_facts,
    start_connection,
    start_disconnect,
    start_event,
    within,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from turntrace.instrument.patch import Patches
    from turntrace.record.running_turn import RunningTurn

_connections: WeakKeyDictionary[Any, Connections] = WeakKeyDictionary()
"""For each server the connect span of every open sid, so that events can link to it."""

_spoofed: ContextVar[bool] = ContextVar("turntrace_spoofed", default=False)
"""Whether the event being dispatched is a client's own that is merely named ``disconnect``."""

_answering: ContextVar[bool] = ContextVar("turntrace_answering", default=False)
"""Whether the CONNECT reply being sent goes to a client that asked for context in packets."""

_emitted = EmittedNames(DEFAULT_TOKEN_EVENTS)

_CONNECT = 0


def use_token_events(patterns: tuple[str, ...]) -> None:
    """Take emitted events whose name matches one of ``patterns`` for tokens."""
    global _emitted  # noqa: PLW0603 - the hooks are per process, so is this
    _emitted = EmittedNames(patterns)


def hook(patches: Patches) -> None:
    """Wrap the methods of ``AsyncServer`` that see connections, events and emits."""
    from engineio.async_server import AsyncServer as EngineServer
    from socketio.async_server import AsyncServer

    patches.wrap(EngineServer, "handle_request", _handle_request)
    patches.wrap(AsyncServer, "_handle_connect", _handle_connect)
    patches.wrap(AsyncServer, "_handle_event", _dispatch_event)
    patches.wrap(AsyncServer, "_handle_event_internal", _handle_event)
    patches.wrap(AsyncServer, "_trigger_event", _trigger_event)
    patches.wrap(AsyncServer, "_get_event_handler", _get_event_handler)
    patches.wrap(AsyncServer, "_send_packet", _send_packet)
    patches.wrap(AsyncServer, "emit", _emit)


def forget() -> None:
    """Let go of every connection; for uninstrument."""
    _connections.clear()


def open_connections(server: Any) -> int:
    """Return how many connections of ``server`` are remembered."""
    return len(_connections.get(server, ()))


async def _handle_request(wrapped: Any, _server: Any, args: Any, kwargs: Any) -> Any:
    with Guarded("leaving an Engine.IO request without an HTTP span"):
        asgi.leave_out(args[0])
    # The library's own tasks (ping, service task, pub/sub listener) start in here and would carry
    # the context of this request for as long as they live.
    token = attach(Context())
    try:
        return await wrapped(*args, **kwargs)
    finally:
        detach(token)


async def _handle_connect(wrapped: Any, server: Any, args: Any, kwargs: Any) -> Any:
    eio_sid, namespace = _connect_arguments(*args, **kwargs)
    span = None
    is_asked = False
    with Guarded("the start of a Socket.IO connect span"):
        environ = server.environ.get(eio_sid) or {}
        is_asked = wire.asks(environ.get("QUERY_STRING", "")) and wire.speaks(server.packet_class)
        name = namespace_name(server, namespace)
        span = start_connection(_facts(server, eio_sid, name), name)
    if span is None:
        return await wrapped(*args, **kwargs)
    answer = _answering.set(is_asked)
    token = attach(within(span, CONNECTION))
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        note_failure(span, error)
        raise
    finally:
        detach(token)
        _answering.reset(answer)
        with Guarded("the end of a Socket.IO connect span"):
            sid = server.manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is not None and server.manager.is_connected(sid, namespace):
                _connections.setdefault(server, Connections()).opened(sid, span)
                span.set_attribute(keys.SOCKET_ID, sid)
        end(span)


def _connect_arguments(eio_sid: str, namespace: str | None, *_: Any, **__: Any) -> tuple[str, str]:
    return eio_sid, namespace or "/"


def _facts(server: Any, eio_sid: str, namespace: str) -> dict[str, Any]:
    # Not eio.transport(): it raises for a session that has closed meanwhile, and forgets it.
    session = server.eio.sockets.get(eio_sid)
    transport = None if session is None else "websocket" if session.upgraded else "polling"
    return connection_facts(namespace, transport)


async def _dispatch_event(wrapped: Any, server: Any, args: Any, kwargs: Any) -> Any:
    # The handler's task may start after the disconnect that came in the same breath.
    with Guarded("the link of a Socket.IO event"):
        _note_connection(server, *args, **kwargs)
    return await wrapped(*args, **kwargs)


def _note_connection(
    server: Any, eio_sid: str, namespace: str | None, _id: object, data: Any
) -> None:
    if isinstance(data, wire.EventData):
        sid = server.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        known = _connections.get(server)
        data.connected = None if known is None else known.of(sid)


async def _handle_event(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    event = None
    with Guarded("the start of a Socket.IO event span"):
        _spoofed.set(_event_name(*args, **kwargs) == "disconnect")
        event = _start_event(*args, **kwargs)
    if event is None:
        return await wrapped(*args, **kwargs)
    cancelled_before = _cancellations()
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        with Guarded("the outcome of a Socket.IO event"):
            event.broke_off(error)
        raise
    finally:
        with Guarded("the end of a Socket.IO event span"):
            # The library swallows a handler's cancellation; the task remembers that it was one.
            if _cancellations() > cancelled_before:
                event.summary.outcome = CANCELLED
            event.end()


def _cancellations() -> int:
    # A function, for a frame that holds the task would, in the traceback of the handler's
    # exception, keep the task alive and with it the loop's report of that exception.
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _event_name(_server: Any, _sid: str, _eio_sid: str, data: Any, *_: Any, **__: Any) -> object:
    return data[0]


def _start_event(
    server: Any, sid: str, eio_sid: str, data: Any, namespace: str, *_: Any, **__: Any
) -> RunningTurn | None:
    """Start the turn of a received event; None if nobody handles it."""
    name = handled_name(server, namespace, data[0])
    if name is None:
        return None
    connected = getattr(data, "connected", None)
    if connected is None and server in _connections:
        connected = _connections[server].of(sid)
    return start_event(
        name,
        _facts(server, eio_sid, namespace_name(server, namespace)),
        sid=sid,
        size_bytes=getattr(data, "size_bytes", None),
        remote=wire.extract(data, Context()),
        connected=connected,
    )


def _get_event_handler(wrapped: Any, _server: Any, args: Any, kwargs: Any) -> Any:
    found = wrapped(*args, **kwargs)
    turn = current_turn()
    if turn is None or not inspect.iscoroutinefunction(found[0]):
        return found
    handler, handler_arguments = found

    async def noting_cancellation(*arguments: Any) -> Any:
        # A handler that awaits an answer's task, which was cancelled, ends so; the library
        # swallows it, and this task itself was never cancelled.
        try:
            return await handler(*arguments)
        except asyncio.CancelledError:
            turn.outcome = CANCELLED
            raise

    return noting_cancellation, handler_arguments


def _trigger_event(wrapped: Any, server: Any, args: Any, kwargs: Any) -> Any:
    # Runs for every event: only a disconnect that the library itself reports is looked at.
    if not args or args[0] != "disconnect":
        return wrapped(*args, **kwargs)
    if _spoofed.get():
        _spoofed.set(False)
        return wrapped(*args, **kwargs)
    return _disconnected(wrapped, server, args, kwargs)


async def _disconnected(wrapped: Any, server: Any, args: Any, kwargs: Any) -> Any:
    span = None
    with Guarded("the start of a Socket.IO disconnect span"):
        span = _disconnect_span(server, *args[1:])
    if span is None:
        return await wrapped(*args, **kwargs)
    token = attach(within(span, DISCONNECT))
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        note_failure(span, error)
        raise
    finally:
        detach(token)
        end(span)


def _disconnect_span(server: Any, namespace: str, sid: str, reason: object = None, *_: Any) -> Span:
    known = _connections.get(server)
    facts = connection_facts(namespace_name(server, namespace), None)
    connected = None if known is None else known.closed(sid)
    return start_disconnect(facts, sid=sid, reason=reason, connected=connected)


async def _send_packet(wrapped: Any, _server: Any, args: Any, kwargs: Any) -> Any:
    if _answering.get():
        with Guarded("the answer to a Socket.IO client that asked for context"):
            packet = kwargs["pkt"] if "pkt" in kwargs else args[1]
            if packet.packet_type == _CONNECT and isinstance(packet.data, dict):
                packet.data[wire.ANSWER] = 1
    return await wrapped(*args, **kwargs)


def _emit(wrapped: Any, _server: Any, args: Any, kwargs: Any) -> Any:
    # A plain function: one coroutine less to make and await for each token.
    name, is_token = _emitted.judge(args[0] if args else kwargs.get("event"))
    context = get_current()
    if is_token:
        turn = context.get(TURN_KEY)
        if isinstance(turn, TurnSummary):
            turn.emitted_token()
        return wrapped(*args, **kwargs)
    if SPAN_KEY not in context:
        return wrapped(*args, **kwargs)
    return _emit_in_span(wrapped, name, context, args, kwargs)


async def _emit_in_span(wrapped: Any, name: str, context: Context, args: Any, kwargs: Any) -> Any:
    span = start_emit(name, context)
    if span is None:
        return await wrapped(*args, **kwargs)
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        note_failure(span, error)
        raise
    finally:
        end(span)
