"""Plays full turns of the reference backend in one thread, each the same to the instruction.

    python benchmarks/instructions_turn.py --turns 4 [--traced]

``instructions.py`` counts what it executes. The backend is the real one, from FastAPI and
python-socketio to LangGraph, the Gemini client and SQLAlchemy; so are our hooks, recorder, guard
and encoder. Replaced is what makes two runs differ: sockets, threads, clocks, random numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import random
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from instructions_callgrind import Callgrind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WARM_UP_TURNS = 3
QUESTION = "I would like a japandi bedroom. Where do I start?"
HISTORY_MESSAGES = 2
GEMINI_URL = "http://127.0.0.1:9"
STEP_NANOSECONDS = 1000


def make_time_and_chance_repeatable() -> None:
    """Let a clock advance by a step whenever it is read, and randomness be a fixed sequence.

    Has to come before all other imports, for some modules keep what they find here. What stands
    in is as cheap as what it stands for: bound C functions.
    """
    now_ns = 1_700_000_000_000_000_000
    for name in ("monotonic", "perf_counter", "process_time", "thread_time", "time"):
        seconds = itertools.count(now_ns / 1e9, STEP_NANOSECONDS / 1e9)
        setattr(time, name, seconds.__next__)
        setattr(time, f"{name}_ns", itertools.count(now_ns, STEP_NANOSECONDS).__next__)

    class Predictable(random.Random):
        def __init__(self, seed: int = 1) -> None:
            super().__init__(seed)

    random.Random = Predictable  # type: ignore[misc]
    random.seed(1)
    # The second name is the one that `secrets` draws from: ids of connections.
    os.urandom = random._urandom = Predictable().randbytes  # type: ignore[attr-defined] # noqa: SLF001


def stay_in_this_thread() -> None:
    """Do what aiosqlite and anyio give to threads here, one round of the event loop later."""
    import aiosqlite.core
    import anyio.to_thread

    class Inline:
        def put_nowait(self, work: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
            future, function = work
            future.get_loop().call_soon(aiosqlite.core.set_result, future, function())

    class NoThread:
        daemon = True

        def __init__(self, **_: Any) -> None: ...

        def start(self) -> None: ...

    async def run_sync(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        await asyncio.sleep(0)
        return function(*arguments)

    aiosqlite.core.SimpleQueue = Inline
    aiosqlite.core.Thread = NoThread
    anyio.to_thread.run_sync = run_sync


def answer_in_place_of_gemini() -> None:
    """Give the model's HTTP client a transport that streams the local Gemini's frames."""
    import httpx
    from langchain_google_genai import ChatGoogleGenerativeAI

    from renovation import app
    from renovation.gemini_local import Reply
    from renovation.gemini_script import plan_reply

    class Stream(httpx.AsyncByteStream):
        def __init__(self, frames: list[bytes]) -> None:
            self._frames = frames

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for frame in self._frames:
                await asyncio.sleep(0)  # each comes by itself, as over a network
                yield frame

    known: dict[int, list[bytes]] = {}  # the model's side is no part of what is counted

    def answer(request: httpx.Request) -> httpx.Response:
        frames = known.get(len(request.content))
        if frames is None:
            plan = plan_reply(json.loads(request.content))
            reply = Reply(plan=plan, model="gemini-2.5-flash", response_id="response")
            frames = [b"data: " + json.dumps(f).encode() + b"\r\n\r\n" for f in reply.frames()]
            known[len(request.content)] = frames
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=Stream(frames))

    transport = httpx.MockTransport(answer)

    def model(settings: Any, base_url: str) -> ChatGoogleGenerativeAI:
        return ChatGoogleGenerativeAI(
            model=settings.chat_model,
            base_url=base_url,
            api_key="local",
            vertexai=False,
            streaming=True,
            temperature=0.7,
            max_retries=1,
            client_args={"transport": transport},
        )

    app.chat_model = model


class Collector:
    """Takes the place of the connection to a collector, and of the thread that waits for it."""

    def __init__(self) -> None:
        self.bytes_taken = 0
        self.spans = 0
        self._shippers: list[Any] = []

    def install(self) -> None:
        """Let ``turntrace.configure`` build a shipper that sends when told to, and to us.

        Spans go through the spool, on a real disk, as in an app.
        """
        import atexit
        import shutil
        import tempfile
        from pathlib import Path

        from turntrace.export import assembly
        from turntrace.export.sender import Sender
        from turntrace.export.shipper import Shipper

        # A new one each time, or the first run alone would draw the spool's secret.
        spools = Path(tempfile.gettempdir(), f"turntrace-turn-{os.getpid():07}")
        os.environ["TURNTRACE_SPOOL_DIR"] = str(spools)
        atexit.register(shutil.rmtree, spools, ignore_errors=True)
        collector = self

        class InlineShipper(Shipper):
            def __init__(self, **settings: Any) -> None:
                super().__init__(**settings)
                self._transport._exchange = collector.take  # type: ignore[method-assign] # noqa: SLF001 - the last thing before the socket
                self._thread.ensure = lambda: False  # type: ignore[method-assign]
                sender = Sender(
                    source=self,
                    transport=self._transport,
                    complaints=self._complaints,
                    delay_seconds=3600.0,
                    backoff_seconds=(1.0, 30.0),
                )
                collector._shippers.append((self, sender))

            def force_flush(self, timeout_seconds: float = 0.0) -> bool:  # noqa: ARG002 - at once
                collector.drain()
                return True

        assembly.Shipper = InlineShipper  # type: ignore[misc]

    def take(self, body: bytes) -> Any:
        """Acknowledge a request."""
        from turntrace.export.transport.http_transport import Fate, Outcome

        self.bytes_taken += len(body)
        return Outcome(Fate.TAKEN), True

    def drain(self) -> None:
        """Do what the export thread does when its time has come: encode, compress and send."""
        for shipper, sender in self._shippers:
            while not shipper.is_empty():
                waiting = shipper.counts()
                sender._send(everything=True)  # noqa: SLF001 - its public face waits for clocks
                self.spans += shipper.counts().acknowledged - waiting.acknowledged


class User:
    """A browser's part: HTTP requests and a websocket, as ASGI messages in memory."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self._background: list[asyncio.Task[None]] = []
        self.tokens = 0

    async def start_app(self) -> None:
        """Run the lifespan until it says that it has started."""
        has_started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stopping: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._stopping.put_nowait({"type": "lifespan.startup"})

        async def send(message: dict[str, Any]) -> None:
            if not has_started.done():
                has_started.set_result(message["type"])

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._run(self._app(scope, self._stopping.get, send))
        assert await has_started == "lifespan.startup.complete"

    async def stop_app(self) -> None:
        """Hang up and end the lifespan."""
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
        self._stopping.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.gather(*self._background)

    async def connect(self) -> None:
        """Open the websocket and the namespace."""
        self._to_app.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "path": "/socket.io/",
            "query_string": b"EIO=4&transport=websocket",
            "headers": [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")],
        }
        self._run(self._app(scope, self._to_app.get, self._hear))
        await self._until("0")
        self._say("40")
        await self._until("40")

    async def http(self, method: str, path: str, body: bytes = b"") -> Any:
        """Make one request and return the JSON that comes back."""
        received: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] < 300, message["status"]  # noqa: PLR2004 - 2xx
            else:
                received.append(message.get("body", b""))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }
        # In a context of its own, as the server gives every request one.
        await asyncio.create_task(self._app(scope, receive, send))
        return json.loads(b"".join(received))

    async def join(self, session_id: str) -> None:
        """Join a session."""
        self._say(f'420["chat:join_session",{json.dumps({"sessionId": session_id})}]')
        assert '"ok":true' in await self._until("430")

    async def turn(self, session_id: str) -> None:
        """Look at the session over HTTP, say something and listen until it is answered."""
        await self.http("GET", f"/api/sessions/{session_id}")
        payload = {"sessionId": session_id, "content": QUESTION}
        self._say(f'42["chat:user_message",{json.dumps(payload)}]')
        while True:
            text = await self._heard.get()
            assert not text.startswith('42["chat:error"'), text
            if text.startswith('42["chat:assistant_token"'):
                if text.endswith('"done":true}]'):
                    return
                self.tokens += 1

    def _run(self, part: Any) -> None:
        self._background.append(asyncio.create_task(part))

    def _say(self, text: str) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "text": text, "bytes": None})

    async def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self._heard.put_nowait(message["text"])

    async def _until(self, prefix: str) -> str:
        while not (text := await self._heard.get()).startswith(prefix):
            pass
        return text


async def play(
    turns: int, collector: Collector, block_is_done: Callable[[], None]
) -> dict[str, int]:
    """Play unmeasured turns, then `turns` and twice as many; return what all of these made.

    `block_is_done` is called after each of the three.
    """
    from renovation.app import create_app
    from renovation.settings import Settings

    settings = Settings(
        database_url="sqlite+aiosqlite://",
        gemini_base_url=GEMINI_URL,
        messages_per_minute=1_000_000_000,
        history_messages=HISTORY_MESSAGES,
    )
    user = User(create_app(settings))
    await user.start_app()
    await user.connect()
    session_id = (await user.http("POST", "/api/sessions", b'{"userId": "user-1"}'))["sessionId"]
    await user.join(session_id)

    async def one() -> None:
        await user.turn(session_id)
        collector.drain()
        gc.collect()

    for _ in range(WARM_UP_TURNS):
        await one()
    gc.freeze()  # what lives by now is the program's: a turn's collection is about the turn
    before = (user.tokens, collector.spans, collector.bytes_taken)
    block_is_done()
    for block in (turns, 2 * turns):
        for _ in range(block):
            await one()
        block_is_done()
    after = (user.tokens, collector.spans, collector.bytes_taken)
    await user.stop_app()
    names = ("tokens", "spans", "bytes")
    return {name: b - a for name, a, b in zip(names, before, after, strict=True)}


class Count:
    """Has callgrind count from the first call on, and write down at each further one."""

    def __init__(self) -> None:
        self._tool = Callgrind()
        self._step = self._tool.start

    def __call__(self) -> None:
        """End a block."""
        self._step()
        self._step = self._tool.write_down


def main() -> int:
    """Play and print what was played as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, required=True, help="a block; the next has twice")
    parser.add_argument("--traced", action="store_true", help="with turntrace switched on")
    parser.add_argument("--count", action="store_true", help="tell callgrind about the blocks")
    options = parser.parse_args()
    block_is_done = Count() if options.count else int
    os.environ["OTEL_ENABLED"] = "true" if options.traced else "false"
    # The collector runs once after every turn, not whenever so many objects have been made.
    gc.disable()
    make_time_and_chance_repeatable()
    stay_in_this_thread()
    answer_in_place_of_gemini()
    collector = Collector()
    collector.install()
    played = asyncio.run(play(options.turns, collector, block_is_done))
    # Whose turn it is, two threads decide by real time.
    assert threading.active_count() == 1, threading.enumerate()
    json.dump(played, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
