"""Fixtures of the tests on LangGraph: a database of styles, and the hooks on for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langgraph_agents import handler, styles_engine

import turntrace
from turntrace.failsafe import failures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = styles_engine()
    yield made
    made.dispose()


@pytest.fixture
def switched_on(engine: Engine) -> Iterator[None]:
    """Trace LangGraph and SQL, after the engine's own statements; leave nothing open."""
    turntrace.instrument("langgraph", "sqlalchemy")
    failed_before = failures()
    yield
    runs = dict(handler()._runs)
    turntrace.uninstrument()
    assert not runs
    assert failures() == failed_before
