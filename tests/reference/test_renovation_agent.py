"""The agent, its tools and its prompts, with the real client and the local Gemini."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_google_genai import ChatGoogleGenerativeAI
from langgraph.errors import GraphRecursionError

from renovation.agent import Agent, PastMessage
from renovation.gemini import chat_model
from renovation.prompts import Phase, system_prompt
from renovation.repository import Repository
from renovation.settings import Settings
from renovation.tools import ALLOWED_TOOLS, agent_tools


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    async def on_token(self, text: str) -> None:
        self.heard.append(("token", text))

    async def on_tool_call(self, name: str, arguments: dict[str, Any]) -> None:
        self.heard.append(("call", name))

    async def on_tool_result(self, name: str, result: Any) -> None:
        self.heard.append(("result", name))

    def count(self, kind: str) -> int:
        return [heard for heard, _ in self.heard].count(kind)


@pytest.fixture
async def model(gemini_url: str) -> AsyncIterator[ChatGoogleGenerativeAI]:
    made = chat_model(Settings(), gemini_url)
    yield made
    await made.aclose()


@pytest.fixture
def agent(model: ChatGoogleGenerativeAI, repository: Repository) -> Agent:
    return Agent(model, agent_tools(repository), iterations=3)


async def ask(agent: Agent, content: str, **more: Any) -> tuple[str, Listener]:
    listener = Listener()
    settings = {"history": [], "phase": Phase.INTAKE, **more}
    return await agent.answer(content, listener=listener, **settings), listener


async def test_the_answer_is_the_sum_of_its_tokens(agent: Agent) -> None:
    answer, listener = await ask(agent, "hello")
    assert answer == "".join(text for _, text in listener.heard)
    assert listener.count("token") == 60


async def test_both_tools_run_in_one_iteration(agent: Agent) -> None:
    answer, listener = await ask(agent, "A modern room with a lamp")
    assert sorted(listener.heard[:4]) == [
        ("call", "get_style_examples"),
        ("call", "search_products"),
        ("result", "get_style_examples"),
        ("result", "search_products"),
    ]
    assert "Modern suits you." in answer
    assert "The Foundry pendant lamp in steel is 180 dollars." in answer


async def test_the_history_reaches_the_model(agent: Agent) -> None:
    past = [
        PastMessage(role="user", content="Japandi [[err:429]]"),
        PastMessage(role="assistant", content="Fine."),
    ]
    answer, listener = await ask(agent, "Thank you", history=past)
    assert answer
    assert listener.count("call") == 0


async def test_the_agent_gives_up_after_its_iterations(agent: Agent) -> None:
    listener = Listener()
    with pytest.raises(GraphRecursionError):
        await agent.answer("modern [[loop]]", history=[], phase=Phase.INTAKE, listener=listener)
    assert listener.count("call") == 3


async def test_a_tool_that_is_not_allowed_is_never_offered(
    model: ChatGoogleGenerativeAI, repository: Repository
) -> None:
    agent = Agent(model, agent_tools(repository), iterations=3, allowed_tools=frozenset())
    answer, listener = await ask(agent, "A modern room with a lamp")
    assert answer
    assert listener.count("call") == 0


async def test_a_call_to_a_tool_that_is_not_there_is_answered_without_running_anything(
    agent: Agent,
) -> None:
    listener = Listener()
    call = {"name": "delete_everything", "args": {}, "id": "1", "type": "tool_call"}
    message = await agent._run(call, listener)
    assert (message.status, message.content) == ("error", "There is no such tool.")
    assert listener.heard == []


async def test_the_allow_list_names_exactly_the_tools_there_are(repository: Repository) -> None:
    assert {tool.name for tool in agent_tools(repository)} == ALLOWED_TOOLS


async def test_arguments_that_do_not_fit_are_answered_without_quoting_them(
    repository: Repository,
) -> None:
    styles, _ = agent_tools(repository)
    call = {"name": styles.name, "args": {"styles": "s3cret"}, "id": "1", "type": "tool_call"}
    message = await styles.ainvoke(call)
    assert message.status == "error"
    assert message.content == "The arguments do not fit the tool's schema."


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_prompt_of_its_own(phase: Phase) -> None:
    assert phase in system_prompt(phase)
    assert [system_prompt(other) for other in Phase].count(system_prompt(phase)) == 1
