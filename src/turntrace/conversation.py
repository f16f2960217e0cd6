"""A turn by hand, and what is known of the conversation put on the spans of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from turntrace import attributes as keys
from turntrace import shapes
from turntrace.call_sites import origins
from turntrace.failsafe import Guarded
from turntrace.literals import is_literal
from turntrace.record.context import get_current
from turntrace.record.local_trace import current_local_trace
from turntrace.record.running_turn import RunningTurn
from turntrace.record.scope import SpanScope
from turntrace.record.span import Span
from turntrace.record.turn_summary import current_turn
from turntrace.registry import KNOWN

if TYPE_CHECKING:
    from types import FrameType

    from opentelemetry.context import Context

    from turntrace.call_sites import Origin
    from turntrace.record.span_record import AttributeValue

_SCOPE = "turntrace.conversation"
_UNNAMED = "turn"
_MAX_NAME_LENGTH = 128
_MAX_NAMES = 1000

_names: set[str] = {_UNNAMED}
"""Names of turns that stood as constants in somebody's code."""


class Turn(SpanScope[RunningTurn]):
    """What ``turn`` returns."""

    __slots__ = ("_attributes", "_name", "_origins")

    def __init__(
        self,
        name: str,
        attributes: dict[str, AttributeValue],
        origins: dict[str, Origin] | None = None,
    ) -> None:
        super().__init__()
        self._name = name
        self._attributes = attributes
        self._origins = origins

    def _start(self) -> tuple[trace.Span, RunningTurn]:
        span = trace.get_tracer(_SCOPE).start_span(
            self._name, kind=SpanKind.INTERNAL, attributes=self._attributes or None
        )
        if isinstance(span, Span):
            span.origins = self._origins
        return span, RunningTurn(span)

    def _stop(self, state: RunningTurn, error: BaseException | None) -> None:
        state.end(error)

    def _again(self) -> Turn:
        return Turn(self._name, self._attributes, self._origins)


def turn(name: str, **attributes: AttributeValue) -> Turn:
    """Trace a turn that is no Socket.IO event: a root (or child) span with the turn's summary.

    Use as a context manager or as a decorator of a function, sync or async. Inside another turn
    it is a turn of its own: what happens in it counts for it, not for the outer one.

    Args:
        name: A constant in the calling code (see ``turntrace.literals``), up to 128 characters;
            any other name might hold what a user typed, so ``turn`` stands instead.
        attributes: Attributes of the span. Under keys of the app's own numbers, booleans and enum
            members leave; text only if ``register_attributes`` declared its shape.

    Example:
        >>> with turn("nightly summary"):
        ...     pass
    """
    caller = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    return Turn(
        name if _is_constant(name, caller) else _UNNAMED,
        _own_keys(attributes),
        origins(attributes, KNOWN, caller),
    )


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
    values = _own_keys(attributes)
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
        caller = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
        local_trace.bind(values, origins(attributes, KNOWN, caller))
        return
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(values)


def _own_keys(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Leave out statements, which only the database hooks may write: theirs hold no values."""
    return {key: value for key, value in attributes.items() if key not in keys.STATEMENTS}


def add_message_attributes(
    *,
    session_id: str | None = None,
    user_id: str | None = None,
    content_length: int | None = None,
    validation_passed: bool | None = None,
    error_count: int | None = None,
    span: trace.Span | None = None,
) -> None:
    """Say what is known of a received message: whose it is, how long, whether it was valid.

    The ids go on every span of the trace (``bind``), the rest on the turn's root. ``None`` says
    nothing. The message itself is not asked for: give its length.

    Args:
        session_id: The conversation.
        user_id: Who wrote.
        content_length: Characters or bytes of the content, as ``socket.content_length``.
        validation_passed: Whether the payload was what it should be.
        error_count: Fields of the payload that were not, as ``validation.error_count``.
        span: The span to write on instead of the turn's root.

    Example:
        >>> add_message_attributes(session_id="0d9f6a4e", content_length=42, validation_passed=True)
    """
    bind(session_id=session_id, user_id=user_id)
    _add(
        span,
        {
            keys.SOCKET_CONTENT_LENGTH: content_length,
            keys.VALIDATION_PASSED: validation_passed,
            keys.VALIDATION_ERROR_COUNT: error_count,
        },
    )


def add_join_attributes(
    *,
    room: str | None = None,
    session_id: str | None = None,
    user_id: str | None = None,
    room_id: str | None = None,
    span: trace.Span | None = None,
) -> None:
    """Say which room was joined, and for which conversation.

    Args:
        room: The Socket.IO room, as ``socket.room``: an identifier of up to 128 characters; a
            name with other characters does not leave.
        session_id: The conversation, on every span of the trace.
        user_id: Who joined, on every span of the trace.
        room_id: The app's own room (``room.id``), on every span of the trace.
        span: The span to write on instead of the turn's root.

    Example:
        >>> add_join_attributes(room="session:0d9f6a4e", session_id="0d9f6a4e")
    """
    bind(session_id=session_id, user_id=user_id, room_id=room_id)
    _add(span, {keys.SOCKET_ROOM: None if room is None else shapes.ID.clean(room)})


def add_rate_limit_attributes(
    *, exceeded: bool | None = None, remaining: int | None = None, span: trace.Span | None = None
) -> None:
    """Say what the rate limit made of this event or request.

    Args:
        exceeded: Whether it was refused, as ``rate_limit.exceeded``.
        remaining: How many may still come for now, as ``rate_limit.tokens_remaining`` and
            ``socket.rate_limit.remaining``.
        span: The span to write on instead of the turn's root.

    Example:
        >>> add_rate_limit_attributes(exceeded=False, remaining=9)
    """
    _add(
        span,
        {
            keys.RATE_LIMIT_EXCEEDED: exceeded,
            keys.RATE_LIMIT_TOKENS_REMAINING: remaining,
            keys.SOCKET_RATE_LIMIT_REMAINING: remaining,
        },
    )


def add_security_attributes(
    *,
    prompt_injection: bool | Literal["none", "low", "medium", "high"] | None = None,
    content_sanitized: bool | None = None,
    span: trace.Span | None = None,
) -> None:
    """Say what a look at the message's safety found.

    Args:
        prompt_injection: Whether the message looked like an attempt; or how much so, which sets
            ``security.prompt_injection.risk`` as well (``none`` and ``low`` are no attempts).
            Another text counts as an attempt and is not written.
        content_sanitized: Whether something was taken out of the message.
        span: The span to write on instead of the turn's root.

    Example:
        >>> add_security_attributes(prompt_injection="high", content_sanitized=False)
    """
    is_text = isinstance(prompt_injection, str)
    risk = prompt_injection if is_text and prompt_injection in keys.RISKS else None
    found: bool | None = None
    if prompt_injection is not None:
        found = prompt_injection not in keys.HARMLESS_RISKS if is_text else bool(prompt_injection)
    _add(
        span,
        {
            keys.SECURITY_PROMPT_INJECTION: found,
            keys.SECURITY_PROMPT_INJECTION_RISK: risk,
            keys.SECURITY_CONTENT_SANITIZED: content_sanitized,
        },
    )


def span_of_turn(context: Context | None = None) -> trace.Span:
    """Return the span that facts of the whole turn belong on: its root, if there is one.

    Without a turn that is the local root (an HTTP request, as a rule), else the current span.
    """
    values = get_current() if context is None else context
    summary = current_turn(values)
    if summary is not None and summary.span is not None:
        return summary.span
    local_trace = current_local_trace(values)
    if local_trace is not None and local_trace.root is not None and local_trace.root.is_recording():
        return local_trace.root
    return trace.get_current_span(values)


def _add(span: trace.Span | None, values: dict[str, Any]) -> None:
    with Guarded("attributes of a conversation"):
        chosen = span_of_turn() if span is None else span
        given = {key: value for key, value in values.items() if value is not None}
        if given and chosen.is_recording():
            chosen.set_attributes(given)
