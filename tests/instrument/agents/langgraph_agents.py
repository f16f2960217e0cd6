"""A ReAct graph with a scripted model and tools on a real SQLite, for the tests of LangGraph."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import StructuredTool
from langgraph.graph import END, START, MessagesState, StateGraph
from opentelemetry import context as otel_context
from opentelemetry import trace
from pydantic import ConfigDict, Field
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from turntrace.export import otlp
from turntrace.instrument.langgraph import INSTRUMENTATION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from langchain_core.messages import BaseMessage
    from sqlalchemy import Engine

    from turntrace.record import SpanRecord

WAIT_SECONDS = 10.0
MODEL = "gemini-2.5-flash"
QUESTION = "canary-question"
ANSWER = ("canary-answer", " in", " pieces")
ARGUMENT = "canary-argument"
RESULT = "canary-result"
USAGE: dict[str, Any] = {
    "input_tokens": 100,
    "output_tokens": 20,
    "total_tokens": 120,
    "input_token_details": {"cache_read": 40},
    "output_token_details": {"reasoning": 7},
}
TREE = [
    "invoke_agent helper",
    "  node agent",
    f"    chat {MODEL}",
    "  node tools",
    "    execute_tool look_up",
    "      SELECT styles",
    "  node agent",
    f"    chat {MODEL}",
]


class Planner(GenericFakeChatModel):
    """Asks for its tools first and answers once results are there; keeps no state."""

    messages: Any = ()
    calls: tuple[str, ...] = ("look_up",)
    chunks: tuple[str, ...] = ANSWER
    usage: dict[str, Any] | None = Field(default=USAGE)
    error: BaseException | None = None
    """Raised after the first chunk of an answer."""
    hangs: Any = None
    """Set (an asyncio.Event) once the model hangs, which it then does before its first chunk."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def bind_tools(self, tools: Any, **_: Any) -> Planner:  # type: ignore[override] # same type
        return self

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {
            "ls_provider": "google_genai",
            "ls_model_name": f"models/{MODEL}",
            "ls_model_type": "chat",
            "ls_temperature": 0.7,
            "ls_max_tokens": 512,
        }

    def _plan(self, messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
        if self.calls and not isinstance(messages[-1], ToolMessage):
            yield AIMessageChunk(
                content="",
                tool_call_chunks=[
                    {
                        "name": name,
                        "args": f'{{"style": "{ARGUMENT}"}}',
                        "id": f"call-{index}",
                        "index": index,
                        "type": "tool_call_chunk",
                    }
                    for index, name in enumerate(self.calls)
                ],
            )
        else:
            for number, piece in enumerate(self.chunks):
                yield AIMessageChunk(content=piece)
                if number == 0 and self.error is not None:
                    raise self.error
        if self.usage is not None:
            yield AIMessageChunk(
                content="",
                usage_metadata=self.usage,  # type: ignore[arg-type] # a TypedDict
                response_metadata={"finish_reason": "STOP", "model_name": f"models/{MODEL}"},
            )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        first, *others = self._plan(messages)
        merged = first.__add__(*others[:1]) if others else first
        for other in others[1:]:
            merged = merged + other  # type: ignore[assignment] # chunks add up to chunks
        message = AIMessage(
            content=merged.content,
            tool_calls=merged.tool_calls,
            usage_metadata=merged.usage_metadata,
            response_metadata=merged.response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        await self._maybe_hang()
        return self._generate(messages)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in self._plan(messages):
            yield ChatGenerationChunk(message=message)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        await self._maybe_hang()
        for message in self._plan(messages):
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=message)

    async def _maybe_hang(self) -> None:
        if self.hangs is not None:
            self.hangs.set()
            await asyncio.Event().wait()


def styles_engine() -> Engine:
    """Return a SQLite in memory that every thread may use, with one row."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE styles (name TEXT)"))
        connection.execute(text("INSERT INTO styles VALUES (:name)"), {"name": RESULT})
    return engine


def look_up(engine: Engine, style: str) -> str:
    """Read one style."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT name FROM styles WHERE name <> :style"), {"style": style}
        )
        return str(rows.scalar())


def sql_tool(engine: Engine, name: str = "look_up") -> StructuredTool:
    """Return a tool that reads in whatever thread it is run in."""
    return StructuredTool.from_function(
        lambda style: look_up(engine, style), name=name, description="Look a style up."
    )


def react(model: Any, tools: Sequence[Any], *, name: str = "helper", **compiled: Any) -> Any:
    """Compile the loop of the reference: `agent`, `tools`, and an edge that decides."""
    by_name = {tool.name: tool for tool in tools}

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def ask_async(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def run(state: MessagesState) -> dict[str, Any]:
        calls = state["messages"][-1].tool_calls  # type: ignore[union-attr] # the model's answer
        return {"messages": [by_name[call["name"]].invoke(call) for call in calls]}

    async def run_async(state: MessagesState) -> dict[str, Any]:
        calls = state["messages"][-1].tool_calls  # type: ignore[union-attr] # the model's answer
        results = await asyncio.gather(*(by_name[call["name"]].ainvoke(call) for call in calls))
        return {"messages": list(results)}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", both(ask, ask_async))
    graph.add_node("tools", both(run, run_async))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", next_node, ["tools", END])
    graph.add_edge("tools", "agent")
    return graph.compile(name=name, **compiled)


def both(sync: Any, asynchronous: Any) -> Any:
    """Return a node that works in both worlds."""
    from langchain_core.runnables import RunnableLambda

    return RunnableLambda(sync, asynchronous)


def next_node(state: MessagesState) -> str:
    """Decide where to go; a function that has no span."""
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


def question() -> dict[str, Any]:
    """Return the input of a graph."""
    return {"messages": [HumanMessage(QUESTION)]}


def encoded(spans: Sequence[SpanRecord]) -> bytes:
    """Return the spans as they would leave the process."""
    return otlp.encode_request(otlp.Resource({}), spans)


def app_span(name: str) -> Any:
    """Return a span the app makes itself, as a context manager."""
    return trace.get_tracer("turntrace.test").start_as_current_span(name)


@contextmanager
def unleaked() -> Iterator[None]:
    """Claim that the current context is the same object afterwards."""
    before = otel_context.get_current()
    span = trace.get_current_span()
    yield
    assert trace.get_current_span() is span
    assert otel_context.get_current() is before


def handler() -> Any:
    """Return the handler that is switched on."""
    assert INSTRUMENTATION._handler is not None
    found = INSTRUMENTATION._handler.get()
    assert found is not None
    return found


async def until(condition: Any) -> None:
    """Let the loop run until ``condition()`` holds."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
