"""What the ids cost a log line: a record with and without them, inside and outside a span.

Rounds of the contenders take turns, so that a machine that speeds up or slows down does so for
all of them; a round's time is the thread's own CPU time. ``python benchmarks/logs.py``.
"""

from __future__ import annotations

import gc
import logging
import statistics
import time
from typing import TYPE_CHECKING

from turntrace.logs import TraceContextFilter, trace_logging
from turntrace.record import Resource, TracerProvider

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 60
LINES_PER_ROUND = 2_000
BASE = "nothing of ours"


class _Drop(logging.Handler):
    """The cheapest thing that can be done with a record, so that what is ours stands out."""

    def emit(self, record: logging.LogRecord) -> None:
        """Let it go."""


def _logger(name: str, *filters: logging.Filter) -> logging.Logger:
    logger = logging.getLogger(f"bench.{name}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = _Drop()
    for made in filters:
        handler.addFilter(made)
    logger.addHandler(handler)
    return logger


def _write(logger: logging.Logger) -> float:
    info = logger.info
    started = time.thread_time_ns()
    for number in range(LINES_PER_ROUND):
        info("answered in %d ms", number)
    return (time.thread_time_ns() - started) / LINES_PER_ROUND


def contenders() -> dict[str, Callable[[], float]]:
    """Return each contender as a function that writes lines and returns CPU ns per line."""
    plain = _logger("plain")
    filtered = _logger("filtered", TraceContextFilter())
    bound = _logger("bound", TraceContextFilter(bound=["request_id", "session_id"]))

    def everywhere() -> float:
        undo = trace_logging()
        try:
            return _write(plain)
        finally:
            undo()

    return {
        BASE: lambda: _write(plain),
        "TraceContextFilter on the handler": lambda: _write(filtered),
        "with request and session id": lambda: _write(bound),
        "trace_logging(), every logger": everywhere,
    }


def main() -> None:
    """Run every contender in turn, many times, and print the medians."""
    tracer = TracerProvider(Resource({}), lambda _: None).get_tracer("turntrace.bench")
    runs = contenders()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    gc.collect()
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            outside = run()
            with tracer.start_as_current_span("turn"):
                taken[name].append((outside, run()))
    print(f"one log record, {ROUNDS} rounds of {LINES_PER_ROUND}, median CPU ns per record")
    print(f"{'':36}{'outside':>9}{'more':>7}{'in a span':>11}{'more':>7}")
    for name, rounds in taken.items():
        cells = []
        for place in (0, 1):
            more = [
                ours[place] - base[place] for ours, base in zip(rounds, taken[BASE], strict=True)
            ]
            cells += [
                statistics.median(pair[place] for pair in rounds),
                statistics.median(more[1:]),
            ]
        print(f"{name:36}{cells[0]:9.0f}{cells[1]:7.0f}{cells[2]:11.0f}{cells[3]:7.0f}")


if __name__ == "__main__":
    main()
