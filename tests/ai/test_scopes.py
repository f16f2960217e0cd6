"""Model calls by hand: spans, times, tokens, money, and one span where a hook sees them too."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from google.genai import types as genai
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.graph import MessagesState, StateGraph
from opentelemetry import trace

import turntrace
from turntrace import TokenUsage
from turntrace import attributes as keys
from turntrace.ai import prices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conftest import Recorded

USAGE = TokenUsage(input_tokens=1000, output_tokens=100, cached_tokens=400, reasoning_tokens=20)
MODEL = "gemini-2.5-flash"


def test_a_call_has_both_vocabularies_and_counts_on_the_turn(recorded: Recorded) -> None:
    with turntrace.turn("turn"):
        turntrace.bind(session_id="s", phase="PLAN")
        with turntrace.trace_ai_call(
            f"models/{MODEL}",
            provider="gemini",
            temperature=0.5,
            top_p=0.9,
            max_tokens=64,
            history_size=3,
        ):
            cost = turntrace.record_token_usage(USAGE)
    span = recorded.one(f"chat {MODEL}")
    assert span.kind == trace.SpanKind.CLIENT.value
    assert cost == turntrace.estimate_cost(MODEL, USAGE, provider="google")
    assert cost
    assert span.attributes == {
        "session.id": "s",
        "turntrace.phase": "PLAN",
        "gen_ai.conversation.id": "s",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.usage.reasoning.output_tokens": 20,
        "ai.system": "gemini",
        "ai.model": MODEL,
        "ai.temperature": 0.5,
        "ai.prompt.phase": "PLAN",
        "ai.prompt.history_size": 3,
        "ai.usage.prompt_tokens": 1000,
        "ai.usage.completion_tokens": 100,
        "ai.usage.total_tokens": 1100,
        "ai.cost.estimated_usd": cost,
    }
    turn = recorded.one("turn").attributes
    assert turn[keys.TURN_MODEL_CALLS] == 1
    assert (turn[keys.TURN_INPUT_TOKENS], turn[keys.TURN_OUTPUT_TOKENS]) == (1000, 100)
    assert turn[keys.TURN_COST_USD] == cost


def test_usage_said_again_replaces_what_was_said(recorded: Recorded) -> None:
    with turntrace.turn("turn"), turntrace.trace_ai_call(MODEL, provider="google_genai"):
        turntrace.record_token_usage(TokenUsage(input_tokens=1, output_tokens=1))
        turntrace.record_token_usage(USAGE, cost_usd=0.5)
    turn = recorded.one("turn").attributes
    assert (turn[keys.TURN_INPUT_TOKENS], turn[keys.TURN_OUTPUT_TOKENS]) == (1000, 100)
    assert turn[keys.TURN_COST_USD] == pytest.approx(0.5)


def test_usage_outside_a_traced_call_goes_on_the_current_span(recorded: Recorded) -> None:
    with turntrace.turn("turn"):
        cost = turntrace.record_token_usage(USAGE, model=MODEL, provider="gemini")
        turntrace.record_token_usage(USAGE, model=MODEL, provider="gemini")
    turn = recorded.one("turn").attributes
    assert cost
    assert turn[keys.GEN_AI_USAGE_INPUT_TOKENS] == 1000
    assert turn[keys.TURN_INPUT_TOKENS] == 2000
    assert turn[keys.TURN_COST_USD] == pytest.approx(2 * cost)


@pytest.mark.parametrize("provider", ["gemini", "gcp.gemini", "google_genai"])
def test_a_provider_may_be_called_by_any_of_its_names(recorded: Recorded, provider: str) -> None:
    with turntrace.trace_ai_call(MODEL, provider=provider):
        pass
    values = recorded.one(f"chat {MODEL}").attributes
    assert (values[keys.AI_SYSTEM], values[keys.GEN_AI_PROVIDER_NAME]) == ("gemini", "gcp.gemini")


def test_what_does_not_look_like_a_name_is_unknown(recorded: Recorded) -> None:
    with turntrace.trace_ai_call("write me a poem", provider="of my own", operation="s3cret"):
        pass
    span = recorded.one("chat unknown")
    assert span.attributes[keys.GEN_AI_PROVIDER_NAME] == "unknown"
    assert "poem" not in repr(span)
    assert "s3cret" not in repr(span)


def test_a_decorated_call_records_what_the_response_reports(recorded: Recorded) -> None:
    @turntrace.trace_ai_call(MODEL, provider="gemini")
    async def ask(question: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"text": question, "usage": {"prompt_tokens": 9, "completion_tokens": 4}}

    async def both() -> None:
        await asyncio.gather(ask("s3cret"), ask("s3cret"))

    asyncio.run(both())
    for span in recorded.spans:
        assert span.attributes[keys.AI_USAGE_TOTAL_TOKENS] == 13
        assert keys.AI_COST_ESTIMATED_USD in span.attributes
    assert len(recorded.spans) == 2
    assert "s3cret" not in repr(recorded.spans)


def test_a_failed_call_says_what_type_of_error(recorded: Recorded) -> None:
    with pytest.raises(TimeoutError), turntrace.trace_ai_call(MODEL):
        raise TimeoutError("s3cret")
    span = recorded.one(f"chat {MODEL}")
    assert (span.status_code, span.attributes[keys.ERROR_TYPE]) == (2, "TimeoutError")
    assert "s3cret" not in repr(span)


def test_calls_inside_one_another_are_spans_of_their_own_if_something_is_between(
    recorded: Recorded,
) -> None:
    tracer = trace.get_tracer("turntrace.test")
    with turntrace.trace_ai_call("outer"), tracer.start_as_current_span("step"):  # noqa: SIM117
        with turntrace.trace_ai_call("inner"):
            pass
    assert recorded.tree() == ["chat outer", "  step", "    chat inner"]


class BrokenError(RuntimeError):
    pass


@pytest.fixture
def broken_end(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: Any) -> None:
        raise BrokenError

    monkeypatch.setattr("turntrace.record.span.Span.end", end)


@pytest.mark.usefixtures("broken_end")
@pytest.mark.parametrize(
    "scope",
    [
        lambda: turntrace.turn("turn"),
        lambda: turntrace.trace_ai_call(MODEL),
        lambda: turntrace.start_ai_stream_span(MODEL),
        lambda: turntrace.trace_socket_event("chat:hello"),
        lambda: turntrace.trace_connection("a1"),
        lambda: turntrace.trace_disconnect("a1"),
    ],
)
def test_a_span_that_cannot_end_hides_no_error_of_the_app_and_makes_none(scope: Any) -> None:
    before = trace.get_current_span()
    with scope():
        pass
    with pytest.raises(KeyError), scope():
        raise KeyError
    assert trace.get_current_span() is before


@pytest.mark.usefixtures("recorded")
def test_arguments_of_any_type_never_break_the_app() -> None:
    odd: Any = [{"no": "text"}]
    with turntrace.trace_ai_call(odd, provider=odd, operation=odd, temperature=odd):
        assert turntrace.record_token_usage(odd, model=odd, provider=odd, cost_usd=odd) is None
    with turntrace.trace_connection(odd, transport=odd):
        pass
    with turntrace.trace_disconnect(odd, reason=odd), turntrace.trace_socket_event("e", sid=odd):
        pass
    with turntrace.start_ai_stream_span(MODEL) as stream:
        stream.record_usage(odd)
        stream.on_chunk(odd)
    assert turntrace.estimate_cost(odd, odd) is None


def test_a_stream_whose_usage_was_nonsense_ends_all_the_same(recorded: Recorded) -> None:
    stream = turntrace.start_ai_stream_span(MODEL)
    stream.record_usage({"usage": {"prompt_tokens": object()}})
    stream.end()
    assert recorded.names() == [f"chat {MODEL}"]


def test_usage_said_by_work_that_outlives_its_call_is_its_own(recorded: Recorded) -> None:
    async def later() -> None:
        await asyncio.sleep(0.01)
        turntrace.record_token_usage(TokenUsage(input_tokens=5, output_tokens=1))

    async def main() -> None:
        with turntrace.turn("turn"):
            with turntrace.trace_ai_call(MODEL):
                turntrace.record_token_usage(USAGE)
                task = asyncio.create_task(later())
            await task

    asyncio.run(main())
    turn = recorded.one("turn").attributes
    assert (turn[keys.TURN_INPUT_TOKENS], turn[keys.TURN_OUTPUT_TOKENS]) == (1005, 101)


def test_what_is_said_after_the_end_of_a_stream_changes_nothing(recorded: Recorded) -> None:
    with turntrace.turn("turn"):
        stream = turntrace.start_ai_stream_span(MODEL)
        stream.record_usage(USAGE)
        stream.end()
        stream.record_usage(TokenUsage(input_tokens=1, output_tokens=1))
    assert recorded.one("turn").attributes[keys.TURN_INPUT_TOKENS] == 1000


def test_a_cost_that_the_app_knows_is_kept(recorded: Recorded) -> None:
    @turntrace.trace_ai_call(MODEL, provider="gemini")
    def ask() -> Any:
        response = {"usage": {"prompt_tokens": 9, "completion_tokens": 4}}
        assert turntrace.record_token_usage(response, cost_usd=0.5) == 0.5
        return response

    with turntrace.turn("turn"):
        ask()
    assert recorded.one(f"chat {MODEL}").attributes[keys.AI_COST_ESTIMATED_USD] == 0.5
    assert recorded.one("turn").attributes[keys.TURN_COST_USD] == 0.5


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0, True])
def test_a_cost_that_is_no_amount_is_not_taken(recorded: Recorded, cost: float) -> None:
    with turntrace.turn("turn"):
        turntrace.record_token_usage(TokenUsage(input_tokens=-5, output_tokens=1), cost_usd=cost)
    turn = recorded.one("turn").attributes
    assert keys.TURN_COST_USD not in turn
    assert keys.TURN_INPUT_TOKENS not in turn


def test_embeddings_have_a_cost_without_output(recorded: Recorded) -> None:
    with turntrace.trace_ai_call(
        "text-embedding-3-small", provider="openai", operation="embeddings"
    ):
        assert turntrace.record_token_usage(TokenUsage(input_tokens=1000))


def test_a_decorated_call_that_returns_a_coroutine_or_a_task_stays_open_for_it(
    recorded: Recorded,
) -> None:
    async def answer() -> dict[str, Any]:
        await asyncio.sleep(0)
        assert trace.get_current_span().is_recording()
        return {"usage": {"prompt_tokens": 9, "completion_tokens": 4}}

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError

    async def main() -> None:
        before = trace.get_current_span()
        await turntrace.trace_ai_call("coroutine")(lambda: answer())()  # noqa: PLW0108 - no coroutine function
        await turntrace.trace_ai_call("task")(lambda: asyncio.create_task(answer()))()
        assert trace.get_current_span() is before
        with pytest.raises(KeyError):
            await turntrace.trace_ai_call("fails")(lambda: fail())()  # noqa: PLW0108 - the same
        with pytest.raises(KeyError):
            await turntrace.trace_ai_call("task fails")(lambda: asyncio.ensure_future(fail()))()
        await asyncio.sleep(0)
        assert trace.get_current_span() is before

    asyncio.run(main())
    for name in ("coroutine", "task"):
        assert recorded.one(f"chat {name}").attributes[keys.AI_USAGE_TOTAL_TOKENS] == 13
    assert recorded.one("chat fails").status_code == 2
    assert [span.status_code for span in recorded.spans].count(2) == 2


def test_one_scope_entered_twice_ends_the_inner_call_first(recorded: Recorded) -> None:
    scope = turntrace.turn("again")
    with scope as outer:
        with scope as inner:
            pass
        assert outer.is_recording()
        assert not inner.is_recording()


# -- streams ---------------------------------------------------------------------------------------

LANGCHAIN = [
    AIMessageChunk(""),
    AIMessageChunk(
        "Oak", usage_metadata={"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    ),
    AIMessageChunk(
        " it is", usage_metadata={"input_tokens": 0, "output_tokens": 3, "total_tokens": 3}
    ),
]
GEMINI = [
    genai.GenerateContentResponse.model_validate(chunk)
    for chunk in (
        {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
        {
            "candidates": [{"content": {"parts": [{"text": "Oak"}]}}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1},
        },
        {
            "candidates": [{"content": {"parts": [{"text": " it is"}]}}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4},
        },
    )
]
OPENAI = [
    {"choices": [{"delta": {"role": "assistant"}}]},
    {"choices": [{"delta": {"content": "Oak"}}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
]
ANTHROPIC = [
    SimpleNamespace(
        message=SimpleNamespace(usage=SimpleNamespace(input_tokens=9, output_tokens=1))
    ),
    SimpleNamespace(delta=SimpleNamespace(text="Oak")),
    SimpleNamespace(delta=SimpleNamespace(), usage=SimpleNamespace(output_tokens=4)),
]


async def streamed(chunks: list[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        await asyncio.sleep(0.001)
        yield chunk


@pytest.mark.parametrize(
    "chunks", [LANGCHAIN, GEMINI, OPENAI, ANTHROPIC], ids=["LangChain", "Gemini", "OpenAI", "A."]
)
def test_a_stream_times_its_first_chunk_and_text_and_adds_up_its_tokens(
    recorded: Recorded, chunks: list[Any]
) -> None:
    async def answer() -> list[Any]:
        stream = turntrace.start_ai_stream_span(MODEL, provider="gemini")
        return [chunk async for chunk in stream.over(streamed(chunks))]

    assert asyncio.run(answer()) == chunks
    values = recorded.one(f"chat {MODEL}").attributes
    assert values[keys.GEN_AI_REQUEST_STREAM] is True
    first_chunk_ms = values[keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] * 1000
    assert 0 < first_chunk_ms < values[keys.AI_STREAM_FIRST_TOKEN_MS]
    assert values[keys.AI_STREAM_FIRST_TOKEN_MS] < values[keys.AI_STREAM_TOTAL_MS]
    assert (values[keys.AI_USAGE_PROMPT_TOKENS], values[keys.AI_USAGE_COMPLETION_TOKENS]) == (9, 4)
    assert keys.AI_COST_ESTIMATED_USD in values


def test_a_stream_is_current_while_it_works_and_not_while_its_reader_does(
    recorded: Recorded,
) -> None:
    tracer = trace.get_tracer("turntrace.test")

    async def provider() -> AsyncIterator[str]:
        with tracer.start_as_current_span("http"):
            await asyncio.sleep(0)
        yield "Oak"

    async def answer() -> None:
        async for _ in turntrace.start_ai_stream_span(MODEL).over(provider()):
            with tracer.start_as_current_span("reader"):
                pass

    with turntrace.turn("turn"):
        asyncio.run(answer())
    assert recorded.tree() == ["turn", f"  chat {MODEL}", "    http", "  reader"]


def test_a_plain_iterable_streams_as_well(recorded: Recorded) -> None:
    stream = turntrace.start_ai_stream_span(MODEL)
    assert list(stream.over_sync(["", "Oak", " it is"])) == ["", "Oak", " it is"]
    assert keys.AI_STREAM_FIRST_TOKEN_MS in recorded.one(f"chat {MODEL}").attributes


def test_a_stream_that_breaks_off_fails_with_its_error(recorded: Recorded) -> None:
    async def breaks() -> AsyncIterator[str]:
        yield "Oak"
        raise ConnectionError("s3cret")

    async def answer() -> None:
        async for _ in turntrace.start_ai_stream_span(MODEL).over(breaks()):
            pass

    with pytest.raises(ConnectionError):
        asyncio.run(answer())
    span = recorded.one(f"chat {MODEL}")
    assert (span.status_code, span.attributes[keys.ERROR_TYPE]) == (2, "ConnectionError")
    assert "s3cret" not in repr(span)


def test_a_reader_that_leaves_early_ends_the_stream_and_closes_its_source(
    recorded: Recorded,
) -> None:
    closed = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "Oak"
        finally:
            closed.append(True)

    async def answer() -> None:
        chunks = turntrace.start_ai_stream_span(MODEL).over(endless())
        async for _ in chunks:
            break
        await chunks.aclose()  # type: ignore[attr-defined] # a generator, as it happens

    asyncio.run(answer())
    assert closed == [True]
    assert recorded.one(f"chat {MODEL}").status_code == 0


def test_a_stream_by_hand_is_ended_once(recorded: Recorded) -> None:
    with turntrace.turn("turn"), turntrace.start_ai_stream_span(MODEL, provider="gemini") as stream:
        assert trace.get_current_span() is stream.span
        stream.first_token()
        stream.record_usage(USAGE)
        stream.end()
        stream.end()
    assert recorded.names() == [f"chat {MODEL}", "turn"]
    assert recorded.one("turn").attributes[keys.TURN_INPUT_TOKENS] == 1000


def test_a_stream_that_is_given_up_ends_when_it_is_collected(recorded: Recorded) -> None:
    turntrace.start_ai_stream_span(MODEL).on_chunk("Oak")
    gc.collect()
    assert recorded.names() == [f"chat {MODEL}"]


def test_several_streams_in_one_call_are_added_up(recorded: Recorded) -> None:
    with turntrace.trace_ai_call(MODEL):
        for output in (1, 2):
            stream = turntrace.start_ai_stream_span(MODEL)
            stream.on_chunk({"usage": {"prompt_tokens": 10, "completion_tokens": output}})
            stream.end()
    values = recorded.one(f"chat {MODEL}").attributes
    assert (values[keys.AI_USAGE_PROMPT_TOKENS], values[keys.AI_USAGE_COMPLETION_TOKENS]) == (20, 3)


def test_chunks_of_an_app_s_own_langchain_class_are_added_up(recorded: Recorded) -> None:
    class OwnChunk(AIMessageChunk):
        pass

    usage: Any = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
    stream = turntrace.start_ai_stream_span(MODEL)
    for _ in range(2):
        stream.on_chunk(OwnChunk("Oak", usage_metadata=usage))
    stream.end()
    assert recorded.one(f"chat {MODEL}").attributes[keys.AI_USAGE_PROMPT_TOKENS] == 10


class Connection:
    """An iterator of the app's own, which it closes itself."""

    def __init__(self) -> None:
        self.is_closed = False
        self._chunks = iter(["a", "b"])

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> str:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration

    def aclose(self) -> None:
        self.is_closed = True


@pytest.mark.usefixtures("recorded")
def test_what_is_no_generator_is_left_open() -> None:
    source: Any = Connection()

    async def read() -> list[str]:
        return [chunk async for chunk in turntrace.start_ai_stream_span(MODEL).over(source)]

    assert asyncio.run(read()) == ["a", "b"]
    assert not source.is_closed


def test_what_cannot_be_iterated_fails_as_it_would_and_ends_the_span(recorded: Recorded) -> None:
    nothing: Any = None

    async def read() -> None:
        async for _ in turntrace.start_ai_stream_span(MODEL).over(nothing):
            pass

    with pytest.raises(TypeError):
        asyncio.run(read())
    assert recorded.names() == [f"chat {MODEL}"]


# -- beside the hooks ------------------------------------------------------------------------------


@pytest.fixture
def with_prices() -> Iterator[None]:
    yield
    prices._prices.cache_clear()


def model() -> GenericFakeChatModel:
    usage: Any = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    return GenericFakeChatModel(messages=iter([AIMessage("Oak", usage_metadata=usage)] * 3))


@pytest.mark.usefixtures("instrumented")
async def test_a_call_traced_by_hand_around_a_hooked_one_is_one_span_and_one_cost(
    recorded: Recorded,
) -> None:
    with turntrace.turn("turn"), turntrace.trace_ai_call(MODEL, provider="gemini"):
        response = await model().ainvoke("s3cret")
        turntrace.record_token_usage(response)
    assert recorded.tree() == ["turn", f"  chat {MODEL}"]
    turn = recorded.one("turn").attributes
    assert (turn[keys.TURN_MODEL_CALLS], turn[keys.TURN_INPUT_TOKENS]) == (1, 1000)
    expected = turntrace.estimate_cost(
        MODEL, TokenUsage(input_tokens=1000, output_tokens=100), provider="gemini"
    )
    assert turn[keys.TURN_COST_USD] == expected


@pytest.mark.usefixtures("instrumented")
async def test_a_stream_traced_by_hand_around_a_hooked_one_is_one_span(recorded: Recorded) -> None:
    with turntrace.turn("turn"):
        stream = turntrace.start_ai_stream_span(MODEL, provider="gemini")
        async for _ in stream.over(model().astream("s3cret")):
            pass
    assert recorded.tree() == ["turn", f"  chat {MODEL}"]
    assert recorded.one("turn").attributes[keys.TURN_MODEL_CALLS] == 1


@pytest.mark.usefixtures("instrumented")
async def test_a_call_by_hand_inside_a_hooked_one_joins_it(recorded: Recorded) -> None:
    class Wrapped(GenericFakeChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            with turntrace.trace_ai_call(MODEL, provider="gemini"):
                return await super()._agenerate(*args, **kwargs)

    with turntrace.turn("turn"):
        await Wrapped(messages=iter([AIMessage("Oak")])).ainvoke("s3cret")
    assert len(recorded.spans) == 2
    assert recorded.one("turn").attributes[keys.TURN_MODEL_CALLS] == 1


@pytest.mark.usefixtures("instrumented")
async def test_a_span_of_the_app_between_both_changes_nothing(recorded: Recorded) -> None:
    tracer = trace.get_tracer("turntrace.test")
    with turntrace.turn("turn"), turntrace.trace_ai_call(MODEL, provider="gemini"):
        with tracer.start_as_current_span("retry"):
            response = await model().ainvoke("s3cret")
        turntrace.record_token_usage(response)
    assert recorded.tree() == ["turn", f"  chat {MODEL}", "    retry"]
    turn = recorded.one("turn").attributes
    assert (turn[keys.TURN_MODEL_CALLS], turn[keys.TURN_INPUT_TOKENS]) == (1, 1000)


@pytest.mark.usefixtures("instrumented")
async def test_two_calls_of_a_hook_in_one_by_hand_are_added_up(recorded: Recorded) -> None:
    @turntrace.trace_ai_call(MODEL, provider="gemini")
    async def ask_twice() -> AIMessage:
        chat = model()
        await chat.ainvoke("s3cret")
        return await chat.ainvoke("s3cret")

    with turntrace.turn("turn"):
        await ask_twice()
    assert recorded.one("turn").attributes[keys.TURN_INPUT_TOKENS] == 2000


@pytest.mark.usefixtures("instrumented")
async def test_an_agent_inside_a_call_by_hand_counts_its_calls_and_nobody_else_does(
    recorded: Recorded,
) -> None:
    chat = model()

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("think", think).set_entry_point("think").compile()

    @turntrace.trace_ai_call("outer", provider="gemini")
    async def ask() -> Any:
        return (await graph.ainvoke({"messages": [HumanMessage("s3cret")]}))["messages"][-1]

    with turntrace.turn("turn"):
        await ask()
    assert recorded.one("turn").attributes[keys.TURN_INPUT_TOKENS] == 1000


@pytest.mark.usefixtures("unconfigured")
async def test_without_telemetry_everything_works_and_records_nothing() -> None:
    with turntrace.trace_ai_call(MODEL) as span:
        assert turntrace.record_token_usage(TokenUsage(input_tokens=1)) is None
        assert not span.is_recording()
    stream = turntrace.start_ai_stream_span(MODEL)
    assert [chunk async for chunk in stream.over(streamed(["a", "b"]))] == ["a", "b"]
