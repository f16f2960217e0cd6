"""Measures what encoding and offering a span cost, beside the official encoder, in one run.

    python benchmarks/encode.py [--rounds 15] [--spans 512]

Rounds alternate between the contenders, so that a busy machine slows all of them; medians are
printed, and the fastest round beside them. Trust the ratio, not the microseconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import (
    encode_spans as official_encode_spans,
)
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from turntrace.export.otlp import OtlpEncoder, Resource, encode_resource, join_request
from turntrace.export.shipper import Shipper
from turntrace.export.transport.http_transport import HttpTransport
from turntrace.record.span_record import EventRecord, Scope, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPES = (Scope("turntrace.socketio", "0.1.0"), Scope("turntrace.sqlalchemy", "0.1.0"))
NAMES = ("socket.event send_message", "SELECT messages")
NOW_NS = 1_760_000_000_000_000_000


def attributes_of(number: int) -> dict[str, Any]:
    """Return 12 attributes as a turn has them: 5 differ from span to span."""
    return {
        "session.id": os.urandom(16).hex(),
        "user.id": f"user-{number}",
        "gen_ai.request.model": "gemini-3-flash",
        "gen_ai.usage.input_tokens": 900 + number,
        "gen_ai.usage.output_tokens": number,
        "gen_ai.usage.cost": 0.0001 * number,
        "turntrace.is_streaming": True,
        "http.route": "/chat/{conversation_id}",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "localhost",
        "server.port": 5432,
    }


def make_record(number: int) -> SpanRecord:
    """Return a finished span with 12 attributes and an event."""
    return SpanRecord(
        trace_id=os.urandom(16),
        span_id=os.urandom(8),
        parent_span_id=os.urandom(8),
        parent_is_remote=False,
        flags=1,
        trace_state="",
        name=NAMES[number % 2],
        kind=1,
        start_ns=NOW_NS + number,
        end_ns=NOW_NS + number + 1_500_000,
        attributes=attributes_of(number),
        events=(EventRecord("first_token", NOW_NS + number, {"index": 0}),),
        links=(),
        status_code=0,
        status_description="",
        dropped_attributes=0,
        dropped_events=0,
        dropped_links=0,
        scope=SCOPES[number % 2],
    )


def as_sdk_span(record: SpanRecord, resource: SdkResource) -> ReadableSpan:
    """Return the same span as the official SDK would hold it."""
    trace_id = int.from_bytes(record.trace_id, "big")
    span_id = int.from_bytes(record.span_id, "big")
    parent_id = int.from_bytes(record.parent_span_id, "big")
    flags = TraceFlags(record.flags)
    return ReadableSpan(
        name=record.name,
        context=SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags),
        parent=SpanContext(trace_id, parent_id, is_remote=False, trace_flags=flags),
        resource=resource,
        attributes=record.attributes,
        events=[Event(event.name, event.attributes, event.time_ns) for event in record.events],
        kind=SpanKind(record.kind),
        start_time=record.start_ns,
        end_time=record.end_ns,
        instrumentation_scope=InstrumentationScope(record.scope.name, record.scope.version),
    )


def measure(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of every round of every contender, taken in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            started = time.thread_time()
            run()
            seconds[name].append(time.thread_time() - started)
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--spans", type=int, default=512)
    options = parser.parse_args()
    count = options.spans

    batches = deque([make_record(number) for number in range(count)] for _ in range(options.rounds))
    sdk_resource = SdkResource({"service.name": "chat"})
    sdk_batches = deque(
        [as_sdk_span(record, sdk_resource) for record in batch] for batch in batches
    )
    encoder = OtlpEncoder()
    resource = encode_resource(Resource({"service.name": "chat"}))
    transport = HttpTransport(
        endpoint="http://127.0.0.1:9/v1/traces", headers={}, timeout_seconds=1, compression="gzip"
    )
    exporter = Shipper(
        transport=transport,
        resource={},
        max_queue_size=(options.rounds + 1) * count + 1,
        max_batch_size=(options.rounds + 1) * count + 1,
        schedule_delay_seconds=3600.0,
    )
    exporter.offer(make_record(0))  # starts the thread
    offered = batches[0]

    def ours() -> bytes:
        batches.rotate(1)  # new values in each round, as in life
        return join_request(resource, encoder.encode_spans(batches[0]))

    def official() -> bytes:
        sdk_batches.rotate(1)
        return official_encode_spans(sdk_batches[0]).SerializeToString()

    def offer() -> None:
        for record in offered:
            exporter.offer(record)

    def loop_only() -> None:
        for _ in offered:
            pass

    seconds = measure(
        {"ours": ours, "official": official, "offer": offer, "(empty loop)": loop_only},
        options.rounds,
    )
    print(
        f"{count} spans a round, 12 attributes and 1 event each, {options.rounds} rounds, CPU time"
    )
    print(f"{'':22}{'median us/span':>16}{'fastest':>10}")
    for name, values in seconds.items():
        median, fastest = (
            value / count * 1e6 for value in (statistics.median(values), min(values))
        )
        print(f"{name:22}{median:16.3f}{fastest:10.3f}")
    pairs = zip(seconds["official"], seconds["ours"], strict=True)
    ratio = statistics.median(theirs / ours for theirs, ours in pairs)
    print(f"official / ours, median of pairs: {ratio:.1f}")
    exporter.shutdown(0.0)


if __name__ == "__main__":
    main()
