"""What a span costs from start to disk: started, ended, guarded, appended; beside the official SDK.

    python benchmarks/durable.py
    python benchmarks/durable.py --root /dev/shm/spool

The span is a child with eight attributes, by a tracer of ours. Rounds take turns, so that a
machine that speeds up or slows down does so for all; a round's time is the thread's own CPU time,
the kernel's part included. What ships is off in both; what was written is taken away between the
rounds.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import set_span_in_context

from span import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 60
SPANS_PER_ROUND = 1_000
GOAL_MICROSECONDS = 7.0


def contenders(root: Path) -> dict[str, tuple[Any, Callable[[], None]]]:
    """Return each one's tracer, and what takes away what its round has left."""
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    from turntrace.export.spool.place import spool_key
    from turntrace.export.spool.spool import Spool
    from turntrace.guard.schema import Schema
    from turntrace.guard.stage import GuardStage
    from turntrace.record import Resource, TracerProvider
    from turntrace.sample.rules import SamplingPolicy
    from turntrace.sample.stage import SampleStage

    key = spool_key(root, service="bench", endpoint="http://localhost:4318", headers={})
    spool = Spool(root=root, key=key, resource={"service.name": "bench"})
    spool.has_been_answered = True

    def provider(following: Callable[[Any], object]) -> TracerProvider:
        guard = GuardStage(Schema(), following)  # type: ignore[arg-type]
        sample = SampleStage(SamplingPolicy().with_default(1.0), guard.on_end)
        return TracerProvider(Resource({"service.name": "bench"}), sample.on_end)

    def take_away() -> None:
        while found := spool.read():
            spool.prepare()  # as the shipper does
            spool.acknowledge(found[-1].position)

    class Nothing(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002
            return SpanExportResult.SUCCESS

    official = SdkProvider()
    official.add_span_processor(SimpleSpanProcessor(Nothing()))
    return {
        "to disk": (provider(spool.append).get_tracer("turntrace.bench"), take_away),
        "to nowhere, guarded": (
            provider(lambda _: None).get_tracer("turntrace.bench"),
            lambda: None,
        ),
        "official SDK, to nowhere": (official.get_tracer("turntrace.bench"), lambda: None),
    }


def compare(root: Path) -> None:
    """Let all take turns and print the medians."""
    microseconds: dict[str, list[float]] = {}
    made = contenders(root)
    parents = {
        name: set_span_in_context(tracer.start_span("parent")) for name, (tracer, _) in made.items()
    }
    gc.disable()
    for _ in range(ROUNDS):
        for name, (tracer, take_away) in made.items():
            context = parents[name]
            started = time.thread_time_ns()
            for _ in range(SPANS_PER_ROUND):
                tracer.start_span("SELECT chat_messages", context, attributes=ATTRIBUTES).end()
            taken = (time.thread_time_ns() - started) / 1e3 / SPANS_PER_ROUND
            microseconds.setdefault(name, []).append(taken)
            take_away()
        gc.collect()
    print(
        f"{ROUNDS} rounds of {SPANS_PER_ROUND} spans with {len(ATTRIBUTES)} attributes, us a span"
    )
    for name, taken in microseconds.items():
        print(f"{name:25} median {statistics.median(taken):6.2f}  fastest {min(taken):6.2f}")
    print(f"goal: to disk <= {GOAL_MICROSECONDS} us median")


def main() -> None:
    """Read where to write, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="a folder that is made and removed")
    root = parser.parse_args().root or Path(tempfile.mkdtemp(prefix="turntrace-durable-"))
    try:
        compare(root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
