"""Switching on and off leaves LangChain and LangGraph as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.tools import BaseTool
from langchain_core.tracers import context as tracers
from langgraph._internal._runnable import RunnableSeq
from langgraph.pregel import Pregel
from langgraph_agents import TREE, Planner, question, react, sql_tool, styles_engine, unleaked

import turntrace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Recorded

PATCHED = (BaseChatModel, BaseTool, Pregel, RunnableSeq)


@pytest.fixture(autouse=True)
def switched_off() -> Iterator[None]:
    yield
    turntrace.uninstrument()


@pytest.fixture
def graph() -> Any:
    return react(Planner(), [sql_tool(styles_engine())])


def contents() -> list[dict[str, int]]:
    """Return what stands in the classes, by identity: a wrapper equals what it wraps."""
    return [{name: id(value) for name, value in vars(kind).items()} for kind in PATCHED]


def test_uninstrument_restores_every_class_and_the_hooks() -> None:
    before = contents()
    hooks = list(tracers._configure_hooks)
    turntrace.instrument("langgraph")
    assert all(was != now for was, now in zip(before, contents(), strict=True))
    assert len(tracers._configure_hooks) == len(hooks) + 1
    turntrace.uninstrument()
    assert contents() == before
    assert tracers._configure_hooks == hooks


def test_second_instrument_after_uninstrument_traces_once(graph: Any, recorded: Recorded) -> None:
    for _ in range(3):
        turntrace.instrument("langgraph", "sqlalchemy")
        turntrace.uninstrument()
    graph.invoke(question())
    assert recorded.spans == []
    turntrace.instrument("langgraph", "sqlalchemy")
    turntrace.instrument("langgraph", "sqlalchemy")
    graph.invoke(question())
    assert recorded.tree() == TREE


def test_hook_that_another_library_adds_stays(graph: Any) -> None:
    from contextvars import ContextVar

    before = list(tracers._configure_hooks)
    turntrace.instrument("langgraph")
    theirs: ContextVar[Any] = ContextVar("theirs", default=None)
    tracers.register_configure_hook(theirs, inheritable=True)
    turntrace.uninstrument()
    added = [hook for hook in tracers._configure_hooks if hook not in before]
    tracers._configure_hooks.remove(added[0])
    assert [hook[0] for hook in added] == [theirs]


@pytest.mark.parametrize("is_async", [True, False])
async def test_run_that_is_under_way_ends_its_spans_after_uninstrument(
    graph: Any, recorded: Recorded, is_async: bool
) -> None:
    turntrace.instrument("langgraph")
    with unleaked():
        if is_async:
            async for _ in graph.astream(question(), stream_mode="values"):
                turntrace.uninstrument()
        else:
            for _ in graph.stream(question(), stream_mode="values"):
                turntrace.uninstrument()
    assert "invoke_agent helper" in recorded.names()
    assert not recorded.one("invoke_agent helper").status_code


async def test_run_that_began_before_instrument_is_not_disturbed(
    graph: Any, recorded: Recorded
) -> None:
    with unleaked():
        async for _ in graph.astream(question(), stream_mode="values"):
            turntrace.instrument("langgraph")


def test_without_a_provider_everything_runs_as_before(graph: Any) -> None:
    turntrace.instrument("langgraph", "sqlalchemy")
    with unleaked():
        assert graph.invoke(question())["messages"]
