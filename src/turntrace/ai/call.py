"""One model call while its span is open: what the hooks and calls traced by hand are built on."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from turntrace import attributes as keys
from turntrace.ai.prices import estimate_cost
from turntrace.ai.usage import TokenUsage
from turntrace.record.context import SPAN_KEY
from turntrace.record.local_trace import current_local_trace
from turntrace.record.turn_summary import TurnSummary, current_turn

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from turntrace.ai.providers import Provider

CALL_KEY = otel_context.create_key("turntrace-model-call")
"""In the context of a model call: the ``ModelCall``."""

UNKNOWN = "unknown"

_IDENTIFIER = re.compile(r"[A-Za-z0-9_][\w.:/@+-]{0,63}", re.ASCII)


def identifier(name: object) -> str:
    """Return a name of a model, tool, graph or reason if it looks like one, else nothing.

    Such names come from configuration as a rule, and from a user or a model where an app lets
    them choose: whatever has a space in it is no name.
    """
    return name if isinstance(name, str) and _IDENTIFIER.fullmatch(name) else ""


def model_name(name: object) -> str:
    """Return a model's name without ``models/``; ``unknown`` if it does not look like one."""
    return identifier(name).rpartition("models/")[2] or UNKNOWN


class ModelCall:
    """The span of one model call, with its times, tokens and money."""

    __slots__ = (
        "cost_usd",
        "first_chunk",
        "first_text",
        "is_streamed",
        "model",
        "provider",
        "span",
        "started",
        "turn",
        "usage",
    )

    def __init__(
        self, span: Span, model: str, provider: Provider, turn: TurnSummary | None
    ) -> None:
        self.span = span
        self.model = model
        self.provider = provider
        self.turn = turn
        self.started = time.perf_counter()
        self.first_chunk: float | None = None
        self.first_text: float | None = None
        self.is_streamed = False
        self.usage = TokenUsage()
        self.cost_usd: float | None = None

    def chunk_came(self, *, with_text: bool) -> None:
        """Time the first chunk and the first one with text; later ones change nothing."""
        if self.first_text is not None:
            return
        now = time.perf_counter()
        self.is_streamed = True
        if self.first_chunk is None:
            self.first_chunk = now
        if with_text:
            self.first_text = now

    def used(self, usage: TokenUsage, cost_usd: float | None = None) -> dict[str, Any]:
        """Take ``usage`` for all that the call used; return it, and its cost, as attributes.

        The turn gets the difference to what was said before, so that the hooks and an app that
        says it by hand count one call once.
        """
        cost = cost_usd
        if cost is None:
            cost = estimate_cost(self.model, usage, provider=self.provider.prices)
        if self.turn is not None:
            before, cost_before = self.usage, self.cost_usd
            self.turn.used_tokens(
                (usage.input_tokens or 0) - (before.input_tokens or 0),
                (usage.output_tokens or 0) - (before.output_tokens or 0),
                cost if cost_before is None else (cost or 0.0) - cost_before,
            )
        self.usage, self.cost_usd = usage, cost
        values: dict[str, Any] = dict(usage.attributes())
        if cost is not None:
            values[keys.AI_COST_ESTIMATED_USD] = cost
        return values

    def stream_times(self) -> dict[str, Any]:
        """Return how long the first chunk, the first text and the whole stream took."""
        values: dict[str, Any] = {keys.GEN_AI_REQUEST_STREAM: self.is_streamed}
        if self.first_chunk is not None:
            values[keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = round(
                self.first_chunk - self.started, 6
            )
            values[keys.AI_STREAM_TOTAL_MS] = round((time.perf_counter() - self.started) * 1000, 3)
        if self.first_text is not None:
            values[keys.AI_STREAM_FIRST_TOKEN_MS] = round(
                (self.first_text - self.started) * 1000, 3
            )
        return values

    def end(self) -> None:
        """End the span with its times."""
        self.span.set_attributes(self.stream_times())
        self.span.end()


def start_model_call(
    model: str,
    provider: Provider,
    context: Context,
    *,
    scope: str,
    operation: str = "chat",
    parameters: dict[str, Any] | None = None,
) -> ModelCall:
    """Start the span of a model call below ``context`` and count it on its turn.

    Args:
        model: See ``model_name``.
        provider: Who is called.
        context: Where the call belongs.
        scope: The instrumentation scope of the span.
        operation: ``gen_ai.operation.name``.
        parameters: More attributes.
    """
    values: dict[str, Any] = {
        keys.GEN_AI_OPERATION_NAME: operation,
        keys.GEN_AI_PROVIDER_NAME: provider.name,
        keys.AI_SYSTEM: provider.system,
        keys.GEN_AI_REQUEST_MODEL: model,
        keys.AI_MODEL: model,
        **(parameters or {}),
    }
    add_conversation(values, context, is_model_call=True)
    span = trace.get_tracer(scope).start_span(
        f"{operation} {model}", context, SpanKind.CLIENT, values
    )
    call = ModelCall(span, model, provider, current_turn(context))
    if call.turn is not None:
        call.turn.model_calls += 1
    return call


def add_conversation(values: dict[str, Any], context: Context, *, is_model_call: bool) -> None:
    """Add the session, and for a model call the phase, that the trace is bound to."""
    local_trace = current_local_trace(context)
    if local_trace is None:
        return
    session = local_trace.bound.get(keys.SESSION_ID)
    if session is not None:
        values[keys.GEN_AI_CONVERSATION_ID] = session
    if is_model_call and keys.TURN_PHASE in local_trace.bound:
        values[keys.AI_PROMPT_PHASE] = local_trace.bound[keys.TURN_PHASE]


def open_call(context: Context) -> ModelCall | None:
    """Return the model call that runs right here: its span is the current one and still open.

    A call that is traced by hand and by a hook is one call, whoever was first.
    """
    call = context.get(CALL_KEY)
    if not isinstance(call, ModelCall) or context.get(SPAN_KEY) is not call.span:
        return None
    return call if call.span.is_recording() else None
