"""What tracing adds to one HTTP request of the reference backend: pairs, one after the other.

    python benchmarks/request.py

Two backends, one with OTEL_ENABLED=false, are asked in turn by one user, so that whatever the
machine does meanwhile meets both alike. The traced one exports to a `turntrace view`.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

WARM_UP, PAIRS, QUARTERS = 300, 4000, 4
VIEW_PORT, PORTS = 14555, {"off": 18101, "on": 18102}
START_SECONDS, STOP_SECONDS, PAUSE_SECONDS = 60.0, 20.0, 0.002


def started(stack: ExitStack, arguments: list[str], **more: str) -> None:
    """Start a process that ends with ``stack``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TURNTRACE_"))}
    clean["XDG_STATE_HOME"] = tempfile.gettempdir()  # not in the home of whoever measures
    process = subprocess.Popen([sys.executable, *arguments], env={**clean, **more})  # noqa: S603 - ours
    stack.callback(process.wait, STOP_SECONDS)
    stack.callback(process.terminate)


def connection(port: int) -> http.client.HTTPConnection:
    """Return a connection to a backend as soon as it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            made = http.client.HTTPConnection("127.0.0.1", port)
            made.request("GET", "/health/ready")
            made.getresponse().read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return made


def asked(made: http.client.HTTPConnection, path: str, *, method: str = "GET") -> bytes:
    """Make a request and return its answer."""
    body = b"{}" if method == "POST" else None
    made.request(method, path, body, {"content-type": "application/json"})
    return made.getresponse().read()


def percentile(values: list[float], percent: float) -> float:
    """Return the value that ``percent`` of ``values`` stay below."""
    return sorted(values)[int(len(values) * percent / 100)]


def main() -> None:
    """Measure and print."""
    seen: dict[str, list[float]] = {"off": [], "on": []}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        view = ["-m", "turntrace.cli", "view", "--port", str(VIEW_PORT)]
        started(stack, [*view, "--store", f"{folder}/view.sqlite"])
        for name, port in PORTS.items():
            started(
                stack,
                ["-m", "renovation", "--port", str(port)],
                OTEL_ENABLED=str(name == "on").lower(),
                OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{VIEW_PORT}",
                OTEL_BSP_SCHEDULE_DELAY="1000",
                RENOVATION_DATABASE=f"{folder}/{name}.sqlite3",
                RENOVATION_LOG_LEVEL="ERROR",
            )
        made = {name: connection(port) for name, port in PORTS.items()}
        paths = {}
        for name, one in made.items():
            session = json.loads(asked(one, "/api/sessions", method="POST"))
            paths[name] = f"/api/sessions/{session['sessionId']}"
        for number in range(WARM_UP + PAIRS):
            for name in ("off", "on") if number % 2 else ("on", "off"):
                began = time.perf_counter()
                asked(made[name], paths[name])
                if number >= WARM_UP:
                    seen[name].append((time.perf_counter() - began) * 1000)
            time.sleep(PAUSE_SECONDS)
    print(f"one request, {PAIRS} pairs, ms   off      on   added   (over quarters of the run)")
    for percent in (50, 95, 99):
        off, on = (percentile(seen[name], percent) for name in ("off", "on"))
        parts = [
            percentile(seen["on"][i::QUARTERS], percent)
            - percentile(seen["off"][i::QUARTERS], percent)
            for i in range(QUARTERS)
        ]
        span = f"({min(parts):+.2f} .. {max(parts):+.2f})"
        print(f"p{percent:<26}{off:10.2f}{on:8.2f}{on - off:+8.2f}   {span}")


if __name__ == "__main__":
    main()
