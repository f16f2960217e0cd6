"""A backend that is told to end while somebody is in the middle of a turn, and what it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import httpx
import socketio

if TYPE_CHECKING:
    from pathlib import Path

START_SECONDS = 90.0
WAIT_SECONDS = 45.0

MODULE = (sys.executable, "-m", "renovation", "--port", "0")
UVICORN = (sys.executable, "-m", "uvicorn", "renovation.app:app", "--port", "0")

_REMOVED = ("OTEL_", "TURNTRACE_", "RENOVATION_", "GOOGLE_", "GEMINI_", "DATABASE_URL")


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended."""

    exit_code: int
    seconds: float


class EndingBackend:
    """The reference backend in a process group of its own, with a Gemini slow enough to watch."""

    def __init__(
        self, folder: Path, endpoint: str, command: tuple[str, ...] = MODULE, **environment: str
    ) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_REMOVED)}
        self._log = folder / "log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env={
                    **inherited,
                    "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                    "OTEL_BSP_SCHEDULE_DELAY": "60000",  # what arrives was sent at the end
                    "RENOVATION_DATABASE": str(folder / "renovation.sqlite3"),
                    "RENOVATION_GEMINI_CHUNK_SECONDS": "0.03",
                    "RENOVATION_SHUTDOWN_SECONDS": "30",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    async def ready(self) -> str:
        """Wait until it answers; return its address."""
        async with asyncio.timeout(START_SECONDS):
            while not (found := re.search(r"running on (http://[\d.:]+)", self.output())):
                assert self.process.poll() is None, self.output()
                await asyncio.sleep(0.05)
            async with httpx.AsyncClient(base_url=found[1], timeout=WAIT_SECONDS) as client:
                while True:
                    try:
                        assert (await client.get("/health/ready")).status_code == 200
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
                    else:
                        return found[1]

    async def ended(self) -> End:
        """Wait until the process is gone; the seconds are those of this wait."""
        started = time.monotonic()
        code = await asyncio.to_thread(self.process.wait, WAIT_SECONDS)
        return End(code, time.monotonic() - started)

    async def logged(self, message: str, *, times: int = 1, **fields: object) -> None:
        """Wait for a line of the log."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.lines(message, **fields)) < times:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.02)

    def lines(self, message: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines that say ``message``."""
        return self._log_lines({"message": message, **fields})

    def lines_at(self, level: str) -> list[dict[str, Any]]:
        """Return the log lines of a level."""
        return self._log_lines({"level": level})

    def _log_lines(self, fields: dict[str, object]) -> list[dict[str, Any]]:
        texts = [text for text in self.output().splitlines() if text[:1] + text[-1:] == "{}"]
        found: list[dict[str, Any]] = [json.loads(text) for text in texts]
        return [line for line in found if fields.items() <= line.items()]

    def closed(self) -> list[str]:
        """Return what was closed, in order."""
        return [line["resource"] for line in self.lines("Closed")]

    def output(self) -> str:
        return self._log.read_text()


def remembered_in(answers: list[aiohttp.ClientResponse]) -> type[aiohttp.ClientResponse]:
    """Return a class of responses that can be closed from here.

    The libraries read no answer to a POST and close no websocket that the server has left; the
    garbage collector then complains of the connection, in whichever test comes next.
    """

    class Remembered(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            answers.append(self)
            return await super().start(connection)

    return Remembered


class Watcher:
    """A user who reads the answer as it streams."""

    def __init__(self, url: str, transport: str = "websocket") -> None:
        self._url = url
        self._transport = transport
        self._answers: list[aiohttp.ClientResponse] = []
        self._heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(response_class=remembered_in(self._answers))
        self._sio = socketio.AsyncClient(reconnection=False, http_session=self._http)
        self._sio.on("*", self._hear)
        self._sio.on("disconnect", self._on_disconnect)
        await self._sio.connect(self._url, transports=[self._transport], wait_timeout=WAIT_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sio.disconnect()
        for answer in self._answers:
            answer.close()
        await self._http.close()

    async def ask(self, *, until: str = "chat:assistant_token") -> None:
        """Start a turn and wait for an event of it: the first words of its answer."""
        async with httpx.AsyncClient(base_url=self._url, timeout=WAIT_SECONDS) as client:
            session_id = (await client.post("/api/sessions", json={})).json()["sessionId"]
        assert (await self._sio.call("chat:join_session", {"sessionId": session_id}))["ok"]
        message = {"sessionId": session_id, "content": "A japandi bedroom, please"}
        await self._sio.emit("chat:user_message", message)
        async with asyncio.timeout(WAIT_SECONDS):
            while (await self._heard.get())[0] != until:
                pass

    async def rest(self) -> list[tuple[str, Any]]:
        """Return everything that is heard until the connection is gone."""
        heard = []
        async with asyncio.timeout(WAIT_SECONDS):
            while (one := await self._heard.get())[0] != "disconnect":
                heard.append(one)
        return heard

    async def _hear(self, event: str, payload: Any) -> None:
        self._heard.put_nowait((event, payload))

    async def _on_disconnect(self, _reason: object = None) -> None:
        self._heard.put_nowait(("disconnect", None))
