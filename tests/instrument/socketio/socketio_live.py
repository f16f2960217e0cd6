"""Real Socket.IO for the tests: a server in uvicorn on a loopback port, and bare frames."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import socketio
import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMIT_SECONDS = 5.0


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until ``condition`` holds, at most five seconds."""
    deadline = asyncio.get_running_loop().time() + LIMIT_SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} never came true"
        await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI app with uvicorn; yield its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    # serve() would install signal handlers and tick ten times a second.
    await server.startup(sockets=[listener])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        # A poll that nobody waits for any more would hold the shutdown up for its 45 seconds.
        for task in server.server_state.tasks:
            task.cancel()
        await server.shutdown(sockets=[listener])


class ReadAtOnce(aiohttp.ClientResponse):
    """Reads its body as it starts: the library does not, and aiohttp warns when it is left."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        response = await super().start(connection)
        await response.read()
        return response


class Live:
    """One served Socket.IO server and the clients that a test connects to it."""

    def __init__(self, sio: socketio.AsyncServer, url: str) -> None:
        self.sio = sio
        self.url = url
        self.clients: list[socketio.AsyncClient] = []

    async def client(
        self,
        transport: str = "websocket",
        *,
        namespaces: list[str] | None = None,
        **options: Any,
    ) -> socketio.AsyncClient:
        """Connect a real client."""
        session = None
        if transport == "polling":
            session = aiohttp.ClientSession(response_class=ReadAtOnce)
        client = socketio.AsyncClient(reconnection=False, handle_sigint=False, http_session=session)
        self.clients.append(client)
        await client.connect(
            self.url,
            transports=[transport],
            namespaces=namespaces or ["/"],
            wait_timeout=LIMIT_SECONDS,
            **options,
        )
        return client

    async def leave(self, client: socketio.AsyncClient) -> None:
        """Disconnect; under polling without waiting 45 seconds for the last poll."""
        if not client.eio.external_http:
            await client.disconnect()
            return
        engine = client.eio
        writer, reader = engine.write_loop_task, engine.read_loop_task
        await engine.disconnect(abort=True)
        for task in (writer, reader):
            if task is not None:
                task.cancel()
                await asyncio.wait([task], timeout=LIMIT_SECONDS)
        await engine.http.close()

    @asynccontextmanager
    async def bare(self, query: str = "", namespace: str = "/") -> AsyncIterator[Bare]:
        """Connect as a client that knows nothing of turntrace, frame by frame."""
        url = f"{self.url}/socket.io/?EIO=4&transport=websocket{query}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as websocket:
            bare = Bare(websocket)
            assert (await bare.receive())[0] == "0"
            await bare.send("40" if namespace == "/" else f"40{namespace},")
            bare.answer = await bare.receive()
            yield bare

    @asynccontextmanager
    async def polling_opened(self) -> AsyncIterator[Polling]:
        """Open an Engine.IO session by polling, request by request; connect to nothing yet."""
        url = f"{self.url}/socket.io/?EIO=4&transport=polling"
        async with aiohttp.ClientSession(response_class=ReadAtOnce) as session:
            async with session.get(url) as response:
                opened = json.loads((await response.text())[1:])
            yield Polling(session, f"{url}&sid={opened['sid']}")

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[Polling]:
        """Connect to the default namespace by polling, request by request."""
        async with self.polling_opened() as post:
            await post("40")
            assert (await post.poll()).startswith("40")
            yield post


class Polling:
    """A connected session of Engine.IO's polling, by hand: ``await post(payload)``."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(self, payload: str) -> int:
        """Send packets, parted by a record separator, in one request; return its status."""
        async with self._session.post(self._url, data=payload) as response:
            return response.status

    async def poll(self) -> str:
        """Return what the server has for us."""
        async with self._session.get(self._url) as response:
            return await response.text()


class Bare:
    """A websocket that speaks Engine.IO by hand."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.answer = ""

    async def send(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            await self.websocket.send_str(frame)
        else:
            await self.websocket.send_bytes(frame)

    async def receive(self) -> str:
        """Return the next frame that is no ping."""
        while True:
            message = await self.websocket.receive(LIMIT_SECONDS)
            if message.type is aiohttp.WSMsgType.TEXT and message.data == "2":
                await self.websocket.send_str("3")
                continue
            assert isinstance(message.data, str), message
            return message.data

    async def call(self, *data: object, head: str = "420") -> list[Any]:
        """Send an event that asks for an answer; return what was answered."""
        await self.send(head + json.dumps(data))
        answer = await self.receive()
        return json.loads(answer[answer.index("[") :])


@asynccontextmanager
async def live(sio: socketio.AsyncServer, app: Any = None) -> AsyncIterator[Live]:
    """Serve ``sio`` (or the app it is part of); on leaving, disconnect every client."""
    async with serving(app or socketio.ASGIApp(sio)) as url:
        running = Live(sio, url)
        try:
            yield running
        finally:
            for client in running.clients:
                await running.leave(client)
            await sio.shutdown()


def server(**options: Any) -> socketio.AsyncServer:
    """Make a server that logs nothing."""
    return socketio.AsyncServer(async_mode="asgi", **options)
