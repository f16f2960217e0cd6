"""Fixtures of the Socket.IO tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import turntrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from opentelemetry import trace

    from conftest import Recorded


@pytest.fixture
def action(recorded: Recorded) -> Callable[[], AbstractContextManager[trace.Span]]:
    """Start a span such as a client's own, with which its emits travel."""
    tracer = recorded.provider.get_tracer("turntrace.test")
    return lambda: tracer.start_as_current_span("action")


@pytest.fixture
def instrumented() -> Iterator[None]:
    """Switch on what can meet Socket.IO; importing the AI libraries would take seconds."""
    turntrace.instrument("asgi", "socketio", "httpx", "aiohttp")
    yield
    turntrace.uninstrument()
