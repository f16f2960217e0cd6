"""The only file that knows about tracing: the rest of the backend calls these functions."""

from opentelemetry import trace

import turntrace

_running: list[turntrace.Telemetry] = []


def init_telemetry() -> None:
    """Switch tracing on; called before the application is put together."""
    _running[:] = [turntrace.configure(service_name="renovation")]
    turntrace.instrument()


def shutdown_telemetry() -> None:
    """Deliver what was recorded; called last, when nothing else can happen any more."""
    for telemetry in _running:
        telemetry.shutdown(timeout_seconds=2.0)


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


def mark_turn_failed(error: Exception) -> None:
    """Say that the turn failed although its handler copes: by the error's type, not its text."""
    span = trace.get_current_span()
    span.record_exception(error)
    span.set_status(trace.StatusCode.ERROR)
