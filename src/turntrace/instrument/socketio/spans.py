"""Spans of both sides, started and ended so that a failing provider never reaches the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from turntrace import attributes as keys
from turntrace.failsafe import Guarded
from turntrace.record.failure import failed
from turntrace.socket_spans import SCOPE

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span


def start_emit(name: str, context: Context) -> Span | None:
    """Start the span of an emit; None where that fails."""
    with Guarded("the start of a Socket.IO emit span"):
        return trace.get_tracer(SCOPE).start_span(
            f"socket.io emit {name}",
            context,
            SpanKind.PRODUCER,
            {
                keys.MESSAGING_SYSTEM: keys.SOCKETIO_SYSTEM,
                keys.MESSAGING_OPERATION: "emit",
                keys.MESSAGING_OPERATION_NAME: "emit",
                keys.MESSAGING_OPERATION_TYPE: "send",
                keys.SOCKET_EVENT: name,
            },
        )
    return None


def note_failure(span: Span, error: Exception) -> None:
    """Mark ``span`` as failed by ``error``."""
    with Guarded("the failure of a Socket.IO span"):
        failed(span, error)


def end(span: Span) -> None:
    """End ``span``."""
    with Guarded("the end of a Socket.IO span"):
        span.end()
