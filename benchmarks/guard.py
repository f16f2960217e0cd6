"""What the guard costs for a span with twelve known attributes; and for those of the app's own.

Each contender judges the same span again and again, rounds take turns; a round's time is the
thread's own CPU time. "to a record" is what a guard that checks nothing would cost: the copy into
a record, which the guard makes in any case. ``python benchmarks/guard.py``.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from turntrace import register_attributes
from turntrace.guard.schema import Schema
from turntrace.guard.stage import GuardStage
from turntrace.record import Resource, SpanRecord, TracerProvider

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 60
SPANS_PER_ROUND = 2_000
GOAL_MICROSECONDS = 1.8

STATEMENT = "SELECT chat_messages.id, chat_messages.role FROM chat_messages WHERE session_id = ?"
ATTRIBUTES = {
    "db.system.name": "postgresql",
    "db.system": "postgresql",
    "db.query.summary": "SELECT chat_messages",
    "db.query.text": STATEMENT,
    "db.operation.name": "SELECT",
    "db.operation": "SELECT",
    "db.collection.name": "chat_messages",
    "db.sql.table": "chat_messages",
    "server.address": "localhost",
    "server.port": 5432,
    "db.query.duration_ms": 1.25,
    "session.id": "0d9f6a4e-97a5-4c2e-9d5d-6b8d2c8a7f10",
}
"""Twelve known attributes, as a database span has them."""


def _span(provider: TracerProvider, attributes: dict[str, Any], scope: str) -> Any:
    tracer = provider.get_tracer(scope)
    span = tracer.start_span("SELECT chat_messages", kind=SpanKind.CLIENT, attributes=attributes)
    span.local_trace.root = None  # a child: of twenty spans of a turn one is the root
    return span


def _copied(span: Any) -> SpanRecord:
    """Make the record and judge nothing."""
    return SpanRecord(
        span.trace_id.to_bytes(16, "big"),
        span.span_id.to_bytes(8, "big"),
        b"",
        False,
        span.local_trace.flags,
        "",
        span.name,
        span.kind._value_,
        span.start_time,
        span.end_time or span.start_time,
        dict(span._attributes),  # noqa: SLF001 - as the guard reads it
        (),
        (),
        span.status_code._value_,
        "",
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
        span.scope,
    )


def contenders() -> dict[str, Callable[[int], float]]:
    """Return each contender as a function that judges so many spans and returns CPU seconds."""
    guard = GuardStage(Schema(), lambda _record: None)
    provider = TracerProvider(Resource({}), lambda _span: None)
    known = _span(provider, ATTRIBUTES, "turntrace.bench")
    bound = _span(provider, ATTRIBUTES, "turntrace.bench")
    bound.local_trace.bind({"user.id": "u-1", "room.id": "r-1", "request.id": "5f1c"})
    foreign = _span(provider, ATTRIBUTES, "bench")
    own = _span(provider, ATTRIBUTES, "bench")
    own.set_attribute("customer.tier", 3)
    own.set_attribute("basket.is_full", True)
    register_attributes({"plan.tier": "id"})
    declared = _span(provider, {**ATTRIBUTES, "plan.tier": "gold"}, "turntrace.bench")
    return {
        "12 known attributes": _judging(guard.record, known),
        "the same and 3 bound to the trace": _judging(guard.record, bound),
        "the same of another's tracer": _judging(guard.record, foreign),
        "the same and 1 registered": _judging(guard.record, declared),
        "the same and 2 that nobody registered": _judging(guard.record, own),
        "to a record, nothing judged": _judging(_copied, known),
    }


def _judging(judge: Callable[[Any], SpanRecord], span: Any) -> Callable[[int], float]:
    def run(count: int) -> float:
        started = time.thread_time_ns()
        for _ in range(count):
            judge(span)
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
    print(f"one span, {ROUNDS} rounds of {SPANS_PER_ROUND}, CPU us per span")
    print(f"{'':40}{'median':>8}{'min':>8}{'max':>8}")
    for name, taken in microseconds.items():
        print(f"{name:40}{statistics.median(taken):8.2f}{min(taken):8.2f}{max(taken):8.2f}")
    reached = statistics.median(microseconds["12 known attributes"]) <= GOAL_MICROSECONDS
    print(f"goal {GOAL_MICROSECONDS} us: {'reached' if reached else 'not reached'}")


if __name__ == "__main__":
    main()
