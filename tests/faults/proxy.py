"""A scriptable HTTP forward proxy on the loopback interface: plain requests and CONNECT.

Every host is served by one place, so that names which no DNS knows can be asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from collected import credential_of
from collector import LOOPBACK, read_head
from loop_thread import Loop

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_PIECE_BYTES: Final = 65_536
_OWN_HEADERS: Final = ("proxy-authorization", "proxy-connection")


@dataclass(slots=True)
class ProxyState:
    """How the proxy behaves, and what it saw."""

    target_port: int
    """Where everything is sent, whatever the host."""
    credential: str = ""
    """``Basic ...`` that is asked for; empty: none."""
    is_hanging: bool = False
    """Reads a request and never answers it."""
    is_refusing: bool = False
    """Answers every request with 502."""
    drips: bool = False
    """Answers a CONNECT with a byte now and then, for ever."""
    hosts: list[str] = field(default_factory=list)
    """``POST host:port`` or ``CONNECT host:port`` of every request."""
    credentials: list[str] = field(default_factory=list)
    """`credential_of` every ``proxy-authorization``."""
    seen_headers: set[str] = field(default_factory=set)
    """Names of all headers that were readable on the way."""


class Proxy:
    """A proxy in a thread of this process."""

    def __init__(self, target_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.state = ProxyState(target_port)
        self._loop = Loop()
        self._scheme = "http" if tls is None else "https"
        with socket.create_server((LOOPBACK, 0)) as found:
            self.port: int = found.getsockname()[1]
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.come_up()

    @property
    def url(self) -> str:
        return f"{self._scheme}://{LOOPBACK}:{self.port}"

    def url_with(self, credentials: str) -> str:
        """Return the URL with ``user:password`` in it."""
        return f"{self._scheme}://{credentials}@{LOOPBACK}:{self.port}"

    def come_up(self) -> None:
        """Listen (again)."""

        async def listen() -> None:
            self._server = await asyncio.start_server(
                self._welcome, LOOPBACK, self.port, ssl=self._tls
            )

        self._loop.run(listen())

    def go_down(self) -> None:
        """Close the port and every connection."""

        async def close() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.run(close())

    def close(self) -> None:
        self.go_down()
        self._loop.close(is_tls=self._tls is not None)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # who goes away is part of the script
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        method, path, headers = await read_head(reader)
        state = self.state
        place = path if method == "CONNECT" else urlsplit(path).netloc
        state.hosts.append(f"{method} {place}")
        state.seen_headers.update(headers)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        given = headers.get("proxy-authorization", "")
        if given:
            state.credentials.append(credential_of(given))
        if state.is_hanging:
            await asyncio.Event().wait()
        if state.credential and given != state.credential:
            return await _say(writer, "407 canary-of-the-proxy")
        if state.is_refusing:
            return await _say(writer, "502 canary-of-the-proxy")
        if method == "CONNECT":
            await self._tunnel(reader, writer)
            return False
        return await self._forward(writer, path, headers, body)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.state.drips:
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.01)
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self.state.target_port)
        self._writers.add(inner_writer)
        writer.write(b"HTTP/1.1 200 Connection established\r\nx-canary: proxy\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        finally:
            self._writers.discard(inner_writer)
            inner_writer.transport.abort()

    async def _forward(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], body: bytes
    ) -> bool:
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self.state.target_port)
        parts = urlsplit(path)
        asked = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        kept = {name: value for name, value in headers.items() if name not in _OWN_HEADERS}
        lines = [f"POST {asked} HTTP/1.1", *(f"{name}: {value}" for name, value in kept.items())]
        inner_writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)
        reply_head = await inner_reader.readuntil(b"\r\n\r\n")
        length = _length(reply_head)
        writer.write(reply_head + await inner_reader.readexactly(length))
        await writer.drain()
        inner_writer.transport.abort()
        return True


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def _say(writer: asyncio.StreamWriter, status: str) -> bool:
    text = b"canary-of-the-proxy"
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(text)}\r\n\r\n"
    writer.write(head.encode() + text)
    await writer.drain()
    return True


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


@contextlib.contextmanager
def running_proxy(target_port: int, **more: Any) -> Iterator[Proxy]:
    """Run a proxy in front of the collector at ``target_port``."""
    proxy = Proxy(target_port, **more)
    try:
        yield proxy
    finally:
        proxy.close()
