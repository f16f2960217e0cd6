"""The spans of a Socket.IO connection and its events: what the hooks and handlers by hand share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind

from turntrace import attributes as keys
from turntrace.failsafe import Guarded
from turntrace.literals import is_literal
from turntrace.record.context import attach, detach, get_current, with_span
from turntrace.record.failure import failed
from turntrace.record.running_turn import RunningTurn
from turntrace.record.scope import SpanScope

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token
    from types import FrameType, TracebackType

    from opentelemetry.trace import Span, SpanContext

SCOPE = "turntrace.socketio"

OTHER = "*"
"""Stands for an event or namespace whose name is not the app's own."""

CONNECTION, RECEIVE, DISCONNECT = "connection", "receive", "disconnect"

REASONS = frozenset(
    {
        "client disconnect",
        "server disconnect",
        "ping timeout",
        "transport close",
        "transport error",
        "unknown",
    }
)
"""The values of ``socket.disconnect_reason``: python-socketio's own and those of the protocol."""

TRANSPORTS = frozenset({"websocket", "polling", "webtransport"})

_OPERATION_KEY = otel_context.create_key("turntrace-socket-operation")
"""In the context of a Socket.IO span: its operation and itself, so that nobody makes it twice."""

_MAX_CONNECTIONS = 50_000


class Connections:
    """The connect span of each open sid, so that its events can link to it; bounded."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: dict[str, SpanContext] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def opened(self, sid: str, span: Span) -> None:
        """Remember a connection; the oldest is forgotten where there are too many."""
        self._spans[sid] = span.get_span_context()
        if len(self._spans) > _MAX_CONNECTIONS:
            self._spans.pop(next(iter(self._spans)), None)

    def of(self, sid: str | None) -> SpanContext | None:
        """Return the connect span of ``sid``, if it is known."""
        return None if sid is None else self._spans.get(sid)

    def closed(self, sid: str | None) -> SpanContext | None:
        """Forget ``sid`` and return its connect span, if it is known."""
        return None if sid is None else self._spans.pop(sid, None)


_by_hand = Connections()
"""Connections that a handler traced by hand."""


def connection_facts(namespace: str, transport: str | None) -> dict[str, Any]:
    """Return the attributes that every Socket.IO span has; ``namespace`` is the app's own name."""
    values: dict[str, Any] = {
        keys.MESSAGING_SYSTEM: keys.SOCKETIO_SYSTEM,
        keys.MESSAGING_DESTINATION_NAME: namespace,
    }
    if transport in TRANSPORTS:
        values[keys.SOCKET_TRANSPORT] = transport
    return values


def start_connection(facts: dict[str, Any], namespace: str) -> Span:
    """Start the short span of a connect handler: a trace of its own."""
    values = {**facts, keys.MESSAGING_OPERATION: CONNECTION}
    return trace.get_tracer(SCOPE).start_span(
        f"socket.io connect {namespace}", Context(), SpanKind.SERVER, values
    )


def within(span: Span, operation: str) -> Context:
    """Return an otherwise empty context in which ``span`` is current."""
    return Context({**with_span(span, Context()), _OPERATION_KEY: (operation, span)})


def start_event(
    name: str,
    facts: dict[str, Any],
    *,
    sid: str | None,
    size_bytes: int | None = None,
    remote: Context | None = None,
    connected: SpanContext | None = None,
) -> RunningTurn:
    """Start the local root of a turn: a received event, linked to its connection.

    Never below the context of the connection: asyncio copies that of the websocket's request into
    every handler, and under polling that request has ended already.

    Args:
        name: The event, as its handler was registered.
        facts: See ``connection_facts``.
        sid: The connection it came on.
        size_bytes: Bytes of the packet.
        remote: What the event carried, as a context; without it the event is a root.
        connected: The connect span.
    """
    values = {
        **facts,
        keys.MESSAGING_OPERATION: RECEIVE,
        keys.MESSAGING_OPERATION_NAME: "process",
        keys.MESSAGING_OPERATION_TYPE: "process",
        keys.SOCKET_EVENT: name,
    }
    if sid is not None:
        values[keys.SOCKET_ID] = sid
    if size_bytes is not None:
        values[keys.SOCKET_CONTENT_LENGTH] = size_bytes
        values[keys.MESSAGING_MESSAGE_BODY_SIZE] = size_bytes
    context = Context() if remote is None else remote
    span = trace.get_tracer(SCOPE).start_span(
        f"socket.io {name}",
        context,
        SpanKind.CONSUMER,
        values,
        [Link(connected)] if connected is not None else None,
    )
    return RunningTurn(span, context, {_OPERATION_KEY: (RECEIVE, span)})


def start_disconnect(
    facts: dict[str, Any], *, sid: str | None, reason: object, connected: SpanContext | None
) -> Span:
    """Start the short span of a disconnect handler: a trace of its own, with the reason."""
    values = {**facts, keys.MESSAGING_OPERATION: DISCONNECT}
    if sid is not None:
        values[keys.SOCKET_ID] = sid
    if reason in REASONS:
        values[keys.SOCKET_DISCONNECT_REASON] = reason
    return trace.get_tracer(SCOPE).start_span(
        "socket.io disconnect",
        Context(),
        SpanKind.INTERNAL,
        values,
        [Link(connected)] if connected is not None else None,
    )


def is_refusal(error: BaseException) -> bool:
    """Tell whether ``error`` is how a Socket.IO connect handler says no: that is no failure."""
    return any(
        kind.__name__ == "ConnectionRefusedError" and kind.__module__.startswith("socketio.")
        for kind in type(error).__mro__
    )


class SocketScope(SpanScope):
    """What ``trace_socket_event``, ``trace_connection`` and ``trace_disconnect`` return.

    Inside an open span that the hooks, or another scope, made of the same operation it makes
    none: it yields that one.
    """

    __slots__ = ("_entered", "_facts", "_name", "_operation", "_remote", "_sid", "_size_or_reason")

    def __init__(  # noqa: PLR0917 - private to this module
        self,
        operation: str,
        name: str,
        facts: dict[str, Any],
        sid: str | None,
        remote: Context | None = None,
        size_or_reason: object = None,
    ) -> None:
        self._operation = operation
        self._name = name
        self._facts = facts
        self._sid = sid
        self._remote = remote
        self._size_or_reason = size_or_reason
        self._entered: list[RunningTurn | tuple[Span, Token[Context]] | None] = []

    def __enter__(self) -> Span:
        """Start the span and make it current, or join the one that is there."""
        around: Any = get_current().get(_OPERATION_KEY)
        if around is not None and around[0] == self._operation and around[1].is_recording():
            self._entered.append(None)
            made: Span = around[1]
            return made
        if self._operation == RECEIVE:
            size = self._size_or_reason
            running = start_event(
                self._name,
                self._facts,
                sid=self._sid,
                size_bytes=size if isinstance(size, int) else None,
                remote=self._remote,
                connected=_by_hand.of(self._sid),
            )
            self._entered.append(running)
            return running.span
        span = self._start_short()
        self._entered.append((span, attach(within(span, self._operation))))
        return span

    def _start_short(self) -> Span:
        if self._operation == DISCONNECT:
            return start_disconnect(
                self._facts,
                sid=self._sid,
                reason=self._size_or_reason,
                connected=_by_hand.closed(self._sid),
            )
        span = start_connection(self._facts, self._name)
        if self._sid is not None:
            span.set_attribute(keys.SOCKET_ID, self._sid)
            _by_hand.opened(self._sid, span)
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End the span with its outcome; what was raised goes on."""
        entered = self._entered.pop()
        if entered is None:
            return
        if isinstance(entered, RunningTurn):
            if error is not None:
                entered.broke_off(error)
            entered.end()
            return
        span, token = entered
        detach(token)
        if error is not None and is_refusal(error):
            _by_hand.closed(self._sid)
        elif isinstance(error, Exception):
            failed(span, error)
        span.end()

    def _again(self, arguments: tuple[Any, ...]) -> SocketScope:
        """Return a scope for one call of a handler: ``(sid, ...)``, or a method's with self."""
        sid, reason = self._sid, self._size_or_reason
        if sid is None:
            found = next((i for i, a in enumerate(arguments[:2]) if isinstance(a, str)), None)
            if found is not None:
                sid = arguments[found]
                if self._operation == DISCONNECT and reason is None:
                    reason = next(iter(arguments[found + 1 :]), None)
        return SocketScope(self._operation, self._name, self._facts, sid, self._remote, reason)


def trace_socket_event(
    event: str,
    *,
    sid: str | None = None,
    namespace: str = "/",
    transport: str | None = None,
    size_bytes: int | None = None,
    carrier: Mapping[str, str] | None = None,
) -> SocketScope:
    """Trace one received Socket.IO event as a turn; for servers that no hook sees.

    Use as a context manager in a handler, or as its decorator: then the handler's first text
    argument is the sid. The turn is a root of its own, linked to the connect span that
    ``trace_connection`` made for the same sid. Under ``turntrace.instrument()`` the handler's turn
    is there already; this then yields its span and makes no other.

    Args:
        event: The event's name, a constant of the calling code; for any other name ``*`` stands.
        sid: The connection.
        namespace: A constant of the calling code as well.
        transport: ``websocket`` or ``polling``.
        size_bytes: Bytes of the payload.
        carrier: Fields with the client's trace context (``traceparent``), if the event has any.

    Example:
        >>> @trace_socket_event("chat:user_message")
        ... def on_message(sid, message): ...
        >>> on_message("a1", {"content": "..."})
    """
    caller = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    facts = connection_facts(_own_name(namespace, caller), transport)
    remote = None
    if carrier:
        with Guarded("the context that came with a Socket.IO event"):
            remote = propagate.extract(carrier, Context())
    return SocketScope(RECEIVE, _own_name(event, caller), facts, sid, remote, size_bytes)


def trace_connection(
    sid: str | None = None, *, namespace: str = "/", transport: str | None = None
) -> SocketScope:
    """Trace a Socket.IO connect handler: a short trace of its own that later events link to.

    As a decorator it takes the sid from the handler's first text argument. A refusal
    (``socketio.exceptions.ConnectionRefusedError``) is no failure. Under
    ``turntrace.instrument()`` the span is there already and no other is made.

    Args:
        sid: The connection; remembered, for at most 50,000 connections, until
            ``trace_disconnect``.
        namespace: A constant of the calling code; for any other ``*`` stands.
        transport: ``websocket`` or ``polling``.

    Example:
        >>> with trace_connection("a1", transport="websocket"):
        ...     pass
    """
    caller = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    name = _own_name(namespace, caller)
    return SocketScope(CONNECTION, name, connection_facts(name, transport), sid)


def trace_disconnect(
    sid: str | None = None,
    *,
    reason: str | None = None,
    namespace: str = "/",
    transport: str | None = None,
) -> SocketScope:
    """Trace a Socket.IO disconnect handler: a short trace of its own, linked to the connect span.

    As a decorator it takes sid and reason from the handler's arguments. Under
    ``turntrace.instrument()`` the span is there already and no other is made.

    Args:
        sid: The connection, forgotten now.
        reason: One of python-socketio's (``client disconnect``, ``ping timeout``, ...); any other
            text is left out.
        namespace: A constant of the calling code; for any other ``*`` stands.
        transport: ``websocket`` or ``polling``.

    Example:
        >>> with trace_disconnect("a1", reason="client disconnect"):
        ...     pass
    """
    caller = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    name = _own_name(namespace, caller)
    return SocketScope(DISCONNECT, name, connection_facts(name, transport), sid, None, reason)


def _own_name(name: str, caller: FrameType) -> str:
    return name if name == "/" or is_literal(name, caller) else OTHER
