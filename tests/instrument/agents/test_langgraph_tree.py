"""One agent run is one tree: agent, nodes, model calls, tools and what they do."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from operator import add
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph_agents import (
    MODEL,
    TREE,
    Planner,
    app_span,
    both,
    next_node,
    question,
    react,
    sql_tool,
    unleaked,
)

from turntrace import attributes as keys
from turntrace.conversation import turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from conftest import Recorded


pytestmark = pytest.mark.usefixtures("switched_on")


@pytest.fixture
def graph(engine: Engine) -> Any:
    return react(Planner(), [sql_tool(engine)])


async def stream_messages(graph: Any) -> None:
    assert [item async for item in graph.astream(question(), stream_mode="messages")]


async def stream_values(graph: Any) -> None:
    assert [item async for item in graph.astream(question(), stream_mode="values")]


async def invoke_async(graph: Any) -> None:
    await graph.ainvoke(question())


async def invoke(graph: Any) -> None:
    graph.invoke(question())


async def stream(graph: Any) -> None:
    assert list(graph.stream(question(), stream_mode="messages"))


async def stream_updates(graph: Any) -> None:
    assert list(graph.stream(question(), stream_mode="updates"))


async def stream_events(graph: Any) -> None:
    assert [item async for item in graph.astream_events(question(), version="v2")]


async def stream_log(graph: Any) -> None:
    assert [item async for item in graph.astream_events(question(), version="v1")]


async def stream_several(graph: Any) -> None:
    modes = ["messages", "updates", "custom"]
    assert [item async for item in graph.astream(question(), stream_mode=modes, subgraphs=True)]


@pytest.mark.parametrize(
    "run",
    [
        stream_messages,
        stream_values,
        invoke_async,
        invoke,
        stream,
        stream_updates,
        stream_events,
        pytest.param(stream_log, marks=pytest.mark.filterwarnings("ignore:astream_events")),
        stream_several,
    ],
)
async def test_agent_run_is_one_tree_and_leaves_nothing_behind(
    graph: Any, recorded: Recorded, run: Callable[[Any], Any]
) -> None:
    with unleaked():
        await run(graph)
    assert recorded.tree() == TREE
    assert not any(span.status_code for span in recorded.spans)


@pytest.mark.parametrize("run", [stream_messages, invoke_async, invoke, stream])
async def test_agent_run_hangs_below_the_current_span(
    graph: Any, recorded: Recorded, run: Callable[[Any], Any]
) -> None:
    with app_span("turn"), unleaked():
        await run(graph)
    assert recorded.tree() == ["turn", *(f"  {line}" for line in TREE)]


async def test_no_span_is_left_open_after_a_run(graph: Any, recorded: Recorded) -> None:
    with app_span("turn") as span:
        await graph.ainvoke(question())
        assert list(span.local_trace.open_spans.values()) == [span]


def test_agent_run_on_a_bare_thread_is_one_tree(graph: Any, recorded: Recorded) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(graph.invoke, question()).result()
    assert recorded.tree() == TREE


async def test_model_called_on_a_bare_thread_still_hangs_below_its_node(
    recorded: Recorded,
) -> None:
    def node(state: MessagesState, config: Any) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(Planner().invoke, state["messages"], config)
            return {"messages": [call.result()]}

    node.__annotations__.pop("config")
    graph = StateGraph(MessagesState)
    graph.add_node("ask", node)
    graph.add_edge(START, "ask")
    await graph.compile(name="g").ainvoke(question())
    assert recorded.tree() == ["invoke_agent g", "  node ask", f"    chat {MODEL}"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_span_of_the_app_between_node_and_model_is_kept(
    recorded: Recorded, is_async: bool
) -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        with app_span("prepare"):
            return {"messages": [Planner(calls=()).invoke(state["messages"])]}

    async def ask_async(state: MessagesState) -> dict[str, Any]:
        with app_span("prepare"):
            return {"messages": [await Planner(calls=()).ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", both(ask, ask_async))
    graph.add_edge(START, "agent")
    compiled = graph.compile(name="g")
    if is_async:
        await compiled.ainvoke(question())
    else:
        compiled.invoke(question())
    expected = ["invoke_agent g", "  node agent", "    prepare", f"      chat {MODEL}"]
    assert recorded.tree() == expected


async def test_spans_of_the_app_in_a_node_come_after_one_another(recorded: Recorded) -> None:
    async def ask(state: MessagesState) -> dict[str, Any]:
        with app_span("before"):
            pass
        answer = await Planner(calls=()).ainvoke(state["messages"])
        with app_span("after"):
            pass
        return {"messages": [answer]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", ask)
    graph.add_edge(START, "agent")
    await graph.compile(name="g").ainvoke(question())
    assert recorded.tree() == [
        "invoke_agent g",
        "  node agent",
        "    before",
        f"    chat {MODEL}",
        "    after",
    ]


PARALLEL = [
    "invoke_agent helper",
    "  node agent",
    f"    chat {MODEL}",
    "  node tools",
    "    execute_tool look_up",
    "      SELECT styles",
    "    execute_tool other",
    "      SELECT styles",
    "  node agent",
    f"    chat {MODEL}",
]


def in_order(lines: list[str]) -> list[str]:
    """Return a tree whose two tools stand in the order of their names."""
    tools = next(i for i, line in enumerate(lines) if "execute_tool" in line)
    both_tools = sorted((lines[tools : tools + 2], lines[tools + 2 : tools + 4]))
    return [*lines[:tools], *both_tools[0], *both_tools[1], *lines[tools + 4 :]]


async def test_parallel_tools_each_hold_their_own_statement(
    engine: Engine, recorded: Recorded
) -> None:
    tools = [sql_tool(engine), sql_tool(engine, "other")]
    await stream_messages(react(Planner(calls=("look_up", "other")), tools))
    assert in_order(recorded.tree()) == PARALLEL


@pytest.mark.parametrize("run", [stream_messages, invoke_async, invoke, stream])
async def test_tool_node_runs_parallel_tools_side_by_side(
    engine: Engine, recorded: Recorded, run: Callable[[Any], Any]
) -> None:
    model = Planner(calls=("look_up", "other"))
    graph = StateGraph(MessagesState)
    graph.add_node(
        "agent",
        both(
            lambda state: {"messages": [model.invoke(state["messages"])]},
            lambda state: ask_model(model, state),
        ),
    )
    graph.add_node("tools", ToolNode([sql_tool(engine), sql_tool(engine, "other")]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", next_node, ["tools", END])
    graph.add_edge("tools", "agent")
    await run(graph.compile(name="helper"))
    assert in_order(recorded.tree()) == PARALLEL


async def ask_model(model: Planner, state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


class Both(TypedDict):
    messages: Annotated[list[AnyMessage], add]


@pytest.mark.parametrize("is_async", [True, False])
async def test_parallel_nodes_are_siblings_with_their_own_children(
    recorded: Recorded, is_async: bool
) -> None:
    def ask(state: Any) -> dict[str, Any]:
        return {"messages": [Planner(calls=()).invoke(state["messages"])]}

    async def ask_async(state: Any) -> dict[str, Any]:
        return {"messages": [await Planner(calls=()).ainvoke(state["messages"])]}

    graph = StateGraph(Both)
    for name in ("left", "right"):
        graph.add_node(name, both(ask, ask_async))
        graph.add_edge(START, name)
    compiled = graph.compile(name="g")
    if is_async:
        await compiled.ainvoke(question())
    else:
        compiled.invoke(question())
    assert sorted(recorded.names()) == sorted(
        ["invoke_agent g", "node left", "node right", f"chat {MODEL}", f"chat {MODEL}"]
    )
    for name in ("node left", "node right"):
        assert [span.name for span in recorded.children(name)] == [f"chat {MODEL}"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_eight_runs_at_once_are_eight_clean_traces(
    engine: Engine, recorded: Recorded, is_async: bool
) -> None:
    graph = react(Planner(), [sql_tool(engine)])
    if is_async:
        await asyncio.gather(*(stream_messages(graph) for _ in range(8)))
    else:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(graph.invoke, [question() for _ in range(8)]))
    assert recorded.tree() == TREE * 8
    assert len({span.trace_id for span in recorded.spans}) == 8


async def test_edge_functions_and_channel_writes_have_no_span(recorded: Recorded) -> None:
    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("hello")]}

    def decide(state: MessagesState) -> str:
        return END

    decide.__name__ = "agent"  # the name of the node itself
    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", decide, [END])
    await graph.compile(name="g").ainvoke(question())
    assert recorded.tree() == ["invoke_agent g", "  node agent"]


@pytest.mark.parametrize("run", [stream_messages, invoke_async, invoke, stream_several])
async def test_subgraph_is_an_agent_within_its_node(
    engine: Engine, recorded: Recorded, run: Callable[[Any], Any]
) -> None:
    outer = StateGraph(MessagesState)
    outer.add_node("delegate", react(Planner(), [sql_tool(engine)]))
    outer.add_edge(START, "delegate")
    await run(outer.compile(name="outer"))
    assert recorded.tree() == [
        "invoke_agent outer",
        "  node delegate",
        *(f"    {line}" for line in TREE),
    ]


@pytest.mark.parametrize("method", ["invoke", "stream", "ainvoke", "astream"])
async def test_model_without_a_graph_is_traced(recorded: Recorded, method: str) -> None:
    model = Planner(calls=())
    with app_span("turn"), unleaked():
        if method == "invoke":
            model.invoke("hello")
        elif method == "stream":
            assert list(model.stream("hello"))
        elif method == "ainvoke":
            await model.ainvoke("hello")
        else:
            assert [chunk async for chunk in model.astream("hello")]
    assert recorded.tree() == ["turn", f"  chat {MODEL}"]


async def test_model_calls_of_a_batch_are_siblings(recorded: Recorded) -> None:
    with app_span("turn"), unleaked():
        await Planner(calls=()).agenerate([[HumanMessage("one")], [HumanMessage("two")]])
        await Planner(calls=()).abatch(["three", "four"])
    assert recorded.tree() == ["turn", *[f"  chat {MODEL}"] * 4]


async def test_tool_without_a_graph_is_traced(engine: Engine, recorded: Recorded) -> None:
    tool = sql_tool(engine)
    with app_span("turn"), unleaked():
        await tool.ainvoke({"style": "x"})
        tool.invoke({"style": "x"})
    assert recorded.tree() == ["turn", *["  execute_tool look_up", "    SELECT styles"] * 2]


async def test_stream_made_early_belongs_where_it_is_read(graph: Any, recorded: Recorded) -> None:
    made_outside = graph.astream(question())
    also_outside = graph.stream(question())
    with app_span("reader"):
        assert [item async for item in made_outside]
        assert list(also_outside)
    assert recorded.tree() == ["reader", *(f"  {line}" for line in TREE * 2)]


async def test_agent_and_turn_count_passes_tools_and_tokens(
    engine: Engine, recorded: Recorded
) -> None:
    graph = react(
        Planner(calls=("look_up", "other")), [sql_tool(engine), sql_tool(engine, "other")]
    )
    with turn("by hand"):
        await stream_messages(graph)
    agent = recorded.one("invoke_agent helper").attributes
    assert agent[keys.AI_REACT_LOOP_ITERATIONS] == 2
    assert agent[keys.AI_TOOL_CALLS_COUNT] == 2
    root = recorded.one("by hand").attributes
    chat = next(span for span in recorded.spans if span.name == f"chat {MODEL}")
    assert {key: root[key] for key in root if key.startswith("turntrace.turn.")} == {
        keys.TURN_OUTCOME: "ok",
        keys.TURN_ITERATIONS: 2,
        keys.TURN_MODEL_CALLS: 2,
        keys.TURN_TOOL_CALLS: 2,
        keys.TURN_INPUT_TOKENS: 200,
        keys.TURN_OUTPUT_TOKENS: 40,
        keys.TURN_COST_USD: pytest.approx(2 * chat.attributes[keys.AI_COST_ESTIMATED_USD]),
        keys.TURN_DB_STATEMENTS: 2,
        keys.TURN_DB_MS: pytest.approx(
            sum(
                span.attributes[keys.DB_QUERY_DURATION_MS]
                for span in recorded.spans
                if span.name == "SELECT styles"
            ),
            abs=0.002,
        ),
    }
