"""Connections and events of Socket.IO traced by hand, for servers that no hook sees."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from opentelemetry import propagate
from opentelemetry.context import Context

from turntrace import attributes as keys
from turntrace.failsafe import Guarded
from turntrace.literals import is_literal
from turntrace.record.context import attach, detach, get_current
from turntrace.record.failure import failed
from turntrace.record.running_turn import RunningTurn
from turntrace.record.scope import SpanScope
from turntrace.socket_spans import (
    CONNECTION,
    DISCONNECT,
    MADE_KEY,
    OTHER,
    RECEIVE,
    Connections,
    Made,
    connection_facts,
    is_refusal,
    sid_of,
    start_connection,
    start_disconnect,
    start_event,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from types import FrameType

    from opentelemetry.trace import Span

_State: TypeAlias = "RunningTurn | tuple[Span, Token[Context]] | None"

_by_hand = Connections()
"""Connections that a handler traced by hand."""


class _Plan(NamedTuple):
    """What a scope by hand was told."""

    operation: str
    name: str
    facts: dict[str, Any]
    sid: str | None
    remote: Context | None = None
    size_bytes: int | None = None
    reason: object = None


class SocketScope(SpanScope[_State]):
    """What ``trace_socket_event``, ``trace_connection`` and ``trace_disconnect`` return.

    Inside an open span that the hooks, or another scope, made of the same thing it makes none: it
    yields that one.
    """

    __slots__ = ("_plan",)

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self._plan = plan

    def _start(self) -> tuple[Span, _State]:
        plan = self._plan
        around = get_current().get(MADE_KEY)
        if isinstance(around, Made) and around.covers(plan.operation, plan.name, plan.sid):
            return around.span, None
        if plan.operation == RECEIVE:
            running = start_event(
                plan.name,
                plan.facts,
                sid=plan.sid,
                size_bytes=plan.size_bytes,
                remote=plan.remote,
                connected=_by_hand.of(plan.sid),
                is_hooked=False,
            )
            return running.span, running
        if plan.operation == DISCONNECT:
            connected = _by_hand.closed(plan.sid)
            span = start_disconnect(
                plan.facts, sid=plan.sid, reason=plan.reason, connected=connected
            )
        else:
            span = start_connection(plan.facts, plan.name)
            if plan.sid is not None:
                span.set_attribute(keys.SOCKET_ID, plan.sid)
                _by_hand.opened(plan.sid, span)
        context = within(span, plan.operation, plan.name, plan.sid, is_hooked=False)
        return span, (span, attach(context))

    def _stop(
        self,
        state: _State,
        error: BaseException | None,
    ) -> None:
        if state is None:
            return
        if isinstance(state, RunningTurn):
            state.end(error)
            return
        span, token = state
        detach(token)
        if error is not None:
            _by_hand.closed(self._plan.sid)
        try:
            if isinstance(error, Exception) and not is_refusal(error):
                failed(span, error)
        finally:
            span.end()

    def _again(self) -> SocketScope:
        return SocketScope(self._plan)

    def _scopes(self, function: Callable[..., Any]) -> Callable[..., SocketScope]:
        """Take sid and reason from the arguments of those names, and from no other."""
        plan = self._plan
        try:
            names = list(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            return lambda *_, **__: self._again()

        def argument(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if name in kwargs:
                return kwargs[name]
            index = names.index(name) if name in names else len(args)
            return args[index] if index < len(args) else None

        def scope(*args: Any, **kwargs: Any) -> SocketScope:
            sid = plan.sid or sid_of(argument("sid", args, kwargs))
            reason = plan.reason or argument("reason", args, kwargs)
            return SocketScope(plan._replace(sid=sid, reason=reason))

        return scope

    def _returned(self, result: object) -> None:
        if self._plan.operation == CONNECTION and result is False:
            _by_hand.closed(self._plan.sid)  # that is how a handler refuses


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

    Use as a context manager in a handler, or as its decorator: then the handler's parameter named
    ``sid``, if it has one, is the connection. The turn is a root of its own, linked to the connect
    span that ``trace_connection`` made for the same sid. Under ``turntrace.instrument()`` the
    handler's turn is there already; this then yields its span and makes no other.

    Args:
        event: The event's name, a constant of the calling code; for any other name ``*`` stands.
        sid: The connection: up to 64 letters, digits, ``-`` and ``_``; another text is left out.
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
    size = size_bytes if isinstance(size_bytes, int) else None
    name = _own_name(event, caller)
    return SocketScope(_Plan(RECEIVE, name, facts, sid_of(sid), remote, size))


def trace_connection(
    sid: str | None = None, *, namespace: str = "/", transport: str | None = None
) -> SocketScope:
    """Trace a Socket.IO connect handler: a short trace of its own that later events link to.

    As a decorator it takes the sid from the handler's parameter of that name. A refusal (``False``
    or ``socketio.exceptions.ConnectionRefusedError``) is no failure. Under
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
    return SocketScope(_Plan(CONNECTION, name, connection_facts(name, transport), sid_of(sid)))


def trace_disconnect(
    sid: str | None = None,
    *,
    reason: str | None = None,
    namespace: str = "/",
    transport: str | None = None,
) -> SocketScope:
    """Trace a Socket.IO disconnect handler: a short trace of its own, linked to the connect span.

    As a decorator it takes sid and reason from the handler's parameters of those names. Under
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
    facts = connection_facts(name, transport)
    return SocketScope(_Plan(DISCONNECT, name, facts, sid_of(sid), reason=reason))


def _own_name(name: str, caller: FrameType) -> str:
    return name if name == "/" or is_literal(name, caller) else OTHER
