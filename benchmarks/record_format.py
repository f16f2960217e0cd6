"""What packing a record costs and how long it gets, beside the forms that it might have had.

    python benchmarks/record_format.py
    python benchmarks/record_format.py --turn

Rounds of the contenders take turns, so that a machine that speeds up or slows down does so for
all of them; a round's time is the thread's own CPU time. ``--turn`` plays full turns of the
reference backend and prints how many bytes each record of one takes, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import marshal
import os
import pickle
import random
import statistics
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 60
RECORDS = 1_000
GOAL_MICROSECONDS = 1.0
NOW_NS = 1_760_000_000_000_000_000


def make_records() -> list[Any]:
    """Return spans of SQL statements with ten attributes each, every one with ids of its own."""
    from turntrace.record.span_record import Scope, SpanRecord

    chance = random.Random(1)  # noqa: S311 - repeatable
    scope = Scope("turntrace.sqlalchemy", "0.1.0")
    request_id, session_id = chance.randbytes(16).hex(), chance.randbytes(16).hex()
    return [
        SpanRecord(
            trace_id=chance.randbytes(16),
            span_id=chance.randbytes(8),
            parent_span_id=chance.randbytes(8),
            parent_is_remote=False,
            flags=3,
            trace_state="",
            name="SELECT chat_messages",
            kind=3,
            start_ns=NOW_NS + number,
            end_ns=NOW_NS + number + 1_500_000,
            attributes={
                "request.id": request_id,
                "session.id": session_id,
                "user.id": f"user-{number}",
                "db.system.name": "postgresql",
                "db.query.summary": "SELECT chat_messages",
                "db.operation.name": "SELECT",
                "db.collection.name": "chat_messages",
                "db.query.duration_ms": 1.25 + number,
                "server.address": "localhost",
                "server.port": 5432,
            },
            events=(),
            links=(),
            status_code=0,
            status_description="",
            dropped_attributes=0,
            dropped_events=0,
            dropped_links=0,
            scope=scope,
        )
        for number in range(RECORDS)
    ]


def contenders() -> dict[str, Callable[[Any], bytes]]:
    """Return each form as a function that makes a frame of a record."""
    import msgspec

    from turntrace.export.otlp import OtlpEncoder
    from turntrace.record.record_format import ScopeTable, SpanFields, pack_span

    number_of = ScopeTable().number
    head = struct.Struct("<II").pack
    as_json, as_map = msgspec.json.Encoder().encode, msgspec.msgpack.Encoder().encode
    names = [(field.name, Any) for field in msgspec.structs.fields(SpanFields)]
    by_position = msgspec.defstruct(
        "ByPosition", names, array_like=True, tag_field="t", tag=4, gc=False
    )
    spelled_out = msgspec.defstruct("SpelledOut", names, tag_field="t", tag=4, gc=False)
    values_of = msgspec.structs.astuple
    otlp = OtlpEncoder()

    def framed(payload: bytes) -> bytes:
        return head(len(payload), zlib.crc32(payload)) + payload

    def values(record: Any) -> tuple[Any, ...]:
        return (*values_of(record)[:-1], number_of(record.scope), 0)

    def built(form: Any, r: Any) -> Any:
        """Return the record in another form, built as `pack_span` builds its own."""
        return form(
            r.trace_id,
            r.span_id,
            r.parent_span_id,
            r.parent_is_remote,
            r.flags,
            r.trace_state,
            r.name,
            r.kind,
            r.start_ns,
            r.end_ns,
            r.attributes,
            tuple(r.events) if r.events else (),
            tuple(r.links) if r.links else (),
            r.status_code,
            r.status_description,
            r.dropped_attributes,
            r.dropped_events,
            r.dropped_links,
            number_of(r.scope),
            0,
        )

    def protobuf(record: Any) -> bytes:
        (chunk,) = otlp.encode_spans((record,))
        return framed(chunk.spans[record.scope])

    def json_text(record: Any) -> bytes:
        trace_id, span_id, parent_id, *rest = values(record)
        return framed(as_json([trace_id.hex(), span_id.hex(), parent_id.hex(), *rest]))

    return {
        "pack_span: map, short names": lambda record: pack_span(record, number_of(record.scope)),
        "map, full names, no defaults": lambda r: framed(as_map(built(spelled_out, r))),
        "array, with version": lambda r: framed(as_map(built(by_position, r))),
        "JSON array": json_text,
        "marshal (unsafe when damaged)": lambda record: framed(marshal.dumps(values(record))),
        "pickle (unsafe when damaged)": lambda record: framed(pickle.dumps(values(record))),
        "OTLP protobuf, our encoder": protobuf,
        "(calling a function)": lambda record: record,
    }


def compare() -> None:
    """Run every contender in turn, many times, and print the medians."""
    from turntrace.record.record_format import Header, pack
    from turntrace.record.segment_reader import SegmentReader

    records = make_records()
    forms = contenders()
    mine, *_ = forms.values()
    segment = pack(Header(1, 1)) + b"".join(map(mine, records))
    microseconds: dict[str, list[float]] = {name: [] for name in [*forms, "reading one"]}

    def timed(name: str, run: Callable[[], Any]) -> None:
        started = time.thread_time_ns()
        run()
        microseconds[name].append((time.thread_time_ns() - started) / 1e3 / RECORDS)

    def pack_all(form: Callable[[Any], bytes]) -> None:
        for record in records:
            form(record)

    def read_all() -> None:
        for _ in SegmentReader().read(segment):
            pass

    for _ in range(ROUNDS):
        for name, form in forms.items():
            timed(name, lambda form=form: pack_all(form))  # type: ignore[misc]
        timed("reading one", read_all)
    print(f"one span, 10 attributes, {ROUNDS} rounds of {RECORDS}, CPU us, length and crc included")
    print(f"{'':32}{'median':>8}{'min':>8}{'max':>8}{'bytes':>8}")
    for name, taken in microseconds.items():
        size = f"{len(forms[name](records[0])):8}" if name in [*forms][:-1] else ""
        print(f"{name:32}{statistics.median(taken):8.2f}{min(taken):8.2f}{max(taken):8.2f}{size}")
    ours = statistics.median(microseconds["pack_span: map, short names"])
    reached = "reached" if ours <= GOAL_MICROSECONDS else "not reached"
    print(f"goal {GOAL_MICROSECONDS} us: {reached}")


def turn_sizes() -> dict[str, Any]:
    """Play full turns and return name and frame bytes of each record of the last one."""
    import instructions_turn as turns  # its clocks and ids have to be there before all else

    os.environ["OTEL_ENABLED"] = "true"
    turns.make_time_and_chance_repeatable()
    turns.stay_in_this_thread()
    turns.answer_in_place_of_gemini()
    collector = turns.Collector()
    collector.install()
    from turntrace.export import assembly
    from turntrace.record.record_format import ScopeTable, pack_span

    offered: list[Any] = []
    blocks: list[int] = []

    class Listening(assembly.Shipper):  # type: ignore[misc, name-defined]
        def offer(self, record: Any) -> None:
            offered.append(record)
            super().offer(record)

    assembly.Shipper = Listening  # type: ignore[attr-defined]
    asyncio.run(turns.play(1, collector, lambda: blocks.append(len(offered))))
    table = ScopeTable()
    of_a_turn = offered[blocks[0] : blocks[1]]  # one turn is played between the first two
    return {
        "bytes": [
            [record.name, len(pack_span(record, table.number(record.scope)))]
            for record in of_a_turn
        ],
    }


def main() -> None:
    """Print the table, or the sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turn", action="store_true", help="sizes of the records of a full turn")
    if parser.parse_args().turn:
        print(json.dumps(turn_sizes()))
    else:
        compare()


if __name__ == "__main__":
    main()
