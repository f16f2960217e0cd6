"""The view and the reference backend as processes, one user's traffic, and all that left of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from socket import create_server
from typing import TYPE_CHECKING, Any

import httpx
import socketio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WAIT_SECONDS = 30.0


class View:
    """A running `turntrace view` that keeps every request."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder
        self._live: list[bytes] = []
        self._watcher = threading.Thread(target=self._watch)
        self._is_watching = threading.Event()

    def watch(self) -> None:
        """Open the live stream, as a page does."""
        self._watcher.start()
        assert self._is_watching.wait(WAIT_SECONDS)

    def _watch(self) -> None:
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", f"{self.url}/api/live?all=1", timeout=WAIT_SECONDS) as answer,
        ):
            for chunk in answer.iter_bytes():
                self._is_watching.set()
                self._live.append(chunk)

    def answers(self) -> bytes:
        """Ask for everything that can be asked for, of every trace."""
        with httpx.Client(base_url=self.url, timeout=WAIT_SECONDS) as http:
            texts = [http.get(path).text for path in ("/", "/api/turns?all=1&limit=500")]
            recent = http.get("/api/traces?limit=500")
            assert recent.status_code == httpx.codes.OK, recent.text
            texts.append(recent.text)
            traces = [one["trace_id"] for one in recent.json()["traces"]]
            for number, trace_id in enumerate(traces):
                whole = http.get(f"/api/traces/{trace_id}")
                turn = http.get(f"/api/turns/{trace_id}")
                texts += [whole.text, turn.text]
                if number % 20 == 0:  # the page itself is the same for all of them
                    texts.append(http.get(f"/turns/{trace_id}").text)
                texts += [
                    http.get(f"/api/turns/{trace_id}?span={span['span_id']}").text
                    for span in whole.json()["spans"]
                ]
        return "\n".join(texts).encode()

    def files(self) -> bytes:
        """Return the bytes of the store, its write-ahead log included."""
        return b"\n".join(path.read_bytes() for path in sorted(self._folder.glob("view.sqlite*")))

    def wire(self) -> bytes:
        return b"\n".join(path.read_bytes() for path in sorted((self._folder / "kept").iterdir()))

    def live_stream(self) -> bytes:
        """Return what the watcher was told; only once the view has ended."""
        self._watcher.join(WAIT_SECONDS)
        return b"".join(self._live)


class User:
    """Somebody at the backend, with no telemetry of their own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS)
        self.sio = socketio.AsyncClient(reconnection=False)
        self.heard: list[tuple[str, Any]] = []
        self._news = asyncio.Condition()
        self.session = ""

    async def arrive(self) -> None:
        """Start a session and join it."""
        self.sio.on("*", self._hear)
        await self.sio.connect(self.url, transports=["websocket"])
        self.session = (await self.http.post("/api/sessions")).json()["sessionId"]
        joined = await self.sio.call("chat:join_session", {"sessionId": self.session})
        assert joined == {"ok": True}

    async def leave(self) -> None:
        await self.sio.disconnect()
        await self.http.aclose()

    async def _hear(self, event: str, *payload: Any) -> None:
        async with self._news:
            self.heard.append((event, payload[0] if payload else None))
            self._news.notify_all()

    async def say(self, content: str, **more: Any) -> str:
        """Send a message; return how it ended: the code of the refusal, or ``done``."""
        message = {"sessionId": self.session, "content": content, **more}
        return await self.emitted(self.sio.emit("chat:user_message", message))

    async def emitted(self, sending: Any) -> str:
        start = len(self.heard)
        await sending
        return await self.ending(start)

    async def ending(self, start: int) -> str:
        """Wait for the end of what was sent when ``start`` events had been heard."""

        def end() -> str | None:
            for event, payload in self.heard[start:]:
                if event == "chat:error":
                    return str(payload["code"])
                if event == "chat:assistant_token" and payload["done"]:
                    return "done"
            return None

        async with asyncio.timeout(WAIT_SECONDS), self._news:
            await self._news.wait_for(lambda: end() is not None)
        return str(end())


@contextmanager
def view_running(folder: Path) -> Iterator[View]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    kept = ["--keep-requests", str(folder / "kept"), "--store", str(folder / "view.sqlite")]
    words = ["-m", "turntrace.cli", "view", "--port", str(port), *kept]
    with _running(words, {}, f"{url}/api/health", folder / "view.out"):
        made = View(url, folder)
        made.watch()
        yield made


@contextmanager
def backend_running(folder: Path, words: list[str], variables: Mapping[str, str]) -> Iterator[str]:
    """Run the backend; once this is left, all of its spans have been sent."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [*words, "-m", "renovation", "--port", str(port)]
    with _running(command, variables, f"{url}/health/ready", folder / "backend.out"):
        yield url


def own_lines(output: Path) -> str:
    """Return the lines of turntrace's own loggers among the JSON lines of the backend."""
    found = []
    for line in output.read_text().splitlines():
        try:
            is_own = json.loads(line)["logger"].startswith("turntrace")
        except (ValueError, KeyError, TypeError):
            is_own = True  # not the app's: a warning, a crash
        if is_own:
            found.append(line)
    return "\n".join(found)


@contextmanager
def _running(
    words: list[str], variables: Mapping[str, str], ready_url: str, output: Path
) -> Iterator[None]:
    theirs = ("OTEL_", "TURNTRACE_", "RENOVATION_", "GOOGLE_", "GEMINI_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(theirs)}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *words], env={**inherited, **variables}, stdout=file, stderr=file
        )
    try:
        for _ in range(round(WAIT_SECONDS / 0.05)):
            assert process.poll() is None, output.read_text()
            if _answers(ready_url):
                break
            threading.Event().wait(0.05)
        else:
            raise AssertionError(output.read_text())
        yield
    finally:
        process.terminate()
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url).status_code == httpx.codes.OK
    return False


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
