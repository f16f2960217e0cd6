"""However a run or a stream is left, nothing stays behind: no context, no open span, no run."""

from __future__ import annotations

import asyncio
import gc
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel import Pregel
from langgraph_agents import (
    ANSWER,
    MODEL,
    WAIT_SECONDS,
    Planner,
    app_span,
    handler,
    question,
    react,
    sql_tool,
    unleaked,
    until,
)
from opentelemetry import trace

import turntrace
from turntrace import attributes as keys
from turntrace.conversation import turn
from turntrace.instrument.langgraph import _async_scope, _scope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator

    from sqlalchemy import Engine

    from conftest import Recorded


pytestmark = pytest.mark.usefixtures("switched_on")


@pytest.fixture
def graph(engine: Engine) -> Any:
    return react(Planner(), [sql_tool(engine)])


def outcomes(recorded: Recorded) -> set[Any]:
    """Return what is said of errors, on all spans."""
    return {(span.status_code, span.attributes.get(keys.ERROR_TYPE)) for span in recorded.spans}


async def test_between_two_items_the_current_span_is_the_readers(
    graph: Any, recorded: Recorded
) -> None:
    with app_span("turn"):
        with unleaked():
            async for _ in graph.astream(question(), stream_mode="messages"):
                with app_span("token"):
                    pass
        with unleaked():
            for _ in graph.stream(question(), stream_mode="messages"):
                with app_span("token"):
                    pass
    root = recorded.one("turn")
    tokens = [span for span in recorded.spans if span.name == "token"]
    assert len(tokens) > 6
    assert {span.parent_span_id for span in tokens} == {root.span_id}


async def test_between_two_chunks_of_a_model_the_current_span_is_the_readers(
    recorded: Recorded,
) -> None:
    with app_span("turn") as root:
        async for _ in Planner(calls=()).astream("hello"):
            assert trace.get_current_span() is root
        for _ in Planner(calls=()).stream("hello"):
            assert trace.get_current_span() is root


async def test_stream_left_early_ends_its_spans_without_an_error(
    graph: Any, recorded: Recorded
) -> None:
    with turn("turn"):
        with unleaked():
            async for _ in graph.astream(question(), stream_mode="messages"):
                break
        gc.collect()
        await until(lambda: not handler()._runs)
    assert outcomes(recorded) == {(0, None)}
    assert recorded.one("turn").attributes[keys.TURN_OUTCOME] == "ok"
    assert recorded.one("invoke_agent helper")


async def test_closed_stream_ends_its_spans_at_once(graph: Any, recorded: Recorded) -> None:
    with app_span("turn") as root, unleaked():
        stream = graph.astream(question(), stream_mode="messages")
        await anext(stream)
        await stream.aclose()
        await until(lambda: list(root.local_trace.open_spans) == [root.span_id])
        assert recorded.one("invoke_agent helper")
    assert outcomes(recorded) == {(0, None)}


def test_plain_stream_left_early_ends_its_spans_without_an_error(
    graph: Any, recorded: Recorded
) -> None:
    with turn("turn"):
        with unleaked():
            for _ in graph.stream(question(), stream_mode="messages"):
                break
        with unleaked():
            stream = graph.stream(question(), stream_mode="messages")
            next(stream)
            stream.close()
    assert outcomes(recorded) == {(0, None)}
    assert recorded.one("turn").attributes[keys.TURN_OUTCOME] == "ok"


async def test_model_stream_left_early_is_no_error(recorded: Recorded) -> None:
    model = Planner(calls=())
    with app_span("turn") as root, unleaked():
        stream = model.astream("hello")
        await anext(stream)
        await stream.aclose()
        plain = model.stream("hello")
        next(plain)
        plain.close()
        assert list(root.local_trace.open_spans) == [root.span_id]
    assert outcomes(recorded) == {(0, None)}


def test_stream_that_is_still_open_when_the_loop_ends_is_closed_quietly(
    graph: Any, recorded: Recorded
) -> None:
    complaints: list[dict[str, Any]] = []
    kept: list[Any] = []

    async def leave_open() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        kept.append(graph.astream(question(), stream_mode="values"))
        await anext(kept[0])

    asyncio.run(leave_open())
    assert complaints == []
    assert recorded.one("invoke_agent helper").status_code == 0


async def cancelled(work: Any, begun: asyncio.Event) -> None:
    """Cancel ``work`` once it has begun, and claim that it is a cancellation that comes out."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(WAIT_SECONDS):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def read_all(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("method", ["ainvoke", "astream"])
async def test_cancelled_model_call_ends_its_span(recorded: Recorded, method: str) -> None:
    begun = asyncio.Event()
    model = Planner(calls=(), hangs=begun)
    with app_span("turn") as root:
        work = model.ainvoke("x") if method == "ainvoke" else read_all(model.astream("x"))
        await cancelled(work, begun)
        assert list(root.local_trace.open_spans) == [root.span_id]
    assert recorded.tree() == ["turn", f"  chat {MODEL}"]
    assert outcomes(recorded) == {(0, None)}


async def test_cancelled_tool_ends_its_span(recorded: Recorded) -> None:
    begun = asyncio.Event()

    async def hang(style: str) -> str:
        begun.set()
        await asyncio.Event().wait()
        return style

    tool = StructuredTool.from_function(coroutine=hang, name="hang", description="Hang.")
    with app_span("turn") as root:
        await cancelled(tool.ainvoke({"style": "x"}), begun)
        assert list(root.local_trace.open_spans) == [root.span_id]
    assert recorded.tree() == ["turn", "  execute_tool hang"]
    assert outcomes(recorded) == {(0, None)}


@pytest.mark.parametrize("mode", ["ainvoke", "messages", "values"])
async def test_cancelled_agent_ends_every_span_below_it(recorded: Recorded, mode: str) -> None:
    begun = asyncio.Event()
    graph = react(Planner(hangs=begun), [])
    with turn("turn"), unleaked():
        work = (
            graph.ainvoke(question())
            if mode == "ainvoke"
            else read_all(graph.astream(question(), stream_mode=mode))
        )
        await cancelled(work, begun)
        assert trace.get_current_span().local_trace.open_spans.keys() == {  # type: ignore[attr-defined] # ours
            trace.get_current_span().get_span_context().span_id
        }
    assert recorded.tree() == [
        "turn",
        "  invoke_agent helper",
        "    node agent",
        f"      chat {MODEL}",
    ]
    assert outcomes(recorded) == {(0, None)}
    assert recorded.one("turn").attributes[keys.TURN_OUTCOME] == "cancelled"


async def test_model_call_that_timed_out_in_a_node_ends_before_what_follows(
    recorded: Recorded,
) -> None:
    async def ask(state: MessagesState) -> dict[str, Any]:
        begun = asyncio.Event()
        call = asyncio.ensure_future(Planner(hangs=begun).ainvoke(state["messages"]))
        await begun.wait()
        call.cancel()
        await asyncio.wait([call])
        with app_span("fallback"):
            return {"messages": [AIMessage("sorry")]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", ask)
    graph.add_edge(START, "agent")
    await graph.compile(name="g").ainvoke(question())
    assert recorded.names().index(f"chat {MODEL}") < recorded.names().index("fallback")
    assert recorded.one("fallback").parent_span_id == recorded.one("node agent").span_id


async def test_model_call_that_outlives_its_node_keeps_its_tokens(recorded: Recorded) -> None:
    may_go_on = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def summarize(state: MessagesState) -> None:
        with app_span("in_background"):
            model = Planner(calls=())
            stream = model.astream(state["messages"])
            await anext(stream)
            await may_go_on.wait()
            await read_all(stream)

    async def ask(state: MessagesState) -> dict[str, Any]:
        tasks.append(asyncio.create_task(summarize(state)))
        await until(lambda: len(handler()._runs) == 3)
        return {"messages": [AIMessage("done")]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", ask)
    graph.add_edge(START, "agent")
    await graph.compile(name="g").ainvoke(question())
    assert recorded.names() == ["node agent", "invoke_agent g"]
    may_go_on.set()
    await tasks[0]
    assert recorded.one(f"chat {MODEL}").attributes[keys.GEN_AI_USAGE_OUTPUT_TOKENS] == 20
    assert recorded.one("in_background").parent_span_id == recorded.one("node agent").span_id


async def test_exception_in_a_stream_leaves_nothing_behind(recorded: Recorded) -> None:
    error = LookupError("canary")
    graph = react(Planner(calls=(), error=error), [])
    with app_span("turn") as root:
        with unleaked(), pytest.raises(LookupError) as caught:
            await read_all(graph.astream(question(), stream_mode="messages"))
        assert caught.value is error
        with unleaked(), pytest.raises(LookupError) as caught:
            list(graph.stream(question(), stream_mode="messages"))
        assert caught.value is error
        assert list(root.local_trace.open_spans) == [root.span_id]


async def test_stream_may_be_read_by_one_task_after_the_other(
    graph: Any, recorded: Recorded
) -> None:
    stream = graph.astream(question(), stream_mode="messages")

    async def read_one() -> Any:
        with unleaked():
            return await anext(stream, None)

    while await asyncio.create_task(read_one()) is not None:
        pass
    assert len(recorded.tree()) == 8
    assert recorded.tree()[0] == "invoke_agent helper"


def test_plain_stream_may_be_read_by_one_thread_after_the_other(
    graph: Any, recorded: Recorded
) -> None:
    stream = graph.stream(question(), stream_mode="updates")
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        pools = [one, two] * 10
        while pools.pop().submit(next, stream, None).result() is not None:
            pass
    assert len(recorded.tree()) == 8


def test_streams_are_the_generators_they_were(graph: Any, engine: Engine) -> None:
    model = Planner()
    assert inspect.isasyncgen(graph.astream(question()))
    assert inspect.isgenerator(graph.stream(question()))
    assert inspect.isasyncgen(model.astream("x"))
    assert inspect.isgenerator(model.stream("x"))
    assert inspect.isasyncgenfunction(Pregel.astream)
    assert inspect.isgeneratorfunction(Pregel.stream)
    assert inspect.iscoroutinefunction(type(model).agenerate)
    made = sql_tool(engine).arun({"style": "x"})
    assert inspect.iscoroutine(made)
    made.close()


async def test_guard_passes_asend_athrow_and_aclose_on() -> None:
    seen: list[object] = []
    thrown = LookupError("x")

    async def talk() -> AsyncGenerator[object, object]:
        item: object = 0
        try:
            while True:
                try:
                    seen.append((yield item))
                    item = 1
                except LookupError as error:
                    item = error
        finally:
            seen.append("closed")

    made = _async_scope(talk())
    assert await anext(made) == 0
    assert await made.asend("hello") == 1
    assert await made.athrow(thrown) is thrown
    await made.aclose()
    assert seen == ["hello", "closed"]


def test_guard_passes_send_throw_close_and_the_result_on() -> None:
    seen: list[object] = []
    thrown = LookupError("x")

    def talk() -> Generator[object, object, str]:
        item: object = 0
        try:
            while True:
                try:
                    said = yield item
                    if said == "end":
                        return "result"
                    seen.append(said)
                    item = 1
                except LookupError as error:
                    item = error
        finally:
            seen.append("closed")

    made = _scope(talk())
    assert next(made) == 0
    assert made.send("hello") == 1
    assert made.throw(thrown) is thrown
    with pytest.raises(StopIteration) as stopped:
        made.send("end")
    assert stopped.value.value == "result"
    left = _scope(talk())
    next(left)
    left.close()
    assert seen == ["hello", "closed", "closed"]


async def test_error_thrown_into_a_stream_comes_out_as_it_is(
    graph: Any, recorded: Recorded
) -> None:
    error = LookupError("x")
    stream = graph.astream(question(), stream_mode="messages")
    await anext(stream)
    with unleaked(), pytest.raises(LookupError) as caught:
        await stream.athrow(error)
    assert caught.value is error
    plain = graph.stream(question(), stream_mode="messages")
    next(plain)
    with unleaked(), pytest.raises(LookupError) as caught:
        plain.throw(error)
    assert caught.value is error


async def test_answer_is_the_same_as_without_turntrace(engine: Engine) -> None:
    async def texts() -> list[Any]:
        graph = react(Planner(), [sql_tool(engine)])
        streamed = [
            (type(message), message.content, metadata["langgraph_node"])
            async for message, metadata in graph.astream(question(), stream_mode="messages")
        ]
        plain = [item.keys() for item in graph.stream(question(), stream_mode="updates")]
        result = await graph.ainvoke(question())
        return [streamed, plain, [(type(m), m.content) for m in result["messages"]]]

    traced = await texts()
    turntrace.uninstrument()
    assert await texts() == traced
    turntrace.instrument("langgraph")
    assert traced[2][-1] == (AIMessage, "".join(ANSWER))
