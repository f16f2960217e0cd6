"""A scriptable OTLP/HTTP collector on the loopback interface: what the exporter is tested on."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import socketserver
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the collector answers to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    """Never answers, until the collector is closed."""
    drips: bool = False
    """Sends a header byte now and then, for ever."""
    closes_early: bool = False
    """Announces more than it sends."""


OK = Reply()


@dataclass(slots=True)
class Request:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    message: ExportTraceServiceRequest

    @property
    def span_ids(self) -> list[bytes]:
        return [
            span.span_id
            for resource in self.message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class Collector:
    """Answers by ``script`` (oldest first), then by ``default``; remembers every request."""

    def __init__(self, port: int = 0) -> None:
        self.script: deque[Reply] = deque()
        self.default = OK
        self.requests: list[Request] = []
        self.taken: list[bytes] = []
        """Ids of the spans of every request that was answered with a 2xx."""
        self.is_closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.collector = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def close(self) -> None:
        self.is_closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    collector: Collector

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: clients that go away are part of the script."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        collector = self.server.collector
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = Request(
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            ExportTraceServiceRequest.FromString(body),
        )
        reply = collector.script.popleft() if collector.script else collector.default
        collector.requests.append(request)
        if reply.hangs:
            collector.is_closing.wait(30)
            self.close_connection = True
            return
        if reply.drips:
            self._drip()
            return
        if 200 <= reply.status < 300:
            collector.taken.extend(request.span_ids)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.body) + 9 * reply.closes_early))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = self.close_connection or reply.closes_early

    def _drip(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
            while not self.server.collector.is_closing.wait(0.02):
                self.wfile.write(b"x")

    def do_GET(self) -> None:
        """A followed redirect would end here, as GET or as POST."""
        self.server.collector.requests.append(Request(self.path, {}, ExportTraceServiceRequest()))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keep quiet."""


@contextlib.contextmanager
def running_collector(port: int = 0) -> Iterator[Collector]:
    collector = Collector(port)
    try:
        yield collector
    finally:
        collector.close()


def wait_until(condition: Callable[[], object], timeout_seconds: float = 5.0) -> None:
    """Return as soon as ``condition()`` holds; fail after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)
