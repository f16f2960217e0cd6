"""The client's hooks: an emit inside a trace is a span, and its context travels in the packet."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from opentelemetry.context import Context

from turntrace.failsafe import Guarded
from turntrace.instrument.socketio import wire
from turntrace.instrument.socketio.names import EmittedNames
from turntrace.instrument.socketio.spans import end, note_failure, start_emit
from turntrace.record.context import SPAN_KEY, attach, detach, get_current, with_span

if TYPE_CHECKING:
    from turntrace.instrument.patch import Patches

_agreed: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
"""For each client the namespaces whose server wants context in packets."""

_emitting: ContextVar[Context | None] = ContextVar("turntrace_emitting", default=None)

_names = EmittedNames(())
_EVENTS = (2, 5)  # EVENT, BINARY_EVENT


def hook(patches: Patches) -> None:
    """Wrap the methods of ``AsyncClient`` that connect, emit and send."""
    from engineio.async_client import AsyncClient as EngineClient
    from socketio.async_client import AsyncClient

    patches.wrap(EngineClient, "connect", _connect)
    patches.wrap(AsyncClient, "_get_real_value", _get_real_value)
    patches.wrap(AsyncClient, "_handle_connect", _handle_connect)
    patches.wrap(AsyncClient, "emit", _emit)
    patches.wrap(AsyncClient, "_send_packet", _send_packet)


def forget() -> None:
    """Let go of every agreement; for uninstrument."""
    _agreed.clear()


async def _connect(wrapped: Any, _client: Any, args: Any, kwargs: Any) -> Any:
    # The loops that read and write start in here: with the caller's context each poll would be an
    # HTTP span, and each handler a child, of a span that ended long ago.
    token = attach(Context())
    try:
        return await wrapped(*args, **kwargs)
    finally:
        detach(token)


async def _get_real_value(wrapped: Any, client: Any, args: Any, kwargs: Any) -> Any:
    value = await wrapped(*args, **kwargs)
    with Guarded("asking a Socket.IO server for context in packets"):
        if args and args[0] is client.connection_url and isinstance(value, str):
            _agreed.pop(client, None)
            if not wire.speaks(client.packet_class):
                return value
            parts = urlsplit(value)
            query = f"{parts.query}&{wire.ASK}" if parts.query else wire.ASK
            return urlunsplit(parts._replace(query=query))
    return value


async def _handle_connect(wrapped: Any, client: Any, args: Any, kwargs: Any) -> Any:
    with Guarded("a Socket.IO server's answer on context in packets"):
        namespace, data = args
        if isinstance(data, dict) and data.get(wire.ANSWER) == 1:
            _agreed.setdefault(client, set()).add(namespace or "/")
    return await wrapped(*args, **kwargs)


async def _emit(wrapped: Any, _client: Any, args: Any, kwargs: Any) -> Any:
    context = get_current()
    if SPAN_KEY not in context:
        return await wrapped(*args, **kwargs)
    name, _ = _names.judge(args[0] if args else kwargs.get("event"))
    span = start_emit(name, context)
    if span is None:
        return await wrapped(*args, **kwargs)
    inner = with_span(span, context)
    token = attach(inner)
    emitting = _emitting.set(inner)
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        note_failure(span, error)
        raise
    finally:
        _emitting.reset(emitting)
        detach(token)
        end(span)


async def _send_packet(wrapped: Any, client: Any, args: Any, kwargs: Any) -> Any:
    context = _emitting.get()
    if context is not None:
        with Guarded("the context of a Socket.IO packet"):
            packet = kwargs["pkt"] if "pkt" in kwargs else args[0]
            namespace = packet.namespace or "/"
            if packet.packet_type in _EVENTS and namespace in _agreed.get(client, ()):
                packet.namespace = wire.namespace_with_context(namespace, context)
    return await wrapped(*args, **kwargs)
