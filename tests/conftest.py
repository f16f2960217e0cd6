"""Fixtures for every test: a provider that records into a list, through the real guard."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import trace
from opentelemetry.util._once import Once

import turntrace
from turntrace import pipeline
from turntrace.guard.schema import Schema
from turntrace.guard.stage import GuardStage
from turntrace.instrument import switch
from turntrace.record import Resource, SpanRecord, TracerProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# How long an example takes says how busy the machine is, and nothing of the claim.
settings.register_profile("turntrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI says what a change broke, with the same examples each time; new ones are tried elsewhere.
settings.register_profile("same", settings.get_profile("turntrace"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "turntrace"))


@pytest.fixture(autouse=True, scope="session")
def no_spool_outside(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let no test, and no process that one starts, spool in the home of whoever runs them."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def a_spool_of_its_own(
    no_spool_outside: None,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Let no test send what another one has left on disk."""
    folder = tmp_path_factory.getbasetemp() / f"state-{next(_states)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))


_states = itertools.count()


class Recorded:
    """What left the guard, in the order in which it ended."""

    def __init__(self) -> None:
        self.spans: list[SpanRecord] = []
        self.guard = GuardStage(Schema(), self.spans.append)
        self.provider = TracerProvider(Resource({"service.name": "test"}), self.guard.on_end)

    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def one(self, name: str) -> SpanRecord:
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{len(found)} spans named {name!r} among {self.names()}"
        return found[0]

    def children(self, parent: SpanRecord | str) -> list[SpanRecord]:
        """Return the children of a span in the order in which they started."""
        of = self.one(parent) if isinstance(parent, str) else parent
        found = [
            span
            for span in self.spans
            if span.parent_span_id == of.span_id and span.trace_id == of.trace_id
        ]
        return sorted(found, key=lambda span: span.start_ns)

    def tree(self, of: SpanRecord | None = None, depth: int = 0) -> list[str]:
        """Return names indented by depth, roots and children in the order of their start."""
        if of is None:
            ids = {span.span_id for span in self.spans}
            roots = [span for span in self.spans if span.parent_span_id not in ids]
            ordered = sorted(roots, key=lambda span: span.start_ns)
            return [line for root in ordered for line in self.tree(root)]
        lines = ["  " * depth + of.name]
        for child in self.children(of):
            lines += self.tree(child, depth + 1)
        return lines


def _reset_global_provider() -> None:
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Install a provider of ours for one test."""
    _reset_global_provider()
    made = Recorded()
    trace.set_tracer_provider(made.provider)
    yield made
    _reset_global_provider()


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test call ``turntrace.configure`` as if it were the first one in the process."""
    _reset_global_provider()
    monkeypatch.setattr(pipeline, "_active", None)
    for name in os.environ:
        if name.startswith(("OTEL_", "TURNTRACE_")):
            monkeypatch.delenv(name)
    yield
    running = pipeline._active
    if running is not None:
        running.shutdown(0.0)
    _reset_global_provider()


@pytest.fixture(autouse=True)
def _switched_on() -> None:
    """Let each test instrument, whatever another one had switched off."""
    switch(off=False)


@pytest.fixture
def instrumented() -> Iterator[None]:
    """Switch every instrumentation on for one test."""
    turntrace.instrument()
    yield
    turntrace.uninstrument()


@pytest.fixture
async def driver_threads_end() -> AsyncIterator[None]:
    """Wait for threads that aiosqlite told to stop and did not await.

    It does so when a connection cannot be opened or is given up; the thread then reports to the
    test's loop, which must not be closed by then.
    """
    before = set(threading.enumerate())
    yield
    async with asyncio.timeout(10):
        while any(  # noqa: ASYNC110 - a thread has no event
            "_connection_worker_thread" in thread.name
            for thread in set(threading.enumerate()) - before
        ):
            await asyncio.sleep(0.001)
