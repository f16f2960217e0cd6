"""The only file that knows about tracing: the rest of the backend calls these functions."""

from dataclasses import dataclass
from typing import Literal

from opentelemetry import trace

import turntrace
from turntrace.logs import get_trace_context
from turntrace.rules import Facts, Rule

SHUTDOWN_SECONDS = 2.0
"""How long the delivery of the last spans may take at shutdown."""

_running: list[turntrace.Telemetry] = []


def _is_chat_message(facts: Facts) -> bool:
    return facts.attributes.get("socket.event") == "chat:user_message"


def _is_ai(facts: Facts) -> bool:
    return any(key.startswith(("ai.", "gen_ai.")) for key in facts.attributes)


_TABLE = (
    Rule(reason="chat_message", holds=_is_chat_message),
    Rule(reason="ai", holds=_is_ai),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenovationSampler(turntrace.SamplingPolicy):
    """Which traces of the backend are kept.

    | what | share | acts |
    |---|---|---|
    | chat messages (`chat:user_message`) | all | yes |
    | AI spans that nothing of ours is above | all | yes |
    | everything else | `baseline` | yes |
    | forced with `x-force-sample` | all | no: not a fact yet |
    | 5xx, security findings, rate-limit hits | all | no: known only after the start |
    | health checks | 1% | no: a rule keeps all or nothing |

    `baseline=None` is the baseline of the settings: all in development, else a tenth, or what
    `OTEL_TRACES_SAMPLER_ARG` says.
    """

    rules: tuple[Rule, ...] = _TABLE


def init_telemetry() -> None:
    """Switch tracing on; called before the application is put together."""
    _running[:] = [turntrace.configure(service_name="renovation", policy=RenovationSampler())]
    turntrace.instrument()


def shutdown_telemetry(timeout_seconds: float = SHUTDOWN_SECONDS) -> bool:
    """Deliver what was recorded; called last, when nothing else can happen any more.

    Blocks for `timeout_seconds` at most; True if nothing was left behind.
    """
    return all(telemetry.shutdown(timeout_seconds) for telemetry in _running)


def bind_request(request_id: str) -> None:
    """Put the id of the HTTP request or Socket.IO event on every span that follows."""
    turntrace.bind(request_id=request_id)


def bind_conversation(
    session_id: str,
    user_id: str | None,
    room_id: str | None,
    phase: str | None,
) -> None:
    """Put the conversation on every span that follows; `None` is what is not known yet."""
    turntrace.bind(
        session_id=session_id,
        user_id=user_id,
        room_id=room_id,
        phase=phase,
        **({"renovation.phase": phase} if phase is not None else {}),
    )


def note_message(session_id: str, content_length: int) -> None:
    """Say whose valid message is being worked on, and how long it is."""
    turntrace.add_message_attributes(
        session_id=session_id, content_length=content_length, validation_passed=True
    )


def note_invalid_payload(error_count: int) -> None:
    """Say that the payload was not what it should be, and in how many fields."""
    turntrace.add_message_attributes(validation_passed=False, error_count=error_count)


def note_join(session_id: str, room: str) -> None:
    """Say which room was joined."""
    turntrace.add_join_attributes(session_id=session_id, room=room)


def note_allowance(*, exceeded: bool, remaining: int) -> None:
    """Say what the rate limit made of this message."""
    turntrace.add_rate_limit_attributes(exceeded=exceeded, remaining=remaining)


def note_risk(risk: Literal["low", "medium", "high"]) -> None:
    """Say how much the message looked like an attempt to instruct the model."""
    turntrace.add_security_attributes(prompt_injection=risk)


def mark_turn_failed(error: Exception) -> None:
    """Say that the turn failed although its handler copes: by the error's type, not its text."""
    span = trace.get_current_span()
    span.record_exception(error)
    span.set_status(trace.StatusCode.ERROR)


def current_trace_id() -> str | None:
    """Return the id of the trace that is being written; None if tracing is off."""
    return log_context().get("trace_id")


def log_context() -> dict[str, str]:
    """Return `trace_id` and `span_id` of what is being worked on; nothing outside a trace."""
    return get_trace_context()
