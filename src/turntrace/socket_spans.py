"""The spans of a Socket.IO connection and its events: what the hooks and handlers by hand share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

from turntrace import attributes as keys
from turntrace.record.context import with_span
from turntrace.record.running_turn import RunningTurn

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

SCOPE = "turntrace.socketio"

OTHER = "*"
"""Stands for an event or namespace whose name is not the app's own."""

CONNECTION, RECEIVE, DISCONNECT = "connection", "receive", "disconnect"

MADE_KEY = otel_context.create_key("turntrace-socket-span")
"""In the context of a Socket.IO span: what it is of, so that nobody makes it twice."""

_MAX_CONNECTIONS = 50_000
_SID = re.compile(r"[\w-]{1,64}", re.ASCII)


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


def connection_facts(namespace: str, transport: str | None) -> dict[str, Any]:
    """Return the attributes that every Socket.IO span has; ``namespace`` is the app's own name."""
    values: dict[str, Any] = {
        keys.MESSAGING_SYSTEM: keys.SOCKETIO_SYSTEM,
        keys.MESSAGING_DESTINATION_NAME: namespace,
    }
    if isinstance(transport, str) and transport in keys.TRANSPORTS:
        values[keys.SOCKET_TRANSPORT] = transport
    return values


def start_connection(facts: dict[str, Any], namespace: str) -> Span:
    """Start the short span of a connect handler: a trace of its own."""
    values = {**facts, keys.MESSAGING_OPERATION: CONNECTION}
    return trace.get_tracer(SCOPE).start_span(
        f"socket.io connect {namespace}", Context(), SpanKind.SERVER, values
    )


def within(
    span: Span, operation: str, name: str = "", sid: str | None = None, *, is_hooked: bool = True
) -> Context:
    """Return an otherwise empty context in which ``span`` is current."""
    made = Made(operation, span, name, sid, is_hooked)
    return Context({**with_span(span, Context()), MADE_KEY: made})


def start_event(
    name: str,
    facts: dict[str, Any],
    *,
    sid: str | None,
    size_bytes: int | None = None,
    remote: Context | None = None,
    connected: SpanContext | None = None,
    is_hooked: bool = True,
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
        is_hooked: Whether a hook starts it, and no handler by hand.
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
    return RunningTurn(span, context, {MADE_KEY: Made(RECEIVE, span, name, sid, is_hooked)})


def start_disconnect(
    facts: dict[str, Any], *, sid: str | None, reason: object, connected: SpanContext | None
) -> Span:
    """Start the short span of a disconnect handler: a trace of its own, with the reason."""
    values = {**facts, keys.MESSAGING_OPERATION: DISCONNECT}
    if sid is not None:
        values[keys.SOCKET_ID] = sid
    if isinstance(reason, str) and reason in keys.DISCONNECT_REASONS:
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


class Made(NamedTuple):
    """A Socket.IO span that is open, in its context."""

    operation: str
    span: Span
    name: str
    sid: str | None
    is_hooked: bool

    def covers(self, operation: str, name: str, sid: str | None) -> bool:
        """Tell whether a scope of that kind would trace the same thing once more.

        A hook sees an event before any handler does, so whatever is in there is that event;
        by hand, a handler may call another's.
        """
        if self.operation != operation or not self.span.is_recording():
            return False
        is_same_sid = self.sid is None or sid is None or self.sid == sid
        return self.is_hooked or (self.name == name and is_same_sid)


def sid_of(value: object) -> str | None:
    """Return ``value`` if it looks like the id of a connection, and not like what was typed."""
    is_sid = isinstance(value, str) and _SID.fullmatch(value) is not None
    return str(value) if is_sid else None
