"""A turn by hand, and what is known of the conversation put on every span of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from turntrace import attributes as keys
from turntrace.literals import is_literal
from turntrace.record.context import TURN_KEY, attach, detach, with_span
from turntrace.record.local_trace import current_local_trace
from turntrace.record.scope import SpanScope
from turntrace.record.span import Span, qualified_type
from turntrace.record.turn_summary import CANCELLED, ERROR, TurnSummary, current_turn

if TYPE_CHECKING:
    from contextvars import Token
    from types import FrameType, TracebackType

    from turntrace.record.span_record import AttributeValue

_SCOPE = "turntrace.conversation"
_UNNAMED = "turn"
_MAX_NAME_LENGTH = 128
_MAX_NAMES = 1000

_names: set[str] = {_UNNAMED}
"""Names of turns that stood as constants in somebody's code."""


class Turn(SpanScope):
    """What ``turn`` returns."""

    __slots__ = ("_attributes", "_entered", "_name")

    def __init__(self, name: str, attributes: dict[str, AttributeValue]) -> None:
        self._name = name
        self._attributes = attributes
        self._entered: list[tuple[trace.Span, TurnSummary, Token[Context]]] = []

    def __enter__(self) -> trace.Span:
        """Start the turn."""
        span = trace.get_tracer(_SCOPE).start_span(
            self._name, kind=SpanKind.INTERNAL, attributes=self._attributes or None
        )
        summary = TurnSummary()
        token = attach(Context({**with_span(span), TURN_KEY: summary}))
        self._entered.append((span, summary, token))
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End the turn with its outcome; what was raised goes on."""
        # Of several tasks inside, the one that leaves is the one whose turn is current here.
        current = current_turn()
        index = next((i for i, entry in enumerate(self._entered) if entry[1] is current), -1)
        span, summary, token = self._entered.pop(index)
        detach(token)
        if isinstance(error, Exception):
            summary.outcome = ERROR
            failed(span, error)
        elif error is not None and not isinstance(error, GeneratorExit):
            summary.outcome = CANCELLED
        elif has_failed(span):
            summary.outcome = ERROR
        span.set_attributes(summary.attributes())
        span.end()

    def _again(self) -> Turn:
        return Turn(self._name, self._attributes)


def turn(name: str, **attributes: AttributeValue) -> Turn:
    """Trace a turn that is no Socket.IO event: a root (or child) span with the turn's summary.

    Use as a context manager or as a decorator of a function, sync or async.

    Args:
        name: A constant in the calling code (see ``turntrace.literals``), up to 128 characters;
            any other name might hold what a user typed, so ``turn`` stands instead.
        attributes: Attributes of the span; keys that turntrace does not know are withheld.

    Example:
        >>> with turn("nightly summary"):
        ...     pass
    """
    caller = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    return Turn(name if _is_constant(name, caller) else _UNNAMED, attributes)


def is_turn_name(name: str) -> bool:
    """Tell whether ``name`` was given to ``turn`` as a constant of somebody's code."""
    return name in _names


def _is_constant(name: object, caller: FrameType) -> bool:
    """Tell whether the calling code holds ``name`` as a constant: what a user typed never is."""
    if not isinstance(name, str) or len(name) > _MAX_NAME_LENGTH:
        return False
    is_constant = is_literal(name, caller)
    if is_constant and name not in _names:
        if len(_names) >= _MAX_NAMES:
            return False
        _names.add(name)
    return is_constant


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
    local_trace = current_local_trace()
    if local_trace is not None:
        local_trace.bind(values)
        return
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(values)


def has_failed(span: trace.Span) -> bool:
    """Tell whether somebody has given ``span`` an error status."""
    status = getattr(span, "status", None)
    return status is not None and status.status_code is trace.StatusCode.ERROR


def failed(span: trace.Span, error: BaseException) -> None:
    """Mark ``span`` as failed by ``error``: its type, never its text."""
    if isinstance(span, Span):
        span.failed(error)
        return
    span.set_attribute(keys.ERROR_TYPE, qualified_type(error))
    span.set_status(trace.StatusCode.ERROR)
