"""What AI spans say, what they never say, and how they say that something failed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
    GenericFakeChatModel,
)
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from langgraph_agents import (
    ANSWER,
    MODEL,
    Planner,
    encoded,
    question,
    react,
    sql_tool,
    unleaked,
)

import turntrace
from turntrace import attributes as keys
from turntrace.ai import TokenUsage, estimate_cost
from turntrace.conversation import bind, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from conftest import Recorded


pytestmark = pytest.mark.usefixtures("switched_on")


def chats(recorded: Recorded) -> list[Any]:
    return [span.attributes for span in recorded.spans if span.name == f"chat {MODEL}"]


def test_model_call_says_what_was_asked_and_what_it_cost(recorded: Recorded) -> None:
    Planner(calls=()).invoke("hello")
    usage = TokenUsage(input_tokens=100, output_tokens=20, cached_tokens=40, reasoning_tokens=7)
    values = dict(recorded.spans[0].attributes)
    values.pop(keys.SAMPLING_REASON)
    assert values == {
        keys.GEN_AI_OPERATION_NAME: "chat",
        keys.GEN_AI_PROVIDER_NAME: "gcp.gemini",
        keys.AI_SYSTEM: "gemini",
        keys.GEN_AI_REQUEST_MODEL: MODEL,
        keys.AI_MODEL: MODEL,
        keys.GEN_AI_REQUEST_TEMPERATURE: 0.7,
        keys.AI_TEMPERATURE: 0.7,
        keys.GEN_AI_REQUEST_MAX_TOKENS: 512,
        keys.GEN_AI_REQUEST_STREAM: False,
        keys.AI_PROMPT_HISTORY_SIZE: 1,
        keys.GEN_AI_RESPONSE_MODEL: MODEL,
        keys.GEN_AI_RESPONSE_FINISH_REASONS: ("STOP",),
        keys.AI_COST_ESTIMATED_USD: estimate_cost(MODEL, usage, provider="google"),
        **usage.attributes(),
    }


async def test_streamed_model_call_says_the_same_and_its_times(recorded: Recorded) -> None:
    model = Planner(calls=())
    await model.ainvoke("hello")
    assert [chunk async for chunk in model.astream("hello")]
    plain, streamed = (dict(values) for values in chats(recorded))
    first_chunk = streamed.pop(keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    first_text = streamed.pop(keys.AI_STREAM_FIRST_TOKEN_MS)
    total = streamed.pop(keys.AI_STREAM_TOTAL_MS)
    assert 0 < first_chunk * 1000 <= first_text + 0.001 <= total + 0.002
    assert streamed == {**plain, keys.GEN_AI_REQUEST_STREAM: True}


class Silent(Planner):
    """A model that streams chunks without text, of every kind there is."""

    def _plan(self, messages: Any) -> Iterator[AIMessageChunk]:
        yield AIMessageChunk(content="")
        yield AIMessageChunk(content=[])
        yield AIMessageChunk(content=[{"type": "thinking", "thinking": "hm", "index": 0}])
        yield AIMessageChunk(content=[{"type": "text", "text": "", "index": 1}])
        yield next(Planner()._plan(messages))  # a tool call
        yield AIMessageChunk(content="", chunk_position="last")


async def test_chunk_without_text_is_no_token(recorded: Recorded) -> None:
    assert [chunk async for chunk in Silent().astream("hello")]
    assert list(Silent().stream("hello"))
    for values in chats(recorded):
        assert keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK in values
        assert keys.AI_STREAM_FIRST_TOKEN_MS not in values


class Blocks(Planner):
    """A model whose chunks are lists of blocks, as Gemini 3 sends them."""

    def _plan(self, messages: Any) -> Iterator[AIMessageChunk]:
        yield AIMessageChunk(content=[{"type": "text", "text": "hello", "index": 0}])


async def test_block_of_text_is_a_token(recorded: Recorded) -> None:
    assert [chunk async for chunk in Blocks().astream("hello")]
    assert keys.AI_STREAM_FIRST_TOKEN_MS in chats(recorded)[0]


async def test_usage_that_is_missing_is_absent_and_not_zero(recorded: Recorded) -> None:
    model = Planner(calls=(), usage=None)
    with turn("turn"):
        assert [chunk async for chunk in model.astream("hello")]
    values = chats(recorded)[0]
    assert not [key for key in values if "usage" in key or "cost" in key]
    root = recorded.one("turn").attributes
    assert root[keys.TURN_MODEL_CALLS] == 1
    assert keys.TURN_INPUT_TOKENS not in root
    assert keys.TURN_COST_USD not in root


class Deltas(Planner):
    """A model that reports its usage bit by bit."""

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        for text in ("one ", "two"):
            usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
            message = AIMessageChunk(content=text, usage_metadata=usage)  # type: ignore[arg-type] # a TypedDict
            yield ChatGenerationChunk(message=message)


async def test_usage_on_chunks_is_summed(recorded: Recorded) -> None:
    assert [chunk async for chunk in Deltas().astream("hello")]
    assert chats(recorded)[0][keys.GEN_AI_USAGE_INPUT_TOKENS] == 10
    assert chats(recorded)[0][keys.GEN_AI_USAGE_OUTPUT_TOKENS] == 2


async def test_fake_models_of_langchain_are_traced(recorded: Recorded) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("hello you"), "again"]))
    assert (await model.ainvoke("x")).content == "hello you"
    assert [chunk async for chunk in model.astream("x")]
    assert FakeListChatModel(responses=["a"]).invoke("x").content == "a"
    assert len(recorded.spans) == 3
    assert all(span.name.startswith("chat ") for span in recorded.spans)


def test_tool_says_its_name_and_the_id_of_the_call(engine: Engine, recorded: Recorded) -> None:
    react(Planner(), [sql_tool(engine)]).invoke(question())
    assert recorded.one("execute_tool look_up").attributes == {
        keys.GEN_AI_OPERATION_NAME: "execute_tool",
        keys.GEN_AI_TOOL_NAME: "look_up",
        keys.AI_TOOL_NAME: "look_up",
        keys.GEN_AI_TOOL_TYPE: "function",
        keys.GEN_AI_TOOL_CALL_ID: "call-0",
    }


def test_conversation_and_phase_stand_on_ai_spans(engine: Engine, recorded: Recorded) -> None:
    with turn("turn"):
        bind(session_id="s-1", phase="INTAKE")
        react(Planner(), [sql_tool(engine)]).invoke(question())
    for span in recorded.spans:
        is_ai = span.name.split()[0] in {"invoke_agent", "chat", "execute_tool"}
        assert (span.attributes.get(keys.GEN_AI_CONVERSATION_ID) == "s-1") is is_ai
        assert (span.attributes.get(keys.AI_PROMPT_PHASE) == "INTAKE") is span.name.startswith(
            "chat"
        )


@pytest.mark.parametrize("mode", ["messages", "values", "ainvoke", "invoke", "stream"])
async def test_prompt_answer_arguments_and_results_are_never_in_the_record(
    engine: Engine, recorded: Recorded, mode: str
) -> None:
    graph = react(Planner(), [sql_tool(engine)])
    if mode == "ainvoke":
        await graph.ainvoke(question())
    elif mode == "invoke":
        graph.invoke(question())
    elif mode == "stream":
        assert list(graph.stream(question(), stream_mode="messages"))
    else:
        assert [item async for item in graph.astream(question(), stream_mode=mode)]
    assert len(recorded.spans) == 8
    sent = encoded(recorded.spans)
    assert b"canary" not in sent
    assert ANSWER[1].encode() not in sent
    assert recorded.guard.withheld == {}


async def run(graph: Any, *, is_async: bool) -> None:
    if is_async:
        await graph.ainvoke(question())
    else:
        graph.invoke(question())


def failing_tool(error: Exception, *, is_async: bool) -> StructuredTool:
    def fail(style: str) -> str:
        raise error

    async def fail_async(style: str) -> str:
        raise error

    return StructuredTool.from_function(
        fail, fail_async if is_async else None, name="look_up", description="Fail."
    )


@pytest.mark.parametrize("is_async", [True, False])
async def test_failure_of_a_tool_is_raised_as_it_is_and_told_by_type(
    recorded: Recorded, is_async: bool
) -> None:
    error = LookupError("canary-error")
    graph = react(Planner(), [failing_tool(error, is_async=is_async)])
    with turn("turn"), unleaked(), pytest.raises(LookupError) as caught:
        await run(graph, is_async=is_async)
    assert caught.value is error
    assert error.args == ("canary-error",)
    for name in ("execute_tool look_up", "node tools", "invoke_agent helper"):
        assert recorded.one(name).status_code == 2
        assert recorded.one(name).attributes[keys.ERROR_TYPE] == "LookupError"
    assert recorded.one("turn").attributes[keys.TURN_OUTCOME] == "error"
    assert recorded.one("node agent").status_code == 0
    assert b"canary" not in encoded(recorded.spans)


@pytest.mark.parametrize("is_async", [True, False])
async def test_failure_of_a_model_is_raised_as_it_is_and_told_by_type(
    recorded: Recorded, is_async: bool
) -> None:
    error = LookupError("canary-error")
    graph = react(Planner(calls=(), error=error), [])
    with unleaked(), pytest.raises(LookupError) as caught:
        await run(graph, is_async=is_async)
    assert caught.value is error
    assert {span.attributes[keys.ERROR_TYPE] for span in recorded.spans} == {"LookupError"}
    assert b"canary" not in encoded(recorded.spans)


async def test_failure_of_a_node_is_raised_as_it_is_and_told_by_type(recorded: Recorded) -> None:
    error = LookupError("canary-error")

    async def fail(state: MessagesState) -> None:
        raise error

    graph = StateGraph(MessagesState)
    graph.add_node("fail", fail)
    graph.add_edge(START, "fail")
    with unleaked(), pytest.raises(LookupError) as caught:
        await graph.compile(name="g").ainvoke(question())
    assert caught.value is error
    assert [span.attributes[keys.ERROR_TYPE] for span in recorded.spans] == ["LookupError"] * 2
    assert b"canary" not in encoded(recorded.spans)


async def test_node_cancelled_because_of_its_neighbour_did_not_fail(recorded: Recorded) -> None:
    begun = asyncio.Event()

    async def hang(state: MessagesState) -> None:
        await Planner(hangs=begun).ainvoke(state["messages"])

    async def fail(state: MessagesState) -> None:
        await begun.wait()
        raise LookupError

    graph = StateGraph(MessagesState)
    for name, node in (("hang", hang), ("fail", fail)):
        graph.add_node(name, node)
        graph.add_edge(START, name)
    with pytest.raises(LookupError):
        await graph.compile(name="g").ainvoke(question())
    assert recorded.one("node fail").status_code == 2
    assert recorded.one("node hang").status_code == 0
    assert recorded.one(f"chat {MODEL}").status_code == 0


async def test_agent_that_failed_within_a_node_that_copes_leaves_the_turn_ok(
    recorded: Recorded,
) -> None:
    inner = react(Planner(calls=(), error=LookupError()), [], name="inner")

    async def cope(state: MessagesState) -> dict[str, Any]:
        with pytest.raises(LookupError):
            await inner.ainvoke({"messages": state["messages"]})
        return {"messages": [AIMessage("sorry")]}

    graph = StateGraph(MessagesState)
    graph.add_node("cope", cope)
    graph.add_edge(START, "cope")
    with turn("turn"):
        await graph.compile(name="outer").ainvoke(question())
    assert recorded.one("invoke_agent inner").status_code == 2
    assert recorded.one("invoke_agent outer").status_code == 0
    assert recorded.one("turn").attributes[keys.TURN_OUTCOME] == "ok"


class Tireless(Planner):
    """A model that never stops asking for the tool."""

    def _plan(self, messages: Any) -> Iterator[AIMessageChunk]:
        yield from Planner._plan(self, messages[:1])


async def test_recursion_limit_is_an_event_of_the_agent(engine: Engine, recorded: Recorded) -> None:
    with pytest.raises(GraphRecursionError):
        await react(Tireless(), [sql_tool(engine)]).ainvoke(question(), {"recursion_limit": 4})
    agent = recorded.one("invoke_agent helper")
    assert [event.name for event in agent.events] == ["agent.recursion_limit_hit", "exception"]
    assert agent.attributes[keys.AI_REACT_LOOP_ITERATIONS] == 2
    assert agent.attributes[keys.AI_TOOL_CALLS_COUNT] == 2


async def test_interrupt_and_resume_are_no_errors(recorded: Recorded) -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(interrupt("canary-interrupt"))]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    compiled = graph.compile(name="g", checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    with unleaked():
        await compiled.ainvoke(question(), config)
        await compiled.ainvoke(Command(resume="canary-reply"), config)
    assert recorded.tree() == ["invoke_agent g", "  node ask"] * 2
    assert not any(span.status_code for span in recorded.spans)
    assert b"canary" not in encoded(recorded.spans)


class Asynchronous(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.heard.append("token")

    async def on_tool_end(self, output: Any, **_: Any) -> None:
        self.heard.append("tool")


class Plain(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.heard.append("model")

    def on_tool_start(self, *_: Any, **__: Any) -> None:
        self.heard.append("tool")


async def test_callbacks_of_the_app_hear_everything_once(
    engine: Engine, recorded: Recorded
) -> None:
    plain, asynchronous = Plain(), Asynchronous()
    graph = react(Planner(), [sql_tool(engine)])
    config: Any = {"callbacks": [plain, asynchronous]}
    assert [item async for item in graph.astream(question(), config, stream_mode="messages")]
    assert plain.heard == ["model", "tool", "model"]
    assert asynchronous.heard.count("tool") == 1
    assert asynchronous.heard.count("token") >= len(ANSWER)
    assert len(recorded.spans) == 8


class CountingPool(ThreadPoolExecutor):
    """The executor of an event loop that counts what it is given."""

    def __init__(self) -> None:
        super().__init__(2)
        self.given = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.given += 1
        return super().submit(*args, **kwargs)


async def test_handler_takes_no_thread(recorded: Recorded) -> None:
    pool = CountingPool()
    asyncio.get_running_loop().set_default_executor(pool)
    graph = react(Planner(calls=(), chunks=tuple("abcdefghij")), [])

    async def threads_taken() -> int:
        before = pool.given
        assert [item async for item in graph.astream(question(), stream_mode="messages")]
        return pool.given - before

    traced = await threads_taken()
    assert len(recorded.spans) == 3
    turntrace.uninstrument()
    assert await threads_taken() == traced
    turntrace.instrument("langgraph")


def test_name_of_a_graph_that_is_no_plain_text_is_withheld(recorded: Recorded) -> None:
    react(Planner(calls=()), [], name="what: is 'this'?").invoke(question())
    assert recorded.tree()[0] == "invoke_agent"
    assert keys.GEN_AI_AGENT_NAME not in recorded.one("invoke_agent").attributes


def test_whatever_a_user_or_a_model_may_choose_leaves_only_as_a_name(recorded: Recorded) -> None:
    typed = "zq7canary what a user typed"
    model = FakeListChatModel(responses=["hi"], metadata={"ls_model_name": typed})
    model.invoke("hello")
    assert recorded.names() == ["chat unknown"]
    assert typed.encode() not in encoded(recorded.spans)
