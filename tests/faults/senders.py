"""A process that ends spans at a steady rate through one exporter, and says what became of them.

Each exporter is a factory in `SENDERS`. The process prints a line when it is ready, starts at the
first line of its standard input, appends the ids of what it ended to a file (trace id, span id),
and prints a line of JSON at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer

TICK_SECONDS: Final = 0.02
SERVICE: Final = "faults"


class Sender(Protocol):
    """One exporter with a tracer in front of it, as an app would have it."""

    tracer: Tracer

    def flush(self, seconds: float) -> bool:
        """Send what waits."""
        ...

    def close(self, seconds: float) -> None:
        """Stop for good."""
        ...

    def said(self) -> dict[str, Any]:
        """Return what it says became of the spans: ``sent``, and whatever else it counts."""
        ...


class Official:
    """The SDK with a BatchSpanProcessor and the OTLP/HTTP exporter, by their defaults."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

        self._sent = 0
        owner = self

        class Counting(OTLPSpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                result = super().export(spans)
                owner._sent += len(spans) * (result is SpanExportResult.SUCCESS)
                return result

        self._provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
        self._provider.add_span_processor(BatchSpanProcessor(Counting(endpoint=endpoint)))
        self.tracer = self._provider.get_tracer(SERVICE)

    def flush(self, seconds: float) -> bool:
        return self._provider.force_flush(int(seconds * 1000))

    def close(self, seconds: float) -> None:
        del seconds  # it takes none
        self._provider.shutdown()

    def said(self) -> dict[str, Any]:
        return {"sent": self._sent}


class Memory:
    """turntrace with the exporter that holds spans in bounded memory, by its defaults."""

    def __init__(self, endpoint: str) -> None:
        from turntrace.export.http_exporter import OtlpHttpExporter
        from turntrace.guard.schema import Schema
        from turntrace.guard.stage import GuardStage
        from turntrace.record import Resource, TracerProvider

        self._exporter = OtlpHttpExporter(endpoint=endpoint, resource={"service.name": SERVICE})
        guard = GuardStage(Schema(), self._exporter.offer)
        provider = TracerProvider(Resource({"service.name": SERVICE}), guard.on_end)
        self.tracer = provider.get_tracer(SERVICE)

    def flush(self, seconds: float) -> bool:
        return self._exporter.force_flush(seconds)

    def close(self, seconds: float) -> None:
        self._exporter.shutdown(seconds)

    def said(self) -> dict[str, Any]:
        counts = self._exporter.counts()
        return {
            "sent": counts.acknowledged,
            "rejected": counts.rejected,
            "dropped": dict(counts.dropped),
            "waiting": counts.waiting,
            "ended": counts.offered,
        }


SENDERS: Final[dict[str, Callable[[str], Sender]]] = {"official": Official, "memory": Memory}
"""By the name that a table shows; each takes the collector's URL."""


def send(sender: Sender, *, rate: float, seconds: float, ids: int, share: float) -> list[float]:
    """End ``rate`` spans a second; return how long each end took, in microseconds."""
    took: list[float] = []
    started = time.monotonic()
    ended = 0
    while True:
        passed = time.monotonic() - started
        is_last = passed >= seconds
        keys = []
        while ended < rate * min(passed, seconds):
            ended += 1
            span = sender.tracer.start_span("POST /api/messages", attributes=_attributes(ended))
            before = time.perf_counter()
            span.end()
            took.append((time.perf_counter() - before) * 1e6)
            context = span.get_span_context()
            if context.trace_flags.sampled or share == 1.0:
                keys.append(
                    context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")
                )
        os.write(ids, b"".join(keys))
        if is_last:
            return took
        time.sleep(TICK_SECONDS)


def _attributes(number: int) -> dict[str, Any]:
    return {
        "http.request.method": "POST",
        "http.route": "/api/messages",
        "http.response.status_code": 200,
        "session.id": f"session-{number % 100}",
        "gen_ai.usage.input_tokens": number,
    }


def main() -> None:
    """Send, flush, close, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sender", choices=sorted(SENDERS), required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--ids", required=True, help="the file that ids are appended to")
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--flush-seconds", type=float, default=10.0)
    options = parser.parse_args()
    sender = SENDERS[options.sender](options.endpoint)
    ids = os.open(options.ids, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
    sys.stdin.readline()
    took = send(sender, rate=options.rate, seconds=options.seconds, ids=ids, share=1.0)
    started = time.monotonic()
    is_flushed = sender.flush(options.flush_seconds)
    flushed = time.monotonic()
    sender.close(2.0)
    took.sort()
    report = {
        "ended": len(took),
        "is_flushed": is_flushed,
        "flush_seconds": round(flushed - started, 2),
        "close_seconds": round(time.monotonic() - flushed, 2),
        "end_p99_us": round(took[int(len(took) * 0.99)], 1),
        "end_max_us": round(took[-1], 1),
        "peak_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "threads": threading.active_count(),
        "said": sender.said(),
    }
    print(json.dumps(report), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
