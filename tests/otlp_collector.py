"""An OTLP receiver on a free port, for tests that start programs of their own."""

from __future__ import annotations

import gzip
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_SECONDS = 30.0


class Received(NamedTuple):
    """A span as it arrived, with the resource of the process that sent it."""

    wire: Span
    resource: dict[str, str]

    @property
    def name(self) -> str:
        return self.wire.name

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(sorted(item.key for item in self.wire.attributes))


class OtlpCollector:
    """Keeps every span that it is sent."""

    def __init__(self) -> None:
        self._requests: list[ExportTraceServiceRequest] = []
        requests = self._requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self) -> list[Received]:
        return [
            Received(
                span, {item.key: item.value.string_value for item in whole.resource.attributes}
            )
            for request in list(self._requests)
            for whole in request.resource_spans
            for scope in whole.scope_spans
            for span in scope.spans
        ]

    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans())

    def trees(self) -> list[list[str]]:
        """Return each trace as indented lines: name, kind and the keys of its attributes."""
        traces: dict[bytes, list[Received]] = defaultdict(list)
        for span in self.spans():
            traces[span.wire.trace_id].append(span)
        return sorted(_tree(trace, b"", 0) for trace in traces.values())

    def wait_until(self, is_enough: Callable[[], Any]) -> None:
        """Wait for what must arrive; fail with what has arrived instead."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_enough():
            assert time.monotonic() < deadline, self.names()
            threading.Event().wait(0.02)


def _tree(spans: list[Received], parent: bytes, depth: int) -> list[str]:
    lines = []
    children = [span for span in spans if span.wire.parent_span_id == parent]
    for span in sorted(children, key=lambda span: span.wire.start_time_unix_nano):
        kind = Span.SpanKind.Name(span.wire.kind)
        lines.append(f"{'  ' * depth}{span.name} {kind} {', '.join(span.keys)}")
        lines += _tree(spans, span.wire.span_id, depth + 1)
    return lines
