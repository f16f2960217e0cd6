"""A collector that keeps every byte, the backend in a process of its own, and a traced user."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START_SECONDS = 60.0
ARRIVE_SECONDS = 15.0


class Collector:
    """An OTLP receiver on a free port that keeps what it got, byte for byte."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                head = f"{self.requestline}\r\n{self.headers}".encode("latin-1")
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                collector.raw.append(head + body)
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self) -> list[Arrived]:
        return [
            Arrived(
                span,
                next(
                    a.value.string_value
                    for a in whole.resource.attributes
                    if a.key == "service.name"
                ),
            )
            for request in list(self.requests)
            for whole in request.resource_spans
            for scope in whole.scope_spans
            for span in scope.spans
        ]


@dataclass
class Arrived:
    """A span as it was on the wire, decoded by the official classes."""

    wire: Span
    service: str
    attributes: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.attributes = {item.key: _value(item.value) for item in self.wire.attributes}

    @property
    def name(self) -> str:
        return self.wire.name

    @property
    def kind(self) -> str:
        return Span.SpanKind.Name(self.wire.kind).removeprefix("SPAN_KIND_")


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    return getattr(value, kind)


class Trace:
    """The spans of one trace that arrived, as a tree."""

    def __init__(self, spans: list[Arrived]) -> None:
        self.spans = sorted(spans, key=lambda span: span.wire.start_time_unix_nano)

    def children(self, parent: Arrived | None) -> list[Arrived]:
        parent_id = parent.wire.span_id if parent is not None else b""
        return [span for span in self.spans if span.wire.parent_span_id == parent_id]

    def tree(self, parent: Arrived | None = None, depth: int = 0) -> list[str]:
        lines = []
        for child in self.children(parent):
            lines.append("  " * depth + f"{child.name} {child.kind}")
            lines += self.tree(child, depth + 1)
        return lines

    def named(self, name: str) -> list[Arrived]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Arrived:
        (found,) = self.named(name)
        return found

    def parent(self, span: Arrived) -> Arrived:
        (found,) = [other for other in self.spans if other.wire.span_id == span.wire.parent_span_id]
        return found


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def _environment(endpoint: str, **more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    return {
        **inherited,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **more,
    }


@pytest.fixture(scope="session")
def backend(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The reference backend on its embedded defaults, in a process of its own."""
    folder: Path = tmp_path_factory.mktemp("backend")
    port = _free_port()
    environment = _environment(
        collector.url,
        RENOVATION_DATABASE=str(folder / "renovation.sqlite3"),
        RENOVATION_MESSAGES_PER_MINUTE="1000",
    )
    command = [sys.executable, "-m", "renovation", "--port", str(port)]
    with (folder / "out").open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process, folder / "out")
        yield url
    finally:
        process.terminate()
        process.wait(15.0)


def _free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as probe:
        return int(probe.server_address[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        threading.Event().wait(0.05)
    pytest.fail(f"the backend did not start: {output.read_text()}")


@pytest.fixture(scope="session")
def say(backend: str, collector: Collector) -> Callable[..., list[tuple[Trace, str]]]:
    """Send first messages in a process of their own; return each one's trace and answer."""

    def run(message: str, *, transport: str, users: int = 1) -> list[tuple[Trace, str]]:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "renovation.demo_user",
                "--url",
                backend,
                "--endpoint",
                collector.url,
                "--transport",
                transport,
                "--message",
                message,
                "--users",
                str(users),
            ],
            env=_environment(collector.url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = [json.loads(line) for line in done.stdout.splitlines()]
        return [(_arrived(collector, bytes.fromhex(one["traceId"])), one["answer"]) for one in said]

    return run


def _arrived(collector: Collector, trace_id: bytes) -> Trace:
    """Wait until every parent has arrived and the turn has ended."""
    deadline = time.monotonic() + ARRIVE_SECONDS
    while True:
        spans = [span for span in collector.spans() if span.wire.trace_id == trace_id]
        ids = {span.wire.span_id for span in spans} | {b""}
        names = {span.name for span in spans}
        complete = {"first message", "socket.io chat:user_message"} <= names
        if complete and all(span.wire.parent_span_id in ids for span in spans):
            return Trace(spans)
        assert time.monotonic() < deadline, f"incomplete: {sorted(names)}"
        threading.Event().wait(0.05)
