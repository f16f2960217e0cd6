"""A scriptable OTLP/HTTP collector, in this process or in one of its own.

    python tests/faults/collector.py --port 0 --script '[{"do": "refuse", "seconds": 5}]'

prints one line of JSON with its ports, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from behaviour import STORING, Behaviour, Script, read_script, script_as_json
from collected import MAX_BODY_BYTES, Collected
from loop_thread import START_SECONDS, Loop

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

LOOPBACK: Final = "127.0.0.1"
_MAX_HEAD_BYTES: Final = 65_536
_PART_BYTES: Final = 1024
_RESET: Final = struct.pack("ii", 1, 0)


class CollectorServer:
    """The collector itself; lives in one event loop."""

    def __init__(
        self, script: list[Behaviour], *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.collected = Collected()
        self.port = port
        self.control_port = 0
        self._tls = tls
        self._script = Script(script)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._script_changed = asyncio.Event()
        self._door: asyncio.Task[None] | None = None
        self._control: asyncio.Server | None = None

    async def start(self) -> None:
        if self.port == 0:
            with socket.create_server((LOOPBACK, 0)) as found:
                self.port = found.getsockname()[1]
        await self._mind_port()
        self._door = asyncio.create_task(self._mind_door())
        self._control = await asyncio.start_server(self._answer_control, LOOPBACK, 0)
        self.control_port = self._control.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._door is not None:
            self._door.cancel()
        for server in filter(None, (self._server, self._control)):
            server.close()
        self._server = None
        self._reset_all()

    def play(self, script: list[Behaviour]) -> None:
        """Begin another script."""
        self._script = Script(script)
        self._script_changed.set()

    async def _mind_door(self) -> None:
        """Open and close the port as the script goes by time."""
        while True:
            self._script_changed.clear()
            await self._mind_port()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._script_changed.wait(), self._script.seconds_until_change()
                )

    async def _mind_port(self) -> None:
        is_shut = self._script.now().do == "refuse"
        if is_shut and self._server is not None:
            self._server.close()
            self._server = None
            self._reset_all()
        elif not is_shut and self._server is None:
            self._server = await asyncio.start_server(
                self._welcome, LOOPBACK, self.port, ssl=self._tls, backlog=512
            )

    def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)  # here, as a task that is cancelled before it starts closes nothing
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # clients that go away are part of the script
        except asyncio.CancelledError:
            pass  # the loop ends
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve a request; return whether the connection goes on."""
        method, path, headers = await read_head(reader)
        step = self._script.meet()
        self._script_changed.set()  # a step that goes by requests may be over
        length = int(headers.get("content-length", "0"))
        if step.do == "hang" and not step.reads:
            self.collected.hear(path, headers, step.label, b"")
            await asyncio.Event().wait()
        if step.do == "close_in_body":
            await reader.read(min(length // 2, _PART_BYTES))
            self.collected.hear(path, headers, step.label, b"")
            _reset(writer)
            return False
        if step.do == "status" and not step.reads:
            self.collected.hear(path, headers, step.label, b"")
            await self._answer(writer, step)
            _reset(writer)
            return False
        body = await reader.readexactly(min(length, MAX_BODY_BYTES))
        facts = self.collected.hear(path, headers, step.label, body)
        if method == "POST":
            self._store(facts, headers, body, step)
        if step.after_seconds:
            await asyncio.sleep(step.after_seconds)
        return await self._answer(writer, step)

    def _store(self, facts: Any, headers: dict[str, str], body: bytes, step: Behaviour) -> None:
        message = self.collected.read(headers, body)
        if message is None:
            return
        if step.do in STORING:
            self.collected.store(facts, message, step.rejected if step.do == "partial" else 0)
            return
        total = sum(len(s.spans) for whole in message.resource_spans for s in whole.scope_spans)
        facts.span_count = total
        if step.do == "status" and 400 <= step.code < 500 and step.code != 429:
            self.collected.rejected += total

    async def _answer(self, writer: asyncio.StreamWriter, step: Behaviour) -> bool:
        if step.do == "hang":
            await asyncio.Event().wait()
        if step.do in ("close_before_answer", "lose_acknowledgement"):
            _reset(writer)
            return False
        reply = step.reply()
        if step.do == "drip":
            for position in range(len(reply)):
                writer.write(reply[position : position + 1])
                await writer.drain()
                await asyncio.sleep(step.drip_seconds)
        else:
            writer.write(reply)
            await writer.drain()
        if step.do in ("truncated", "truncated_head", "garbage"):
            writer.close()
            return False
        return True

    async def _answer_control(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            _, path, headers = await read_head(reader)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            answer = json.dumps(self._obey(path, body)).encode()
            head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(answer)}\r\n\r\n"
            writer.write(head.encode() + answer)
            await writer.drain()
        writer.close()

    def _obey(self, path: str, body: bytes) -> Any:
        if path == "/script":
            self.play(read_script(json.loads(body)))
        elif path == "/spans":
            return self.collected.span_list()
        elif path == "/ids":
            return [key.hex() for key in self.collected.spans]
        elif path == "/requests":
            return self.collected.request_list()
        elif path == "/forget":
            self.collected = Collected()
        return self.collected.summary()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    """Return method, path and headers (names in lower case) of a request."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:_MAX_HEAD_BYTES].decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return method, rest.rpartition(" ")[0], headers


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset, not an end."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextlib.contextmanager
def running_collector(
    script: list[Behaviour] | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[LocalCollector]:
    """Run a collector in a thread of this process."""
    local = LocalCollector(script or [], port=port, tls=tls)
    try:
        yield local
    finally:
        local.close()


class LocalCollector:
    """A collector in a thread; what it collected can be read at any time."""

    def __init__(
        self, script: list[Behaviour], *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._loop = Loop()
        self._scheme = "http" if tls is None else "https"
        self.server: CollectorServer = self._loop.call(
            lambda: CollectorServer(script, port=port, tls=tls)
        )
        self._loop.run(self.server.start())
        self.port = self.server.port

    @property
    def endpoint(self) -> str:
        return f"{self._scheme}://{LOOPBACK}:{self.port}/v1/traces"

    @property
    def collected(self) -> Collected:
        return self.server.collected

    def ids(self) -> set[bytes]:
        """Return trace id and span id of every span that was stored."""
        return self._loop.call(lambda: set(self.collected.spans))

    def summary(self) -> dict[str, Any]:
        """Return the counts (see `Collected.summary`)."""
        return self._loop.call(self.collected.summary)

    def play(self, *script: Behaviour) -> None:
        """Begin another script."""
        self._loop.call(lambda: self.server.play(list(script)))

    def close(self) -> None:
        self._loop.run(self.server.stop())
        self._loop.close(is_tls=self._scheme == "https")


class CollectorProcess:
    """A collector in a process of its own, which can be stopped and continued."""

    def __init__(self, script: list[Behaviour] | None = None, *, port: int = 0) -> None:
        text = json.dumps(script_as_json(script or []))
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), "--port", str(port), "--script", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        is_ready = select.select([self._process.stdout], [], [], START_SECONDS)[0]
        assert is_ready, "the collector did not start in time"
        told = json.loads(self._process.stdout.readline())
        self.port: int = told["port"]
        self._control_port: int = told["control_port"]

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/v1/traces"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = f"http://{LOOPBACK}:{self._control_port}{path}"
        with opener.open(url, body, START_SECONDS) as answer:
            return json.load(answer)

    def play(self, *script: Behaviour) -> None:
        """Begin another script."""
        self._ask("/script", json.dumps(script_as_json(list(script))).encode())

    def summary(self) -> dict[str, Any]:
        """Return the counts (see `Collected.summary`)."""
        return self._ask("/summary")

    def ids(self) -> set[bytes]:
        """Return trace id and span id of every span that was stored."""
        return {bytes.fromhex(key) for key in self._ask("/ids")}

    def spans(self) -> list[dict[str, Any]]:
        """Return every span (see `Collected.span_list`)."""
        return self._ask("/spans")

    def requests(self) -> list[dict[str, Any]]:
        """Return the latest requests."""
        return self._ask("/requests")

    def forget(self) -> None:
        """Forget all that was collected."""
        self._ask("/forget")

    def pause(self) -> None:
        """SIGSTOP: the kernel goes on accepting, nobody reads or answers."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.go_on()
        self._process.terminate()
        self._process.wait(START_SECONDS)
        for pipe in filter(None, (self._process.stdin, self._process.stdout)):
            pipe.close()


def wait_until(condition: Callable[[], object], timeout_seconds: float = 10.0) -> None:
    """Return as soon as ``condition()`` holds; fail after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


async def _run(port: int, script: list[Behaviour]) -> None:
    server = CollectorServer(script, port=port)
    await server.start()
    print(json.dumps({"port": server.port, "control_port": server.control_port}), flush=True)  # noqa: T201 - whoever started it reads this
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=json.loads, default=[], help="a list of behaviours, JSON")
    options = parser.parse_args()
    asyncio.run(_run(options.port, read_script(options.script)))


if __name__ == "__main__":
    main()
