"""How late an event loop's timer is while spans are exported all the time, beside an idle loop.

    python benchmarks/stall.py
    python benchmarks/stall.py --seconds 3 --rounds 1

Each run is a process of its own with a timer of 1 ms: idle, with turntrace, with the official
exporter. Both exporters are fed by the loop itself, at the same rate, and send to the same
collector, another process that says yes. Rounds take turns. The figure is how much later than
scheduled the 99th percentile of ticks comes, less that of the idle loop of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from span import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_SECONDS = 0.001
SPANS_PER_TICK = 3
GOAL_MILLISECONDS = 0.7
MODES = ("idle", "turntrace", "official")


def serve() -> None:
    """Take every request, say on which port, until the standard input ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        import threading

        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()


def tracer_of(mode: str, endpoint: str, folder: Path) -> tuple[Any, Callable[[], int]]:
    """Return a tracer, and what tells how many spans the collector has taken."""
    if mode == "turntrace":
        import turntrace

        telemetry = turntrace.configure(
            traces_endpoint=endpoint, service_name="stall", spool_dir=str(folder)
        )
        assert telemetry.provider is not None
        return telemetry.provider.get_tracer("stall"), lambda: telemetry.health().acknowledged
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    sent = 0

    class Counting(OTLPSpanExporter):
        def export(self, spans: Any) -> Any:
            nonlocal sent
            result = super().export(spans)
            sent += len(spans)
            return result

    provider = TracerProvider(resource=Resource.create({"service.name": "stall"}))
    provider.add_span_processor(BatchSpanProcessor(Counting(endpoint=endpoint)))
    return provider.get_tracer("stall"), lambda: sent


async def tick(seconds: float, work: Callable[[], None]) -> list[float]:
    """Run ``work`` at every tick; return by how many milliseconds each was late."""
    loop = asyncio.get_running_loop()
    late: list[float] = []
    end = loop.time() + seconds
    while (now := loop.time()) < end:
        await asyncio.sleep(TICK_SECONDS)
        late.append((loop.time() - now - TICK_SECONDS) * 1e3)
        work()
    return late


def measure(mode: str, endpoint: str, seconds: float, folder: Path) -> dict[str, float]:
    """Return the figures of one process."""
    taken: Callable[[], int] = int

    def work() -> None: ...

    if mode != "idle":
        tracer, taken = tracer_of(mode, endpoint, folder)

        def work() -> None:
            for _ in range(SPANS_PER_TICK):
                tracer.start_span("SELECT chat_messages", attributes=ATTRIBUTES).end()

    asyncio.run(tick(1.0, work))  # warm
    before, cpu = taken(), time.process_time()
    late = sorted(asyncio.run(tick(seconds, work)))
    return {
        "p50": late[len(late) // 2],
        "p99": late[int(len(late) * 0.99)],
        "max": late[-1],
        "spans_per_second": (taken() - before) / seconds,
        "cpu": (time.process_time() - cpu) / seconds,
    }


def main() -> None:
    """Play all rounds and print what came out, or one part of it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mode", choices=[*MODES, "serve"], help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode == "serve":
        serve()
        return
    if options.mode:
        with tempfile.TemporaryDirectory(prefix="turntrace-stall-") as folder:
            figures = measure(options.mode, options.endpoint, options.seconds, Path(folder))
            print(json.dumps(figures), flush=True)
        return
    compare(options.rounds, options.seconds)


def compare(rounds: int, seconds: float) -> None:
    """Play the rounds, each mode once in each."""
    figures: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    words = [sys.executable, __file__, "--seconds", str(seconds), "--mode"]
    with subprocess.Popen(  # noqa: S603 - this file
        [*words, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}/v1/traces"
        for _ in range(rounds):
            for mode in MODES:
                ran = subprocess.run(  # noqa: S603 - this file
                    [*words, mode, "--endpoint", endpoint],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                figures[mode].append(json.loads(ran.stdout.splitlines()[-1]))
        server.communicate("")
    print(f"{rounds} rounds of {seconds:g} s, a tick every {TICK_SECONDS * 1e3:g} ms")
    for mode in MODES:
        p99, p50, most, rate, cpu = (
            statistics.median(run[name] for run in figures[mode])
            for name in ("p99", "p50", "max", "spans_per_second", "cpu")
        )
        excess = statistics.median(
            run["p99"] - idle["p99"]
            for run, idle in zip(figures[mode], figures["idle"], strict=True)
        )
        print(
            f"{mode:10} late p50 {p50:6.3f} p99 {p99:6.3f} max {most:7.3f} ms"
            f" | p99 excess {excess:6.3f} ms | {rate:6.0f} spans/s taken | {cpu:4.0%} CPU"
        )
    print(f"goal: turntrace's p99 excess <= {GOAL_MILLISECONDS} ms")


if __name__ == "__main__":
    main()
