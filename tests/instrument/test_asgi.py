"""Claims about HTTP server spans, with real FastAPI and Starlette apps."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
import socketio
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, WebSocket
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

import turntrace
from turntrace.export import otlp
from turntrace.instrument.asgi import AsgiMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conftest import Recorded

CANARY = "zq7canary"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def instrumented() -> Iterator[None]:
    """Switch on what these tests are about; importing the AI libraries would take seconds."""
    turntrace.instrument("asgi", "socketio")
    yield
    turntrace.uninstrument()


pytestmark = pytest.mark.usefixtures("recorded", "instrumented")


def api() -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: str) -> dict[str, str]:
        return {"id": item_id}

    @app.post("/numbers/{number}")
    async def number(number: int) -> int:
        return number

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError(CANARY)

    @app.get("/unavailable")
    async def unavailable() -> None:
        raise HTTPException(503, CANARY)

    @app.get("/files/{path}")
    async def files(path: str) -> str:
        return path

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in (b"one", b"two", b"three"):
                yield part

        return StreamingResponse(parts())

    return app


def client(app: Any, *, raises: bool = False) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=raises)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve ``app`` with uvicorn on a loopback port; yield its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    try:
        yield address
    finally:
        await server.shutdown(sockets=[listener])


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it looks at records, which set no event
            await asyncio.sleep(0.001)


async def test_a_request_is_one_server_span_named_by_its_template(recorded: Recorded) -> None:
    async with client(api()) as http:
        response = await http.get(f"/items/{CANARY}?q={CANARY}", headers={"X-Canary": CANARY})
    (span,) = recorded.spans
    assert response.json() == {"id": CANARY}
    assert (span.name, span.kind) == ("GET /items/{item_id}", SpanKind.SERVER.value)
    assert span.attributes["http.route"] == "/items/{item_id}"
    assert span.attributes["http.response.status_code"] == 200


async def test_an_included_router_s_prefix_is_in_the_route(recorded: Recorded) -> None:
    router = APIRouter(prefix="/v1")
    router.add_api_route("/a/{b}", lambda b: b)
    app = FastAPI()
    app.include_router(router, prefix="/api")
    async with client(app) as http:
        await http.get("/api/v1/a/1")
    assert recorded.names() == ["GET /api/v1/a/{b}"]


@pytest.mark.parametrize(
    ("mount", "asked", "name"),
    [
        ("/sub", "/sub/items/1", "GET /sub/items/{item_id}"),
        ("/sub", "/sub/files/1", "GET /sub/files/{path}"),
        ("/{tenant}", f"/{CANARY}/items/1", "GET /{tenant}/items/{item_id}"),
        ("/t/{tenant:int}", "/t/7/items/1", "GET /t/{tenant}/items/{item_id}"),
        ("/sub", f"/sub/{CANARY}", "GET /sub/{path}"),
        ("", "/items/1", "GET /items/{item_id}"),
    ],
)
async def test_a_mounted_app_is_one_span_with_the_mount_s_template(
    recorded: Recorded, mount: str, asked: str, name: str
) -> None:
    app = FastAPI()
    app.mount(mount, api())
    async with client(app) as http:
        await http.get(asked)
    assert recorded.names() == [name]


async def test_mounts_in_mounts_are_one_template(recorded: Recorded) -> None:
    async def hello(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    inner = Mount("/{b}", routes=[Route("/{c}", hello)])
    async with client(Starlette(routes=[Mount("/{a}", routes=[inner])])) as http:
        await http.get("/1/2/3")
    assert recorded.names() == ["GET /{a}/{b}/{c}"]


async def test_a_path_nobody_serves_is_not_in_the_span(recorded: Recorded) -> None:
    async with client(api()) as http:
        await http.get(f"/{CANARY}")
    (span,) = recorded.spans
    assert span.name == "GET"
    assert span.attributes["http.response.status_code"] == 404
    assert span.status_code == StatusCode.UNSET.value


async def test_a_request_that_does_not_validate_is_a_422_with_its_route(
    recorded: Recorded,
) -> None:
    async with client(api()) as http:
        await http.post("/numbers/none")
    (span,) = recorded.spans
    assert span.name == "POST /numbers/{number}"
    assert span.attributes["http.response.status_code"] == 422


async def test_an_exception_is_an_error_by_its_type_and_is_raised_on(recorded: Recorded) -> None:
    async with client(api(), raises=True) as http:
        with pytest.raises(LookupError, match=CANARY):
            await http.get("/broken")
    (span,) = recorded.spans
    assert span.status_code == StatusCode.ERROR.value
    assert span.attributes["error.type"] == "LookupError"
    assert span.attributes["http.response.status_code"] == 500


async def test_a_5xx_without_an_exception_is_an_error_by_its_status(recorded: Recorded) -> None:
    async with client(api()) as http:
        await http.get("/unavailable")
    assert recorded.spans[0].attributes["error.type"] == "503"


async def test_a_stream_is_one_span_with_its_size(recorded: Recorded) -> None:
    async with client(api()) as http:
        await http.get("/stream")
    (span,) = recorded.spans
    assert span.attributes["http.response.body.size"] == len("onetwothree")


async def test_a_client_that_leaves_ends_the_span(recorded: Recorded) -> None:
    app = FastAPI()

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"part"
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    async with serving(app) as address, httpx.AsyncClient() as http:
        async with http.stream("GET", f"http://{address}/endless") as response:
            await anext(response.aiter_bytes())
        await until(lambda: recorded.spans)
    assert recorded.names() == ["GET /endless"]


async def test_uvicorn_serves_an_instrumented_app(recorded: Recorded) -> None:
    async with serving(api()) as address, httpx.AsyncClient() as http:
        response = await http.get(f"http://{address}/items/1")
    assert response.status_code == 200
    assert recorded.names() == ["GET /items/{item_id}"]


async def test_a_websocket_is_no_span(recorded: Recorded) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    async with (
        serving(app) as address,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://{address}/ws") as connection,
    ):
        await connection.send_str("hi")
        assert (await connection.receive(5)).data == "hi"
    assert recorded.names() == []


async def test_a_remote_traceparent_is_the_parent(recorded: Recorded) -> None:
    async with client(api()) as http:
        await http.get("/items/1", headers={"traceparent": TRACEPARENT})
    (span,) = recorded.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == tuple(TRACEPARENT.split("-")[1:3])
    assert span.parent_is_remote


async def test_two_traceparents_are_none(recorded: Recorded) -> None:
    other = TRACEPARENT.replace("b7", "c7")
    async with client(api()) as http:
        await http.get("/items/1", headers=[("traceparent", TRACEPARENT), ("traceparent", other)])
    assert recorded.spans[0].parent_span_id == b""


async def test_the_caller_s_context_is_not_the_parent(recorded: Recorded) -> None:
    with recorded.provider.get_tracer("turntrace.test").start_as_current_span("around"):
        async with client(api()) as http:
            await http.get("/items/1")
    assert recorded.one("GET /items/{item_id}").parent_span_id == b""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("req-1.2_3", "req-1.2_3"), ("x" * 65, None), ("two words", None), ("<script>", None)],
)
async def test_a_request_id_of_the_right_shape_is_on_every_span(
    recorded: Recorded, sent: str, kept: str | None
) -> None:
    async with client(api()) as http:
        await http.get("/items/1", headers={"X-Request-ID": sent})
    assert recorded.spans[0].attributes.get("request.id") == kept


async def test_body_sizes_are_noted(recorded: Recorded) -> None:
    async with client(api()) as http:
        response = await http.post("/numbers/7", content=b"12345")
    values = recorded.spans[0].attributes
    assert values["http.request.body.size"] == values["http.request.body_size"] == 5
    assert values["http.response.body.size"] == len(response.content)


async def test_an_unknown_method_is_other(recorded: Recorded) -> None:
    async with client(api()) as http:
        await http.request(CANARY.upper(), "/items/1")
    (span,) = recorded.spans
    assert span.attributes["http.request.method"] == "_OTHER"
    assert CANARY.upper() not in repr(span)


async def test_lifespan_passes_untouched(recorded: Recorded) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    app = FastAPI(lifespan=lifespan)
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(_message: Any) -> None:
        return None

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await app(scope, receive, send)
    assert (seen, recorded.names()) == (["up", "down"], [])


async def test_fastapi_s_own_spans_are_silent_and_given_back(recorded: Recorded) -> None:
    app = api()
    async with client(app) as http:
        await http.get("/items/1")
        assert len(recorded.spans) == 1
        turntrace.uninstrument()
        await http.get("/items/1")
    assert len(recorded.spans) > 1
    assert {span.scope.name for span in recorded.spans[1:]} == {"fastapi"}


async def test_an_app_that_had_its_spans_off_keeps_them_off(recorded: Recorded) -> None:
    app = FastAPI(telemetry={"tracing": False})
    async with client(app) as http:
        await http.get("/")
        turntrace.uninstrument()
        await http.get("/")
    assert len(recorded.spans) == 1


async def test_an_app_made_before_instrument_is_traced(recorded: Recorded) -> None:
    turntrace.uninstrument()
    app = api()
    async with client(app) as http:
        await http.get("/openapi.json")
        recorded.spans.clear()
        turntrace.instrument("asgi")
        await http.get("/items/1")
    assert recorded.names() == ["GET /items/{item_id}"]


def test_uninstrument_restores_every_method_exactly() -> None:
    turntrace.uninstrument()
    owners = (Starlette, FastAPI, Mount)
    before = [{name: id(value) for name, value in vars(owner).items()} for owner in owners]
    turntrace.instrument("asgi")
    assert all(
        {name: id(value) for name, value in vars(owner).items()} != old
        for owner, old in zip(owners, before, strict=True)
    )
    turntrace.uninstrument()
    assert [{name: id(value) for name, value in vars(owner).items()} for owner in owners] == before


async def test_the_middleware_traces_an_app_of_any_kind(recorded: Recorded) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("hello")(scope, receive, send)

    async with client(AsgiMiddleware(app)) as http:
        assert (await http.get(f"/{CANARY}")).text == "hello"
    assert recorded.names() == ["GET"]


async def test_a_request_cancelled_by_the_server_ends_its_span(recorded: Recorded) -> None:
    app = FastAPI()
    started = asyncio.Event()

    @app.get("/wait")
    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    async with client(app) as http:
        task = asyncio.create_task(http.get("/wait"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert recorded.names() == ["GET /wait"]


@pytest.mark.parametrize("mount", ["/", "/ws"])
async def test_engine_io_s_polling_requests_below_an_app_are_no_spans(
    recorded: Recorded, mount: str
) -> None:
    sio = socketio.AsyncServer(async_mode="asgi")
    app = api()
    app.mount(mount, socketio.ASGIApp(sio, socketio_path=f"{mount}/socket.io".strip("/")))
    url = f"{mount.rstrip('/')}/socket.io/?EIO=4&transport=polling"
    async with client(app) as http:
        opened = (await http.get(url)).text
        sid = opened.split('"sid":"')[1].split('"')[0]
        await http.post(f"{url}&sid={sid}", content="40")
        assert (await http.get(f"{url}&sid={sid}")).text.startswith("40")
        await http.get(f"{url}&sid=unknown")
        await http.get("/items/1")
    await sio.shutdown()
    kept = [name for name in recorded.names() if not name.startswith("socket.io")]
    assert kept == ["GET /items/{item_id}"]
    assert recorded.one("socket.io connect /").parent_span_id == b""


async def test_a_query_that_looks_like_engine_io_hides_no_request(recorded: Recorded) -> None:
    async with client(api()) as http:
        await http.get("/items/1?EIO=4&transport=polling")
    assert recorded.names() == ["GET /items/{item_id}"]


async def test_a_left_out_request_leaves_nothing_open(recorded: Recorded) -> None:
    sio = socketio.AsyncServer(async_mode="asgi")
    seen: list[Any] = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        await socketio.ASGIApp(sio)(scope, receive, send)
        seen.append(scope["turntrace.http"].span.local_trace)

    async with client(AsgiMiddleware(note)) as http:
        await http.get("/socket.io/?EIO=4&transport=polling")
    await sio.shutdown()
    assert seen[0].open_spans == {}
    assert recorded.names() == []


async def test_nothing_of_a_request_is_in_its_span(recorded: Recorded) -> None:
    async with client(api()) as http:
        for path in (f"/items/{CANARY}", f"/{CANARY}", "/broken", "/unavailable"):
            await http.get(
                f"{path}?{CANARY}={CANARY}",
                headers={
                    "Host": f"{CANARY}.example",
                    "X-Canary": CANARY,
                    "User-Agent": CANARY,
                    "Cookie": f"a={CANARY}",
                    "baggage": f"a={CANARY}",
                    "tracestate": f"a={CANARY}",
                    "traceparent": TRACEPARENT,
                    "X-Request-ID": f"{CANARY} typed",
                },
            )
    wire = otlp.encode_request(otlp.Resource({}), recorded.spans)
    assert b"/items/{item_id}" in wire
    assert CANARY.encode() not in wire
