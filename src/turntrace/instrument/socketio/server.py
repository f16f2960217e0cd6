"""The server's hooks: every event is a turn of its own, linked to the connection it came on."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind

from turntrace import attributes as keys
from turntrace.conversation import has_failed
from turntrace.failsafe import Guarded
from turntrace.instrument import asgi
from turntrace.instrument.socketio import wire
from turntrace.instrument.socketio.names import (
    EmittedNames,
    handled_name,
    namespace_name,
)
from turntrace.instrument.socketio.spans import SCOPE, end, note_failure, start_emit
from turntrace.record.context import SPAN_KEY, TURN_KEY, attach, detach, get_current, with_span
from turntrace.record.turn_summary import CANCELLED, ERROR, OK, TurnSummary, current_turn
from turntrace.settings import DEFAULT_TOKEN_EVENTS

if TYPE_CHECKING:
    from turntrace.instrument.patch import Patches

_connections: WeakKeyDictionary[Any, dict[str, SpanContext]] = WeakKeyDictionary()
"""For each server the connect span of every open sid, so that events can link to it."""

_spoofed: ContextVar[bool] = ContextVar("turntrace_spoofed", default=False)
"""Whether the event being dispatched is a client's own that is merely named ``disconnect``."""

_answering: ContextVar[bool] = ContextVar("turntrace_answering", default=False)
"""Whether the CONNECT reply being sent goes to a client that asked for context in packets."""

_emitted = EmittedNames(DEFAULT_TOKEN_EVENTS)

_CONNECT = 0
_REASONS = frozenset(
    {
        "client disconnect",
        "server disconnect",
        "ping timeout",
        "transport close",
        "transport error",
        "unknown",
    }
)


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
        span = trace.get_tracer(SCOPE).start_span(
            f"socket.io connect {name}",
            Context(),
            SpanKind.SERVER,
            {
                **_common(server, eio_sid, name),
                keys.MESSAGING_OPERATION: "connection",
            },
        )
    if span is None:
        return await wrapped(*args, **kwargs)
    answer = _answering.set(is_asked)
    token = attach(with_span(span, Context()))
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
                _connections.setdefault(server, {})[sid] = span.get_span_context()
                span.set_attribute(keys.SOCKET_ID, sid)
        end(span)


def _connect_arguments(eio_sid: str, namespace: str | None, *_: Any, **__: Any) -> tuple[str, str]:
    return eio_sid, namespace or "/"


def _common(server: Any, eio_sid: str, namespace: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        keys.MESSAGING_SYSTEM: keys.SOCKETIO_SYSTEM,
        keys.MESSAGING_DESTINATION_NAME: namespace,
    }
    # Not eio.transport(): it raises for a session that has closed meanwhile, and forgets it.
    session = server.eio.sockets.get(eio_sid)
    if session is not None:
        values[keys.SOCKET_TRANSPORT] = "websocket" if session.upgraded else "polling"
    return values


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
        data.connected = _connections.get(server, {}).get(sid)


async def _handle_event(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    event = None
    with Guarded("the start of a Socket.IO event span"):
        _spoofed.set(_event_name(*args, **kwargs) == "disconnect")
        event = _Event.start(*args, **kwargs)
    if event is None:
        return await wrapped(*args, **kwargs)
    cancelled_before = _cancellations()
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        event.summary.outcome = ERROR
        note_failure(event.span, error)
        raise
    except BaseException:
        event.summary.outcome = CANCELLED
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


class _Event:
    """One received event while its handler runs."""

    __slots__ = ("_token", "span", "summary")

    def __init__(self, span: trace.Span, context: Context) -> None:
        self.span = span
        self.summary = TurnSummary()
        self._token = attach(Context({**with_span(span, context), TURN_KEY: self.summary}))

    @classmethod
    def start(
        cls, server: Any, sid: str, eio_sid: str, data: Any, namespace: str, *_: Any, **__: Any
    ) -> _Event | None:
        """Start the local root of a turn; None if nobody handles the event."""
        name = handled_name(server, namespace, data[0])
        if name is None:
            return None
        values = {
            **_common(server, eio_sid, namespace_name(server, namespace)),
            keys.MESSAGING_OPERATION: "receive",
            keys.MESSAGING_OPERATION_NAME: "process",
            keys.MESSAGING_OPERATION_TYPE: "process",
            keys.SOCKET_ID: sid,
            keys.SOCKET_EVENT: name,
        }
        size = getattr(data, "size_bytes", None)
        if size is not None:
            values[keys.SOCKET_CONTENT_LENGTH] = size
            values[keys.MESSAGING_MESSAGE_BODY_SIZE] = size
        # Never the context of the connection: asyncio copies that of the websocket's request
        # into every handler, and under polling that request has ended already.
        context = wire.extract(data, Context())
        connected = getattr(data, "connected", None) or _connections.get(server, {}).get(sid)
        span = trace.get_tracer(SCOPE).start_span(
            f"socket.io {name}",
            context,
            SpanKind.CONSUMER,
            values,
            [Link(connected)] if connected is not None else None,
        )
        return cls(span, context)

    def end(self) -> None:
        """Write the turn's summary and end its root."""
        detach(self._token)
        if self.summary.outcome == OK and has_failed(self.span):
            self.summary.outcome = ERROR  # the app has coped with an error, and said so
        self.span.set_attributes(self.summary.attributes())
        self.span.end()


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
    token = attach(with_span(span, Context()))
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        note_failure(span, error)
        raise
    finally:
        detach(token)
        end(span)


def _disconnect_span(
    server: Any, namespace: str, sid: str, reason: object = None, *_: Any
) -> trace.Span:
    connected = _connections.get(server, {}).pop(sid, None)
    values: dict[str, Any] = {
        keys.MESSAGING_SYSTEM: keys.SOCKETIO_SYSTEM,
        keys.MESSAGING_DESTINATION_NAME: namespace_name(server, namespace),
        keys.MESSAGING_OPERATION: "disconnect",
        keys.SOCKET_ID: sid,
    }
    if reason in _REASONS:
        values[keys.SOCKET_DISCONNECT_REASON] = reason
    return trace.get_tracer(SCOPE).start_span(
        "socket.io disconnect",
        Context(),
        SpanKind.INTERNAL,
        values,
        [Link(connected)] if connected is not None else None,
    )


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
