"""The ReAct loop: the model answers or asks for tools, until it answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime

from renovation.prompts import Phase, system_prompt
from renovation.tools import ALLOWED_TOOLS


class TurnListener(Protocol):
    """Who is told what happens while the agent works; called in order, awaited each time."""

    async def on_token(self, text: str) -> None:
        """Take the next piece of the answer, never empty."""

    async def on_tool_call(self, name: str, arguments: dict[str, Any]) -> None:
        """Take note that a tool is about to run."""

    async def on_tool_result(self, name: str, result: Any) -> None:
        """Take what the tool found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnContext:
    """What the nodes need to know about the turn they work on."""

    phase: Phase
    listener: TurnListener


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMessage:
    """A message of the conversation so far."""

    role: str
    """`user` or `assistant`."""

    content: str


class Agent:
    """A compiled graph; one instance serves all turns at once."""

    def __init__(
        self,
        model: BaseChatModel,
        tools: Sequence[BaseTool],
        *,
        iterations: int,
        allowed_tools: frozenset[str] = ALLOWED_TOOLS,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools if tool.name in allowed_tools}
        self._model = model.bind_tools(list(self._tools.values()))
        self._step_limit = 2 * iterations  # an iteration is a step of `agent` and one of `tools`
        graph = StateGraph(MessagesState, context_schema=TurnContext)
        graph.add_node("agent", self._ask_model)
        graph.add_node("tools", self._run_tools)
        graph.add_edge(START, "agent")
        graph.add_conditional_edges("agent", _next_node, ["tools", END])
        graph.add_edge("tools", "agent")
        self._graph = graph.compile(name="renovation")

    async def answer(
        self,
        content: str,
        *,
        history: Sequence[PastMessage],
        phase: Phase,
        listener: TurnListener,
    ) -> str:
        """Work on one message of the user and return the whole answer.

        Raises:
            GraphRecursionError: the agent used all its iterations without an answer.
        """
        messages: list[AnyMessage] = [_as_message(past) for past in history]
        stream: AsyncIterator[Any] = self._graph.astream(
            MessagesState(messages=[*messages, HumanMessage(content)]),
            {"recursion_limit": self._step_limit},
            context=TurnContext(phase=phase, listener=listener),
            stream_mode="messages",
        )
        answer: list[str] = []
        async for message, metadata in stream:
            if metadata["langgraph_node"] != "agent" or not isinstance(message, AIMessageChunk):
                continue
            if text := str(message.text):
                answer.append(text)
                await listener.on_token(text)
        return "".join(answer)

    async def _ask_model(
        self, state: MessagesState, runtime: Runtime[TurnContext]
    ) -> dict[str, list[BaseMessage]]:
        prompt = SystemMessage(system_prompt(runtime.context.phase))
        return {"messages": [await self._model.ainvoke([prompt, *state["messages"]])]}

    async def _run_tools(
        self, state: MessagesState, runtime: Runtime[TurnContext]
    ) -> dict[str, list[ToolMessage]]:
        calls = _tool_calls(state)
        listener = runtime.context.listener
        return {"messages": await asyncio.gather(*(self._run(call, listener) for call in calls))}

    async def _run(self, call: ToolCall, listener: TurnListener) -> ToolMessage:
        name = call["name"]
        tool = self._tools.get(name)
        if tool is None:
            return ToolMessage(
                "There is no such tool.", tool_call_id=call["id"], name=name, status="error"
            )
        await listener.on_tool_call(name, call["args"])
        message: ToolMessage = await tool.ainvoke({**call, "type": "tool_call"})
        result = message.text if message.artifact is None else message.artifact
        await listener.on_tool_result(name, result)
        return message


def _next_node(state: MessagesState) -> str:
    return "tools" if _tool_calls(state) else END


def _tool_calls(state: MessagesState) -> list[ToolCall]:
    last = state["messages"][-1]
    return last.tool_calls if isinstance(last, AIMessage) else []


def _as_message(past: PastMessage) -> AnyMessage:
    return HumanMessage(past.content) if past.role == "user" else AIMessage(past.content)
