"""What travels in the OpenTelemetry context, and attaching it in a way that can never raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace.propagation import _SPAN_KEY

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.trace import Span

SPAN_KEY = _SPAN_KEY
"""The API's own key of the current span; reading it directly saves two calls a span."""

LOCAL_TRACE_KEY = otel_context.create_key("turntrace-local-trace")
TURN_KEY = otel_context.create_key("turntrace-turn")

_runtime = otel_context._RUNTIME_CONTEXT  # noqa: SLF001 - detach() of the API logs what we forgive
attach = _runtime.attach
get_current = _runtime.get_current


def detach(token: Token[Context]) -> None:
    """Restore what was current before ``attach``; do nothing where the token is another task's."""
    try:
        _runtime.detach(token)
    except (ValueError, RuntimeError):
        # Another context (a generator closed by the garbage collector, a handler that moved
        # between tasks) or a token used twice: that context is gone, nothing is left to restore.
        return


def with_span(span: Span, context: Context | None = None) -> Context:
    """Return ``context`` (default: the current one) with ``span`` as the current span."""
    # dict.__setitem__ on the copy we own: Context refuses item assignment, and building a dict
    # first would copy twice.
    made = Context(get_current() if context is None else context)
    dict.__setitem__(made, SPAN_KEY, span)
    local_trace = getattr(span, "local_trace", None)
    if local_trace is not None:
        dict.__setitem__(made, LOCAL_TRACE_KEY, local_trace)
    return made
