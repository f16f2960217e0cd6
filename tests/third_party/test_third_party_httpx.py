"""OpenTelemetry's own hooks for httpx: where a request went and how it ended leaves, no more."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import SpanKind, StatusCode
from two_sides import CANARY

import turntrace
from turntrace import attributes as keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from two_sides import TwoSides

    Send = Callable[[str], Awaitable[None]]

SENT = {
    place: f"{CANARY}-{place.replace('_', '-')}"
    for place in (
        "path",
        "query",
        "api_key",
        "user",
        "password",
        "request_header",
        "request_body",
        "response_header",
        "response_body",
    )
}
BY_DEFAULT = {"path", "query", "api_key"}
BOTH_CONVENTIONS = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}
ALL_HEADERS = {
    **BOTH_CONVENTIONS,
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": ".*",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE": ".*",
}
CREDENTIALS = base64.b64encode(f"{SENT['user']}:{SENT['password']}".encode())
"""What httpx makes of the user in a URL: the header Authorization."""
HEADERS = {"X-Note": SENT["request_header"]}
SCOPE = "opentelemetry.instrumentation.httpx"


class Answer(BaseHTTPRequestHandler):
    """Answers with the status its path ends in."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = SENT["response_body"].encode()
        self.send_response(int(self.path.partition("?")[0].rpartition("/")[2]))
        self.send_header("X-Note", SENT["response_header"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def url(port: int, status: int = 200) -> str:
    return (
        f"http://{SENT['user']}:{SENT['password']}@127.0.0.1:{port}/{SENT['path']}/{status}"
        f"?q={SENT['query']}&api_key={SENT['api_key']}"
    )


async def sync(to: str) -> None:
    with httpx.Client() as client:
        client.post(to, headers=HEADERS, content=SENT["request_body"])  # noqa: ASYNC212 - the point


async def asynchronous(to: str) -> None:
    async with httpx.AsyncClient() as client:
        await client.post(to, headers=HEADERS, content=SENT["request_body"])


@pytest.fixture(params=[sync, asynchronous], ids=lambda send: send.__name__)
def send(request: pytest.FixtureRequest) -> Send:
    return request.param


def copy_request(span: Any, request: Any) -> None:
    """Put everything on the span, as an app's own hook might."""
    span.update_name(f"POST {request.url}")
    span.set_attribute("http.request.body", b"".join(request.stream).decode())
    span.set_attribute("url.full", str(request.url))
    span.add_event("sent", dict(request.headers))


def copy_response(span: Any, request: Any, response: Any) -> None:
    span.set_attributes(dict(response.headers))
    span.set_status(StatusCode.ERROR, SENT["response_body"])
    span.add_event(SENT["response_body"], {"exception.message": SENT["response_body"]})


async def copy_request_async(span: Any, request: Any) -> None:
    copy_request(span, request)


async def copy_response_async(span: Any, request: Any, response: Any) -> None:
    copy_response(span, request, response)


HOOKS = {
    "request_hook": copy_request,
    "response_hook": copy_response,
    "async_request_hook": copy_request_async,
    "async_response_hook": copy_response_async,
}
AS: dict[str, tuple[dict[str, str], dict[str, Any], set[str]]] = {
    "by default": ({}, {}, BY_DEFAULT),
    "with all headers": (ALL_HEADERS, {}, BY_DEFAULT | {"request_header", "response_header"}),
    "with hooks that copy everything": (ALL_HEADERS, HOOKS, set(SENT)),
}


@pytest.fixture
def switched_on(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, both_sides: TwoSides
) -> Iterator[set[str]]:
    """Switch the instrumentation on; the value is what it captures."""
    settings, hooks, captures = AS[request.param]
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    HTTPXClientInstrumentor().instrument(tracer_provider=both_sides.provider, **hooks)
    yield captures
    if HTTPXClientInstrumentor().is_instrumented_by_opentelemetry:
        HTTPXClientInstrumentor().uninstrument()


def each(*names: str) -> Any:
    return pytest.mark.parametrize("switched_on", names or list(AS), indirect=True)


@each()
@pytest.mark.parametrize("status", [200, 404, 503])
async def test_nothing_of_a_request_or_its_answer_leaves(
    switched_on: set[str], status: int, send: Send, port: int, both_sides: TwoSides
) -> None:
    with turntrace.turn("requests"):
        await send(url(port, status))
    assert both_sides.leaked() == []
    assert CREDENTIALS not in both_sides.bytes_that_leave()


@each()
async def test_without_the_guard_all_that_it_captures_would_leave(
    switched_on: set[str], send: Send, port: int, both_sides: TwoSides
) -> None:
    await send(url(port))
    assert both_sides.captured(SENT) == switched_on


@each("with all headers", "with hooks that copy everything")
async def test_without_the_guard_credentials_would_leave(
    switched_on: set[str], send: Send, port: int, both_sides: TwoSides
) -> None:
    await send(url(port))
    assert CREDENTIALS in both_sides.bytes_without_a_guard()


@each("by default", "with all headers")
async def test_its_names_leave(
    switched_on: set[str], send: Send, port: int, both_sides: TwoSides
) -> None:
    await send(url(port))
    assert [span.name for span in both_sides.of(SCOPE)] == ["POST"]


@each()
async def test_method_and_status_leave_below_the_turn(
    switched_on: set[str], send: Send, port: int, both_sides: TwoSides
) -> None:
    with turntrace.turn("requests"):
        await send(url(port, 503))
    (call,) = both_sides.of(SCOPE)
    (turn,) = both_sides.of("turntrace.conversation")
    assert both_sides.parent(call) == turn
    assert (call.kind, call.status_code) == (SpanKind.CLIENT.value, StatusCode.ERROR.value)
    assert call.status_description == ""
    assert call.attributes[keys.HTTP_METHOD] == "POST"
    assert call.attributes[keys.HTTP_STATUS_CODE] == 503


@each("with all headers")
async def test_of_today_s_conventions_method_status_and_server_leave(
    switched_on: set[str], send: Send, port: int, both_sides: TwoSides
) -> None:
    await send(url(port, 503))
    (call,) = both_sides.of(SCOPE)
    assert call.attributes[keys.HTTP_REQUEST_METHOD] == "POST"
    assert call.attributes[keys.HTTP_RESPONSE_STATUS_CODE] == 503
    assert call.attributes[keys.SERVER_ADDRESS] == "127.0.0.1"
    assert call.attributes[keys.SERVER_PORT] == port
    assert call.attributes[keys.ERROR_TYPE] == "503"


@each()
async def test_a_request_that_gets_no_answer_is_an_error_of_its_type(
    switched_on: set[str], send: Send, both_sides: TwoSides
) -> None:
    with pytest.raises(httpx.ConnectError):
        await send(url(1))
    (call,) = both_sides.of(SCOPE)
    assert call.status_code == StatusCode.ERROR.value
    assert call.attributes[keys.ERROR_TYPE].rpartition(".")[2] == "ConnectError"
    assert both_sides.leaked() == []


@each("by default")
async def test_switched_off_it_makes_no_spans(
    switched_on: set[str], send: Send, port: int, both_sides: TwoSides
) -> None:
    HTTPXClientInstrumentor().uninstrument()
    await send(url(port))
    assert both_sides.unguarded == []
