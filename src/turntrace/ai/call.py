"""One model call while its span is open: what the hooks and calls traced by hand are built on."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
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

RUN_KEY = otel_context.create_key("turntrace-ai-run")
"""In the context of a run that the LangChain hooks see: the run."""

UNKNOWN = "unknown"
EMBEDDINGS = "embeddings"

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
        "_is_hooked",
        "_is_said",
        "cost_usd",
        "first_chunk",
        "first_text",
        "inner_calls",
        "is_ended",
        "is_streamed",
        "model",
        "operation",
        "provider",
        "run",
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
        self.operation = "chat"
        self.run: object = None
        """The hooks' run that the call was started in, if any."""
        self.inner_calls = 0
        """Model calls that were started inside this one and are none of it."""
        self.started = time.perf_counter()
        self.first_chunk: float | None = None
        self.first_text: float | None = None
        self.is_streamed = False
        self.is_ended = False
        self.usage = TokenUsage()
        self.cost_usd: float | None = None
        self._is_hooked = False
        self._is_said = False

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

    # One rule for who is believed, whatever the order: what the app says replaces; what a hook
    # reports adds; what was read off chunks or a response adds, unless one of those two spoke.

    def said(self, usage: TokenUsage, cost_usd: float | None = None) -> dict[str, Any]:
        """Take ``usage`` for all that the call used; return the call's attributes."""
        cost = money(cost_usd)
        self._is_said = True
        return self._account(usage, self._estimate(usage) if cost is None else cost)

    def hooked(self, usage: TokenUsage) -> dict[str, Any]:
        """Add what a hook saw; return the call's attributes."""
        self._is_hooked = True
        return self._add(usage)

    def derived(self, usage: TokenUsage) -> dict[str, Any]:
        """Add what was read off a response, if nobody who knows better spoke."""
        return {} if self._is_hooked or self._is_said or not usage else self._add(usage)

    def _add(self, usage: TokenUsage) -> dict[str, Any]:
        more = self._estimate(usage)
        both = self.cost_usd if more is None else more + (self.cost_usd or 0.0)
        return self._account(self.usage + usage, both)

    def _estimate(self, usage: TokenUsage) -> float | None:
        if self.operation == EMBEDDINGS and usage.output_tokens is None:
            usage = replace(usage, output_tokens=0)  # there are none
        return estimate_cost(self.model, usage, provider=self.provider.prices)

    def _account(self, usage: TokenUsage, cost_usd: float | None) -> dict[str, Any]:
        """Give the turn the difference to what it had, so that a call counts once."""
        if self.is_ended:
            return {}
        before, cost_before = self.usage, self.cost_usd
        if self.turn is not None:
            self.turn.used_tokens(
                (usage.input_tokens or 0) - (before.input_tokens or 0),
                (usage.output_tokens or 0) - (before.output_tokens or 0),
                cost_usd if cost_before is None else (cost_usd or 0.0) - cost_before,
            )
        self.usage, self.cost_usd = usage, cost_usd
        values: dict[str, Any] = dict(usage.attributes())
        if cost_usd is not None:
            values[keys.AI_COST_ESTIMATED_USD] = cost_usd
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
        self.is_ended = True
        try:
            self.span.set_attributes(self.stream_times())
        finally:
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
    call.operation = operation
    call.run = context.get(RUN_KEY)
    around = context.get(CALL_KEY)
    if isinstance(around, ModelCall):
        around.inner_calls += 1
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


def open_call(context: Context, model: str | None = None) -> ModelCall | None:
    """Return the model call that runs right here, which a second look at it is to join.

    A call that is traced by hand and by a hook is one call, whoever was first. It is another one
    where a node, a tool or an agent began in between; and by hand, where a span of the app's own
    stands in between and another ``model`` is called.
    """
    call = context.get(CALL_KEY)
    if not isinstance(call, ModelCall) or not call.span.is_recording():
        return None
    run: Any = context.get(RUN_KEY)
    while run is not None and run.call is call:
        run = run.parent
    if run is not call.run:
        return None
    is_direct = context.get(SPAN_KEY) is call.span
    return call if is_direct or model is None or model == call.model else None


def money(cost_usd: object) -> float | None:
    """Return an amount that is one: a finite number, not negative."""
    is_number = isinstance(cost_usd, int | float) and not isinstance(cost_usd, bool)
    return float(cost_usd) if is_number and 0 <= cost_usd < math.inf else None  # type: ignore[arg-type, operator] # is_number
