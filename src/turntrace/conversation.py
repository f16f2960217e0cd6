"""A turn by hand, and what is known of the conversation put on every span of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from turntrace import attributes as keys
from turntrace.record.context import TURN_KEY, attach, detach, get_current, with_span
from turntrace.record.local_trace import current_local_trace
from turntrace.record.span import Span, qualified_type
from turntrace.record.turn_summary import CANCELLED, ERROR, TurnSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turntrace.record.span_record import AttributeValue

_SCOPE = "turntrace.conversation"


@contextmanager
def turn(name: str, **attributes: AttributeValue) -> Iterator[trace.Span]:
    """Trace a turn that is no Socket.IO event: a root (or child) span with the turn's summary.

    Args:
        name: Short and constant, never text that a user typed.
        attributes: Attributes of the span; keys that turntrace does not know are withheld.

    Example:
        >>> with turn("nightly summary"):
        ...     pass
    """
    span = trace.get_tracer(_SCOPE).start_span(
        name, kind=SpanKind.INTERNAL, attributes=attributes or None
    )
    summary = TurnSummary()
    token = attach(Context({**with_span(span), TURN_KEY: summary}))
    try:
        yield span
    except Exception as error:
        summary.outcome = ERROR
        failed(span, error)
        raise
    except BaseException:
        summary.outcome = CANCELLED
        raise
    finally:
        detach(token)
        span.set_attributes(summary.attributes())
        span.end()


def bind(
    *,
    session_id: str | None = None,
    user_id: str | None = None,
    room_id: str | None = None,
    phase: str | None = None,
    request_id: str | None = None,
    **attributes: AttributeValue,
) -> None:
    """Put ids on every span of this trace in this process, from now until its spans end.

    ``None`` leaves a value as it is. Outside a trace nothing happens.

    Example:
        >>> bind(session_id="0d9f6a4e", phase="INTAKE")
    """
    values: dict[str, AttributeValue] = dict(attributes)
    known = {
        keys.SESSION_ID: session_id,
        keys.USER_ID: user_id,
        keys.ROOM_ID: room_id,
        keys.TURN_PHASE: phase,
        keys.REQUEST_ID: request_id,
    }
    values.update({key: value for key, value in known.items() if value is not None})
    span = trace.get_current_span()
    local_trace = span.local_trace if isinstance(span, Span) else current_local_trace(get_current())
    if local_trace is not None:
        local_trace.bind(values)
    elif span.is_recording():
        span.set_attributes(values)


def failed(span: trace.Span, error: BaseException) -> None:
    """Mark ``span`` as failed by ``error``: its type, never its text."""
    if isinstance(span, Span):
        span.failed(error)
        return
    span.set_attribute(keys.ERROR_TYPE, qualified_type(error))
    span.set_status(trace.StatusCode.ERROR)
