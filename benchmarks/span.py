"""What one span costs: start and end with eight attributes, beside the official SDK, in one run.

Rounds of the contenders take turns, so that a machine that speeds up or slows down does so for
all of them; a round's time is the thread's own CPU time. ``python benchmarks/span.py``.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, set_span_in_context

from turntrace.guard.schema import Schema
from turntrace.guard.stage import GuardStage
from turntrace.record import Resource, TracerProvider
from turntrace.sample.rules import SamplingPolicy
from turntrace.sample.stage import SampleStage

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 60
SPANS_PER_ROUND = 2_000
GOAL_MICROSECONDS = 3.0

ATTRIBUTES = {
    "db.system.name": "postgresql",
    "db.query.summary": "SELECT chat_messages",
    "db.operation.name": "SELECT",
    "db.collection.name": "chat_messages",
    "server.address": "localhost",
    "server.port": 5432,
    "db.query.duration_ms": 1.25,
    "gen_ai.request.stream": True,
}


class _Keep(SpanProcessor):
    """The cheapest thing an SDK processor can do with a span: keep the last ones."""

    def __init__(self) -> None:
        self.ended: deque[Any] = deque(maxlen=100)

    def on_end(self, span: Any) -> None:
        self.ended.append(span)


def contenders() -> dict[str, Callable[[int], float]]:
    """Return each contender as a function that makes so many spans and returns its CPU seconds."""
    ended: deque[Any] = deque(maxlen=100)
    recording = TracerProvider(Resource({}), ended.append)

    records: deque[Any] = deque(maxlen=100)
    guard = GuardStage(Schema(), records.append)
    sample = SampleStage(SamplingPolicy(), guard.on_end)
    guarded = TracerProvider(Resource({}), sample.on_end, decide=sample.decide)

    sdk = SdkProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    sdk.add_span_processor(_Keep())
    return {
        "turntrace, start + end": _maker(recording.get_tracer("turntrace.bench")),
        "turntrace, sampled and guarded too": _maker(guarded.get_tracer("turntrace.bench")),
        "turntrace, an app's own tracer": _maker(recording.get_tracer("bench")),
        "turntrace, as the current span": _current_maker(recording.get_tracer("turntrace.bench")),
        "official SDK, start + end": _maker(sdk.get_tracer("bench")),
        "official SDK, as the current span": _current_maker(sdk.get_tracer("bench")),
    }


def _maker(tracer: Any) -> Callable[[int], float]:
    context = set_span_in_context(tracer.start_span("parent"))

    def run(count: int) -> float:
        start_span, kind, attributes = tracer.start_span, SpanKind.CLIENT, ATTRIBUTES
        started = time.thread_time_ns()
        for _ in range(count):
            start_span("SELECT chat_messages", context, kind, attributes).end()
        return (time.thread_time_ns() - started) / 1e9

    return run


def _current_maker(tracer: Any) -> Callable[[int], float]:
    def run(count: int) -> float:
        kind, attributes = SpanKind.CLIENT, ATTRIBUTES
        with tracer.start_as_current_span("parent"):
            started = time.thread_time_ns()
            for _ in range(count):
                with tracer.start_as_current_span(
                    "SELECT chat_messages", kind=kind, attributes=attributes
                ):
                    pass
            return (time.thread_time_ns() - started) / 1e9

    return run


def main() -> None:
    """Run every contender in turn, many times, and print the medians."""
    runs = contenders()
    for run in runs.values():
        run(SPANS_PER_ROUND)
    gc.collect()
    microseconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            microseconds[name].append(run(SPANS_PER_ROUND) / SPANS_PER_ROUND * 1e6)
    print(f"one span, 8 attributes, {ROUNDS} rounds of {SPANS_PER_ROUND}, CPU us per span")
    print(f"{'':38}{'median':>8}{'min':>8}{'max':>8}")
    for name, taken in microseconds.items():
        print(f"{name:38}{statistics.median(taken):8.2f}{min(taken):8.2f}{max(taken):8.2f}")
    ours = microseconds["turntrace, start + end"]
    theirs = microseconds["official SDK, start + end"]
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    print(f"official / turntrace, pair by pair: {statistics.median(ratios):.1f} times")
    reached = statistics.median(ours) <= GOAL_MICROSECONDS
    print(f"goal {GOAL_MICROSECONDS} us: {'reached' if reached else 'not reached'}")


if __name__ == "__main__":
    main()
