"""Claims about where an HTTP span ends and what its route may hold, with real apps."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import turntrace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Recorded

CANARY = "zq7canary"


@pytest.fixture
def instrumented() -> Iterator[None]:
    turntrace.instrument("asgi")
    yield
    turntrace.uninstrument()


pytestmark = pytest.mark.usefixtures("recorded", "instrumented")


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_a_span_ends_with_the_answer_and_not_with_the_background_task(
    recorded: Recorded,
) -> None:
    answered: list[int] = []

    async def work() -> None:
        answered.append(time.time_ns())
        await asyncio.sleep(0)
        trace.get_tracer("turntrace.test").start_span("in background").end()

    async def handler(_request: object) -> PlainTextResponse:
        return PlainTextResponse("done", background=BackgroundTask(work))

    async with client(Starlette(routes=[Route("/bg", handler)])) as http:
        await http.get("/bg")
    request = recorded.one("GET /bg")
    assert request.end_ns <= answered[0]
    assert recorded.one("in background").parent_span_id == request.span_id


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
async def test_a_root_path_is_in_the_route_only_if_it_is_the_app_s_own(recorded: Recorded) -> None:
    app = FastAPI(root_path="/behind/a/proxy")

    @app.get("/items")
    async def items() -> None:
        """Answer."""

    other = FastAPI()

    @other.get("/items")
    async def others() -> None:
        """Answer."""

    async def dispatcher(scope: Any, receive: Any, send: Any) -> None:
        await other({**scope, "root_path": f"/{CANARY}"}, receive, send)

    async with client(app) as http:
        await http.get("/items")
    async with client(dispatcher) as http:
        await http.get("/items")
    assert recorded.names() == ["GET /behind/a/proxy/items", "GET /items"]
