"""What the tests of the reference backend are built on: served apps, bare sockets, a clock."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx
import socketio
import uvicorn
from starlette.types import ASGIApp

WAIT_SECONDS = 10.0


class ServedApp:
    """An ASGI application behind a real uvicorn, on a thread with its own event loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        config = uvicorn.Config(
            app, log_config=None, log_level="critical", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}
        )
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        httpx.get(self.url, timeout=WAIT_SECONDS)  # answered once the lifespan has started
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_SECONDS)
        self._listener.close()
        assert not self._thread.is_alive()


class ManualClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Socket:
    """A bare Socket.IO client that keeps what it hears."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self._heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.client.on("*", self._hear)

    async def _hear(self, event: str, payload: Any) -> None:
        self._heard.put_nowait((event, payload))

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._heard.get()

    async def until(self, event: str) -> Any:
        while True:
            name, payload = await self.next()
            if name == event:
                return payload
            assert name != "chat:error", payload

    async def say(self, session_id: str, content: str, **more: Any) -> None:
        payload = {"sessionId": session_id, "content": content, **more}
        await self.client.emit("chat:user_message", payload)

    async def join(self, session_id: str) -> dict[str, Any]:
        return await self.client.call("chat:join_session", {"sessionId": session_id})


Connect = Callable[[], Awaitable[Socket]]
"""What opens one more connected socket."""
