"""Claims about CLIENT spans of httpx and aiohttp, against a real local server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import aiohttp.web
import httpx
import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

import turntrace
from turntrace.errors import ConfigurationError
from turntrace.export import otlp
from turntrace.instrument import http_client
from turntrace.outgoing import HostPatterns

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
    http_client.deny_hosts([])


class Local:
    """Answers with the status its path asks for, redirects to ``to``, keeps the headers it got."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.address = ""

    async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        to = request.query.get("to")
        return aiohttp.web.Response(
            status=int(request.match_info["status"]),
            text="answer",
            headers={"Location": to} if to else {},
        )


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
    async with httpx.AsyncClient(follow_redirects=True) as client:
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


async def test_a_trace_state_that_others_wrote_never_leaves(
    recorded: Recorded, local: Local, send: Send
) -> None:
    state = TraceState([("vendor", CANARY), ("ot", "th:8")])
    remote = trace.NonRecordingSpan(
        SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    )
    # The span of somebody else's provider carries on what came in.
    with trace.use_span(remote):
        await send(f"http://{local.address}/200/")
    assert "traceparent" in local.headers[0]
    assert CANARY not in repr(local.headers)


async def test_a_propagator_that_fails_costs_neither_the_call_nor_its_span(
    recorded: Recorded, local: Local, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(propagate.get_global_textmap(), "inject", fail)
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        assert await send(f"http://{local.address}/200/") == 200
    assert len(recorded.children("work")) == 1


async def test_a_denied_host_gets_no_context_but_its_call_a_span(
    recorded: Recorded, local: Local, send: Send
) -> None:
    http_client.deny_hosts(["127.0.0.1"])
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        assert await send(f"http://{local.address}/200/", {"X-Mine": "kept"}) == 200
    assert "traceparent" not in local.headers[0]
    assert local.headers[0]["x-mine"] == "kept"
    assert [span.name for span in recorded.children("work")] == ["POST 127.0.0.1"]


async def test_denying_replaces_what_was_denied_before(
    recorded: Recorded, local: Local, send: Send
) -> None:
    http_client.deny_hosts(["127.0.0.1"])
    http_client.deny_hosts(["example.com"])
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        await send(f"http://{local.address}/200/")
    assert "traceparent" in local.headers[0]


@pytest.mark.parametrize(
    ("denied", "received"),
    [([], [True, True]), (["localhost"], [True, False]), (["127.0.0.1"], [False, False])],
)
async def test_a_redirect_takes_no_context_to_a_denied_host(
    recorded: Recorded, local: Local, send: Send, denied: list[str], received: list[bool]
) -> None:
    http_client.deny_hosts(denied)
    to = f"http://localhost:{local.address.split(':')[1]}/200/"
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        status = await send(f"http://{local.address}/307/?to={to}", {"X-Mine": "kept"})
    assert status == 200
    assert ["traceparent" in headers for headers in local.headers] == received
    assert [headers["x-mine"] for headers in local.headers] == ["kept", "kept"]


async def test_a_header_of_the_app_s_own_reaches_a_denied_host(
    recorded: Recorded, local: Local, send: Send
) -> None:
    http_client.deny_hosts(["localhost"])
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    denied = f"http://localhost:{local.address.split(':')[1]}/"
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("work"):
        await send(f"http://{local.address}/200/")
        await send(f"http://{local.address}/307/?to={denied}200/", {"traceparent": theirs})
        await send(f"{denied}200/", {"traceparent": theirs})
    assert [headers.get("traceparent") == theirs for headers in local.headers] == [
        False,
        False,  # a host that is not denied: ours stands in its place
        False,  # and was taken out again
        True,
    ]


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("API.example.com.", "api.EXAMPLE.com"),
        ("api.example.com", "api.example.com."),
        ("api.example.com:8443", "api.example.com"),
        ("https://user@api.example.com:443/v1?x=1", "api.example.com"),
        (" *.example.com ", "a.b.example.com"),
        ("::1", "::1"),
        ("[::1]:8080", "::1"),
        ("0:0:0:0:0:0:0:1", "[::1]"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "münchen.example"),
        ("my_service", "my_service"),
        ("*", "anything.example"),
    ],
)
def test_a_pattern_matches_a_host_however_it_is_written(pattern: str, host: str) -> None:
    assert HostPatterns([pattern]).match(host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("example.com", "api.example.com"),
        ("*.example.com", "example.com"),
        ("*.example.com", "badexample.com"),
        ("example.com", "example.com.evil.example"),
        ("example.com", None),
        ("::1", "::2"),
        ("::1", "not:an:address"),
    ],
)
def test_a_pattern_matches_no_other_host(pattern: str, host: str | None) -> None:
    assert not HostPatterns([pattern]).match(host)


@pytest.mark.parametrize(
    "pattern", ["", "*.", "two words", "*example.com", "a.*.com", ":::", "https://"]
)
def test_what_is_no_host_is_refused_and_nothing_changes(pattern: str) -> None:
    http_client.deny_hosts(["example.com"])
    before = http_client._denied
    with pytest.raises(ConfigurationError, match="is no host"):
        http_client.deny_hosts(["example.org", pattern])
    assert http_client._denied is before


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
