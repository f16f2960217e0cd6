"""A ReAct agent of LangGraph on a scripted model, with a canary in everything that is said."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import StructuredTool
from langgraph.graph import END, START, MessagesState, StateGraph
from two_sides import CANARY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from langchain_core.messages import BaseMessage

MODEL = "gemini-2.5-flash"
INPUT_TOKENS = 100
OUTPUT_TOKENS = 20

SAID = {
    place: f"{CANARY}-{place}"
    for place in (
        "system",
        "history",
        "prompt",
        "completion",
        "arguments",
        "result",
        "metadata",
        "model_error",
        "tool_error",
    )
}
"""The canary of each place where somebody says something."""


class ScriptedModel(BaseChatModel):
    """Asks for a tool first and answers in pieces once there is a result."""

    model: str
    """Required, so that LangChain tells callbacks of it."""
    fails: bool = False

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": 0.7}

    def bind_tools(self, tools: Any, **_: Any) -> ScriptedModel:  # type: ignore[override] # same type
        return self

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {
            "ls_provider": "google_genai",
            "ls_model_name": self.model,
            "ls_model_type": "chat",
            "ls_temperature": 0.7,
            "ls_max_tokens": 512,
        }

    def _pieces(self, messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
        if self.fails:
            raise ValueError(SAID["model_error"])
        if isinstance(messages[-1], ToolMessage):
            yield AIMessageChunk(content=SAID["completion"])
            yield AIMessageChunk(content=" and more")
        else:
            yield AIMessageChunk(
                content="",
                tool_call_chunks=[
                    {
                        "name": "look_up",
                        "args": f'{{"style": "{SAID["arguments"]}"}}',
                        "id": "call-1",
                        "index": 0,
                        "type": "tool_call_chunk",
                    }
                ],
            )
        yield AIMessageChunk(
            content="",
            usage_metadata={
                "input_tokens": INPUT_TOKENS,
                "output_tokens": OUTPUT_TOKENS,
                "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            },
            response_metadata={"finish_reason": "STOP", "model_name": MODEL},
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        first, *others = self._pieces(messages)
        whole: Any = first
        for other in others:
            whole = whole + other
        message = AIMessage(
            content=whole.content,
            tool_calls=whole.tool_calls,
            usage_metadata=whole.usage_metadata,
            response_metadata=whole.response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._pieces(messages):
            yield ChatGenerationChunk(message=piece)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._pieces(messages):
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=piece)


def agent(model: BaseChatModel, tool: StructuredTool) -> Any:
    """Compile the loop of the reference: `agent`, `tools`, and an edge that decides."""

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    async def use(state: MessagesState) -> dict[str, Any]:
        calls = state["messages"][-1].tool_calls  # type: ignore[union-attr] # the model's answer
        return {"messages": [await tool.ainvoke(call) for call in calls]}

    def decide(state: MessagesState) -> str:
        return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END

    bound: Any = model.bind_tools([tool])
    graph = StateGraph(MessagesState)
    graph.add_node("agent", ask)
    graph.add_node("tools", use)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", decide, ["tools", END])
    graph.add_edge("tools", "agent")
    return graph.compile(name="helper")


def style_tool(*, fails: bool = False) -> StructuredTool:
    """Return the tool that the model asks for."""

    async def look_up(style: str) -> str:
        await asyncio.sleep(0)
        if fails:
            raise LookupError(SAID["tool_error"])
        return SAID["result"]

    return StructuredTool.from_function(coroutine=look_up, description="Look a style up.")


def conversation() -> dict[str, Any]:
    """Return what the graph is given: instructions, what was said before, and a question."""
    return {
        "messages": [
            SystemMessage(SAID["system"]),
            HumanMessage(SAID["history"]),
            AIMessage("Said before."),
            HumanMessage(SAID["prompt"]),
        ]
    }


CONFIG: dict[str, Any] = {
    "metadata": {"note": SAID["metadata"]},
    "configurable": {"thread_id": "thread-1"},
}


async def answered() -> None:
    """Let the agent answer at once."""
    await agent(ScriptedModel(model=MODEL), style_tool()).ainvoke(conversation(), CONFIG)


async def streamed() -> None:
    """Let the agent answer token by token."""
    graph = agent(ScriptedModel(model=MODEL), style_tool())
    stream = graph.astream(conversation(), CONFIG, stream_mode="messages")
    said = "".join([str(message.text) async for message, _ in stream])
    assert SAID["completion"] in said


async def failing_tool() -> None:
    """Let the tool fail."""
    with contextlib.suppress(LookupError):
        await agent(ScriptedModel(model=MODEL), style_tool(fails=True)).ainvoke(
            conversation(), CONFIG
        )


async def failing_model() -> None:
    """Let the model fail."""
    with contextlib.suppress(ValueError):
        await agent(ScriptedModel(model=MODEL, fails=True), style_tool()).ainvoke(
            conversation(), CONFIG
        )
