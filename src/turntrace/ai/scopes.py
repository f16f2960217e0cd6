"""Model calls traced by hand: a scope around one, and a span for one that is streamed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context

from turntrace import attributes as keys
from turntrace.ai.call import (
    CALL_KEY,
    UNKNOWN,
    ModelCall,
    identifier,
    model_name,
    money,
    open_call,
    start_model_call,
)
from turntrace.ai.chunks import UsageOfChunks, chunk_has_text
from turntrace.ai.prices import estimate_cost, load_prices_soon
from turntrace.ai.providers import Provider, provider_named
from turntrace.ai.usage import extract_token_usage
from turntrace.failsafe import Guarded
from turntrace.record.context import attach, detach, get_current, with_span
from turntrace.record.failure import failed
from turntrace.record.scope import SpanScope
from turntrace.record.turn_summary import current_turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.trace import Span

SCOPE = "turntrace.ai"

OPERATIONS = frozenset({"chat", "generate_content", "text_completion", "embeddings"})

Chunk = TypeVar("Chunk")


class _Plan:
    """What was said of a model call before it starts; starts it any number of times."""

    __slots__ = ("_model", "_operation", "_parameters", "_provider")

    def __init__(
        self, model: str, provider: str, operation: str, parameters: dict[str, Any]
    ) -> None:
        self._model = model_name(model)
        self._provider: Provider = provider_named(identifier(provider) or UNKNOWN)
        is_known = operation.__class__ is str and operation in OPERATIONS
        self._operation = operation if is_known else "chat"
        self._parameters = parameters

    def start(self) -> tuple[ModelCall, bool]:
        """Start a call, or join the one that runs right here; tell whether it was started."""
        context = get_current()
        around = open_call(context, self._model)
        if around is not None:
            return around, False
        call = start_model_call(
            self._model,
            self._provider,
            context,
            scope=SCOPE,
            operation=self._operation,
            parameters=self._parameters,
        )
        if call.span.is_recording():
            load_prices_soon()
        return call, True


def _parameters(
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    history_size: int | None,
) -> dict[str, Any]:
    values = {
        keys.GEN_AI_REQUEST_TEMPERATURE: temperature,
        keys.AI_TEMPERATURE: temperature,
        keys.GEN_AI_REQUEST_TOP_P: top_p,
        keys.GEN_AI_REQUEST_MAX_TOKENS: max_tokens,
        keys.AI_PROMPT_HISTORY_SIZE: history_size,
    }
    return {key: value for key, value in values.items() if value is not None}


def _current(call: ModelCall) -> Token[Context]:
    return attach(Context({**with_span(call.span), CALL_KEY: call}))


class AiCall(SpanScope["tuple[ModelCall, Token[Context] | None]"]):
    """What ``trace_ai_call`` returns."""

    __slots__ = ("_plan",)

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self._plan = plan

    def _start(self) -> tuple[Span, tuple[ModelCall, Token[Context] | None]]:
        call, is_new = self._plan.start()
        return call.span, (call, _current(call) if is_new else None)

    def _stop(
        self, state: tuple[ModelCall, Token[Context] | None], error: BaseException | None
    ) -> None:
        call, token = state
        if token is None:
            return
        detach(token)
        _end(call, error)

    def _again(self) -> AiCall:
        return AiCall(self._plan)

    def _returned(self, result: object) -> None:
        call = get_current().get(CALL_KEY)
        # Around an agent, what is returned is the answer of a call that was traced in there.
        if isinstance(call, ModelCall) and not call.inner_calls:
            call.span.set_attributes(call.derived(extract_token_usage(result)))


def _end(call: ModelCall, error: BaseException | None) -> None:
    try:
        if isinstance(error, Exception):
            failed(call.span, error)
    finally:
        call.end()


def trace_ai_call(
    model: str,
    *,
    provider: str = "",
    operation: str = "chat",
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    history_size: int | None = None,
) -> AiCall:
    """Trace one model call that no hook sees; a context manager, or a decorator of a function.

    The span is current inside, so HTTP requests nest below it; it counts on the turn. As a
    decorator it records the usage that the returned response reports; with ``with``, say it by
    ``record_token_usage``. Around a call that a hook traces as well there is one span, not two.

    Args:
        model: Its name; anything that does not look like one is ``unknown``.
        provider: As LangChain (``google_genai``), the conventions (``gcp.gemini``) or the
            original (``gemini``) call it.
        operation: ``chat``, ``generate_content``, ``text_completion`` or ``embeddings``.
        temperature: 0 to 2.
        top_p: 0 to 1.
        max_tokens: The most it may answer with.
        history_size: Messages sent.

    Example:
        >>> from turntrace import TokenUsage
        >>> with trace_ai_call("gemini-2.5-flash", provider="gemini"):
        ...     cost_usd = record_token_usage(TokenUsage(input_tokens=90, output_tokens=12))
    """
    parameters = _parameters(temperature, top_p, max_tokens, history_size)
    return AiCall(_Plan(model, provider, operation, parameters))


class AiStream:
    """A streamed model call, as ``start_ai_stream_span`` returns it; ended once, by ``end``.

    Also a context manager that ends it and makes its span current inside.
    """

    __slots__ = ("_call", "_is_ended", "_is_new", "_token", "_usage")

    def __init__(self, call: ModelCall, *, is_new: bool) -> None:
        self._call = call
        self._is_new = is_new
        self._is_ended = False
        self._usage = UsageOfChunks()
        self._token: Token[Context] | None = None

    @property
    def span(self) -> Span:
        """The call's span."""
        return self._call.span

    def on_chunk(self, chunk: object) -> None:
        """Take note of a chunk: the first of any kind, the first with text, the usage it reports.

        Looks whether there is text, keeps none.
        """
        with Guarded("a model's chunk"):
            if self._call.first_text is None:
                self._call.chunk_came(with_text=chunk_has_text(chunk))
            self._usage.see(chunk)

    def first_token(self) -> None:
        """Say that the first text has come, where chunks are not shown to ``on_chunk``."""
        self._call.chunk_came(with_text=True)

    def record_usage(self, usage: object, cost_usd: float | None = None) -> None:
        """Say what the call used, if its chunks do not; ``cost_usd`` replaces the estimate.

        Args:
            usage: A ``TokenUsage``, or a provider's response (see ``extract_token_usage``).
            cost_usd: US dollars, if known better than by the price table.
        """
        with Guarded("the token usage of a streamed model call"):
            counted = extract_token_usage(usage)
            self._call.span.set_attributes(self._call.said(counted, cost_usd))

    def end(self, error: BaseException | None = None) -> None:
        """End the call, failed if ``error`` is an ``Exception``. A second call does nothing."""
        if self._is_ended:
            return
        self._is_ended = True
        with Guarded("the end of a streamed model call"):
            try:
                self._call.span.set_attributes(self._call.derived(self._usage.total))
            finally:
                if self._is_new:
                    _end(self._call, error)

    def __enter__(self) -> Self:
        """Make the call's span current."""
        self._token = _current(self._call) if self._is_new else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End the call; what was raised goes on."""
        if self._token is not None:
            detach(self._token)
            self._token = None
        self.end(error)

    def __del__(self) -> None:
        """End a call that was given up: its reader left without a word."""
        if not self._is_ended:
            self.end()

    async def over(self, chunks: AsyncIterable[Chunk]) -> AsyncIterator[Chunk]:
        """Hand ``chunks`` through as they come and end the call with them.

        The span is current while a chunk is waited for, and not while it is worked on. A
        generator that the reader leaves early is closed.
        """
        source: AsyncIterator[Chunk] | None = None
        try:
            source = aiter(chunks)
            while True:
                token = _current(self._call) if self._is_new else None
                try:
                    chunk = await anext(source)
                except StopAsyncIteration:
                    source = None
                    return
                finally:
                    if token is not None:
                        detach(token)
                self.on_chunk(chunk)
                yield chunk
        except BaseException as error:
            self.end(error)
            raise
        finally:
            self.end()
            if inspect.isasyncgen(source):
                await source.aclose()

    def over_sync(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Do as ``over`` does, for a plain iterable."""
        source: Iterator[Chunk] | None = None
        try:
            source = iter(chunks)
            while True:
                token = _current(self._call) if self._is_new else None
                try:
                    chunk = next(source)
                except StopIteration:
                    source = None
                    return
                finally:
                    if token is not None:
                        detach(token)
                self.on_chunk(chunk)
                yield chunk
        except BaseException as error:
            self.end(error)
            raise
        finally:
            self.end()
            if inspect.isgenerator(source):
                source.close()


def start_ai_stream_span(
    model: str,
    *,
    provider: str = "",
    operation: str = "chat",
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    history_size: int | None = None,
) -> AiStream:
    """Start the span of a streamed model call: time to first chunk, first text, tokens, cost.

    The arguments are those of ``trace_ai_call``. Hand the chunks through ``over``, or show each
    to ``on_chunk`` and call ``end``. A stream that nobody ends ends when it is collected.

    Example:
        >>> async def answer(chunks):
        ...     async for chunk in start_ai_stream_span("gemini-2.5-flash").over(chunks):
        ...         yield chunk
    """
    parameters = _parameters(temperature, top_p, max_tokens, history_size)
    call, is_new = _Plan(model, provider, operation, parameters).start()
    return AiStream(call, is_new=is_new)


def record_token_usage(
    usage: object,
    *,
    model: str = "",
    provider: str = "",
    cost_usd: float | None = None,
    span: Span | None = None,
) -> float | None:
    """Write the tokens and the cost of a model call on its span and count them on its turn.

    Inside a traced model call they are that call's: saying them again replaces them, and they are
    believed rather than what a response or its chunks report. Elsewhere they go on ``span``, by
    default the current one, and every call counts.

    Args:
        usage: A ``TokenUsage``, or a provider's response (see ``extract_token_usage``).
        model: For the price, where no traced call says which it is.
        provider: The same.
        cost_usd: US dollars, if known better than by the price table.
        span: Where to write, if not on the current span.

    Returns:
        The cost in US dollars; None if it is not known.
    """
    with Guarded("the token usage of a model call"):
        counted = extract_token_usage(usage)
        context = get_current()
        call = context.get(CALL_KEY)
        is_its = isinstance(call, ModelCall) and (span is None or span is call.span)
        if isinstance(call, ModelCall) and is_its and not call.is_ended:
            call.span.set_attributes(call.said(counted, cost_usd))
            return call.cost_usd
        cost = money(cost_usd)
        if cost is None and model:
            cost = estimate_cost(model_name(model), counted, provider=provider)
        values: dict[str, Any] = dict(counted.attributes())
        if cost is not None:
            values[keys.AI_COST_ESTIMATED_USD] = cost
        turn = current_turn(context)
        if turn is not None:
            turn.used_tokens(counted.input_tokens, counted.output_tokens, cost)
        (trace.get_current_span(context) if span is None else span).set_attributes(values)
        return cost
    return None
