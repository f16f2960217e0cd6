"""Claims about CLIENT spans of httpx and aiohttp, against a real local server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import aiohttp.web
import httpx
import pytest
from opentelemetry import baggage, context
from opentelemetry.trace import SpanKind, StatusCode

import turntrace
from turntrace.export import otlp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from conftest import Recorded

    Send = Callable[..., Awaitable[int]]

CANARY = "zq7canary"


@pytest.fixture(autouse=True)
def _instrumented() -> Iterator[None]:
    turntrace.instrument("httpx", "aiohttp")
    yield
    turntrace.uninstrument()


class Local:
    """A server that answers with the status its path asks for and keeps the headers it got."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.address = ""

    async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return aiohttp.web.Response(status=int(request.match_info["status"]), text="answer")


@pytest.fixture
async def local() -> AsyncIterator[Local]:
    made = Local()
    application = aiohttp.web.Application()
    application.router.add_route("*", "/{status}/{rest:.*}", made.answer)
    runner = aiohttp.web.AppRunner(application)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    made.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def with_httpx(url: str, headers: dict[str, str] | None = None) -> int:
    async with httpx.AsyncClient() as client:
        return (await client.post(url, headers=headers, content=CANARY)).status_code


async def with_aiohttp(url: str, headers: dict[str, str] | None = None) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, headers=headers, data=CANARY) as response,
    ):
        await response.read()
        return response.status


@pytest.fixture(params=[with_httpx, with_aiohttp], ids=["httpx", "aiohttp"])
def send(request: pytest.FixtureRequest) -> Send:
    return request.param


async def test_a_call_inside_a_trace_is_a_client_span_of_host_and_method(
    recorded: Recorded, local: Local, send: Send
) -> None:
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        assert await send(f"http://{local.address}/200/") == 200
    (span,) = recorded.children("work")
    assert (span.name, span.kind) == ("POST 127.0.0.1", SpanKind.CLIENT.value)
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["server.port"] == int(local.address.split(":")[1])


async def test_the_traceparent_sent_is_that_of_the_client_span(
    recorded: Recorded, local: Local, send: Send
) -> None:
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        await send(f"http://{local.address}/200/", {"X-Mine": "kept"})
    span = recorded.one("POST 127.0.0.1")
    assert local.headers[0]["traceparent"].split("-")[1:3] == [
        span.trace_id.hex(),
        span.span_id.hex(),
    ]
    assert local.headers[0]["x-mine"] == "kept"


async def test_baggage_never_leaves(recorded: Recorded, local: Local, send: Send) -> None:
    token = context.attach(baggage.set_baggage("typed", CANARY))
    try:
        with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
            await send(f"http://{local.address}/200/")
    finally:
        context.detach(token)
    assert "traceparent" in local.headers[0]
    assert CANARY not in repr(local.headers)


async def test_outside_a_trace_nothing_is_made_or_sent(
    recorded: Recorded, local: Local, send: Send
) -> None:
    await send(f"http://{local.address}/200/")
    assert recorded.spans == []
    assert "traceparent" not in local.headers[0]


@pytest.mark.parametrize("status", [404, 500])
async def test_an_error_status_is_an_error(
    recorded: Recorded, local: Local, send: Send, status: int
) -> None:
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        assert await send(f"http://{local.address}/{status}/") == status
    span = recorded.one("POST 127.0.0.1")
    assert span.status_code == StatusCode.ERROR.value
    assert span.attributes["error.type"] == str(status)


async def test_a_failed_connection_is_an_error_and_the_original_exception(
    recorded: Recorded, send: Send
) -> None:
    with (
        recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"),
        pytest.raises((httpx.ConnectError, aiohttp.ClientConnectorError)) as raised,
    ):
        await send(f"http://127.0.0.1:1/{CANARY}")
    span = recorded.one("POST 127.0.0.1")
    assert span.status_code == StatusCode.ERROR.value
    assert span.attributes["error.type"].endswith(type(raised.value).__name__)


async def test_nothing_of_a_request_but_its_host_is_in_the_record(
    recorded: Recorded, local: Local, send: Send
) -> None:
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        await send(
            f"http://{CANARY}:{CANARY}@{local.address}/500/{CANARY}?q={CANARY}",
            {"X-Canary": CANARY, "Cookie": CANARY},
        )
    wire = otlp.encode_request(otlp.Resource({}), recorded.spans)
    assert b"POST 127.0.0.1" in wire
    assert CANARY.encode() not in wire


async def test_a_stream_of_httpx_is_one_span(recorded: Recorded, local: Local) -> None:
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        async with (
            httpx.AsyncClient() as client,
            client.stream("GET", f"http://{local.address}/200/") as response,
        ):
            assert [part async for part in response.aiter_text()] == ["answer"]
    assert len(recorded.children("work")) == 1


async def test_after_a_call_the_caller_s_span_is_current_again(
    recorded: Recorded, local: Local, send: Send
) -> None:
    tracer = recorded.provider.get_tracer("turntrace.test")
    with tracer.start_as_current_span("work"):
        await send(f"http://{local.address}/200/")
        tracer.start_span("next").end()
    assert [span.name for span in recorded.children("work")] == ["POST 127.0.0.1", "next"]
