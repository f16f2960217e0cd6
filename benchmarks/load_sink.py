"""Takes OTLP/HTTP requests and keeps them unread; GET answers with the number of spans in them.

python benchmarks/load_sink.py --port 0
"""

from __future__ import annotations

import argparse
import gzip
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_bodies: list[bytes] = []


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        _bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(str(sum(map(count_spans, _bodies))).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def count_spans(body: bytes) -> int:
    """Return how many spans a request holds."""
    request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
    return sum(
        len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans
    )


def main() -> int:
    """Serve until ended; the first line of output is the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    with ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), _Sink) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
