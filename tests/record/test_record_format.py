"""Claims about the record format: what was packed is what is read, with its types."""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from record_strategies import exact, make_record, records

from turntrace.record import record_format
from turntrace.record.record_format import (
    FORMAT_VERSION,
    MAX_PAYLOAD_BYTES,
    MAX_SCOPES,
    Close,
    CloseReason,
    Header,
    RecordKind,
    ResourceEntry,
    ScopeEntry,
    ScopeTable,
    pack,
    pack_span,
    pack_start,
)
from turntrace.record.segment_reader import DamageReason, Frame, SegmentReader, Started
from turntrace.record.span_record import EventRecord, LinkRecord, Scope, SpanRecord

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "record_format_v1.hex"
PAGE = (ROOT / "docs" / "reference" / "record-format.md").read_text()
HEADER = Header(FORMAT_VERSION, 1, "turntrace 0", 7, "here", 9, {"service.name": "chat"})
STRUCTS = [
    getattr(record_format, name)
    for name in (
        "Header",
        "ScopeEntry",
        "ResourceEntry",
        "SpanFields",
        "StartFields",
        "Close",
        "EventFields",
        "LinkFields",
    )
]


def frames(*packed: bytes) -> list[Frame]:
    """Read what stands behind a header; everything has to be intact."""
    read = list(SegmentReader().read(pack(HEADER) + b"".join(packed)))
    assert all(isinstance(outcome, Frame) for outcome in read), read
    return read[1:]  # type: ignore[return-value]


def round_trip(record: SpanRecord) -> SpanRecord:
    table = ScopeTable()
    packed = pack_span(record, table.number(record.scope))
    read = frames(table.frames()[0], packed)[-1].record
    assert isinstance(read, SpanRecord)
    return read


@given(records())
@example(make_record(attributes={"a": (), "b": ((),), "c": b"", "d": "", "e": math.nan}))
@example(make_record(attributes={"a": "x" * 70_000, "b": (0,) * 70_000}))
@example(make_record(attributes={"a": (1, True, 1.0, "1", b"1"), "b": -math.inf}))
def test_an_ended_span_is_read_as_it_was_packed_with_all_types(record: SpanRecord) -> None:
    assert exact(round_trip(record)) == exact(record)


@given(records())
def test_a_started_span_is_read_as_it_was_packed_without_an_end(record: SpanRecord) -> None:
    table = ScopeTable()
    packed = pack_start(record, table.number(record.scope))
    read = frames(table.frames()[0], packed)[-1].record
    assert isinstance(read, Started)
    assert exact(read.span) == exact(msgspec.structs.replace(record, end_ns=0))


def test_a_close_and_the_tables_are_read_as_they_were_packed() -> None:
    packed = [
        ScopeEntry(1, "sql", "2", "https://schema/1"),
        ResourceEntry(3, {"service.name": "other", "process.tags": ("a", "b")}, "https://s/2"),
        Close(b"t" * 16, b"s" * 8, CloseReason.RECOVERED.value),
        Close(b"t" * 16, b"s" * 8),
    ]
    assert [frame.record for frame in frames(*map(pack, packed))] == packed


def test_a_span_belongs_to_the_resource_that_it_names_or_else_to_the_headers() -> None:
    other = ResourceEntry(2, {"service.name": "other"})
    _, first, second = frames(
        pack(other), pack_span(make_record(), 0), pack_span(make_record(), 0, 2)
    )
    assert first.resource.attributes == HEADER.attributes
    assert second.resource == other


ODD_TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["\ud800", "a\udfffb", "\ud83d\ude00"]
)
ODD_VALUES = st.recursive(
    ODD_TEXT | st.integers(-(2**300), 2**300) | st.sampled_from([object(), {"a": 1}, {1}, 1j]),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)


@given(records(st.dictionaries(ODD_TEXT, ODD_VALUES, max_size=4)))
def test_packing_never_raises_and_what_has_no_form_is_counted(record: SpanRecord) -> None:
    read = round_trip(record)
    missing = len(record.attributes) - len(read.attributes)
    assert read.dropped_attributes == record.dropped_attributes + missing
    assert (read.trace_id, read.span_id) == (record.trace_id, record.span_id)


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        ((1, 2**64), (1, "18446744073709551616")),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        (("\udfff",), ("\ufffd",)),
        (type("Id", (str,), {})("x"), "x"),
        (type("Count", (int,), {})(3), 3),
    ],
)
def test_a_value_beyond_messagepack_takes_the_form_that_otlp_gives_it(
    value: Any, held: Any
) -> None:
    read = round_trip(make_record(attributes={"odd": value, "even": 1}))
    assert exact(read.attributes) == exact({"odd": held, "even": 1})
    assert read.dropped_attributes == 0


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = (value,)
    return value


@pytest.mark.parametrize("value", [2**256, nested(33), nested(100_000), object(), {"a": 1}])
def test_a_value_without_any_form_is_left_out_and_counted(value: Any) -> None:
    read = round_trip(make_record(attributes={"odd": value, "even": 1}, dropped_attributes=2))
    assert (read.attributes, read.dropped_attributes) == ({"even": 1}, 3)


def test_a_tuple_is_nested_32_deep_at_most() -> None:
    assert round_trip(make_record(attributes={"deep": nested(32)})).attributes == {
        "deep": nested(32)
    }


def test_times_and_texts_out_of_range_are_bent_not_lost() -> None:
    event = EventRecord("\ud800", -(2**70), {"odd": object()})
    read = round_trip(make_record(name="\ud800", start_ns=2**70, events=(event,)))
    assert (read.name, read.start_ns) == ("\ufffd", 2**64 - 1)
    assert read.events == (EventRecord("\ufffd", -(2**63), {}, 1),)


def test_a_record_that_is_too_long_keeps_what_fits_and_counts_the_rest() -> None:
    large, link = "x" * MAX_PAYLOAD_BYTES, LinkRecord(b"t" * 16, b"s" * 8, "", 0, {})
    record = make_record(
        attributes={"large": large, "session.id": "s-1", "many": (large, large)},
        events=(EventRecord("e", 1, {}),),
        links=(link,),
        status_description=large,
    )
    assert len(pack_span(record, 0)) <= MAX_PAYLOAD_BYTES + 8
    read = round_trip(record)
    assert read.attributes == {"session.id": "s-1"}
    assert (read.dropped_attributes, read.dropped_events, read.dropped_links) == (2, 1, 1)
    assert len(pack(ResourceEntry(1, {"large": large}))) < 100


def test_scopes_keep_their_number_and_only_new_ones_are_written() -> None:
    table = ScopeTable()
    first, second = Scope("sql", "1"), Scope("http")
    assert [table.number(scope) for scope in (first, Scope(""), first)] == [1, 0, 1]
    written, known = table.frames()
    assert [frame.record for frame in frames(written)] == [ScopeEntry(1, "sql", "1")]
    assert table.frames(after=known) == (b"", 1)
    assert table.number(second) == 2
    written, known = table.frames(after=known)
    assert [frame.record for frame in frames(written)] == [ScopeEntry(2, "http")]


def test_a_full_table_gives_no_more_numbers() -> None:
    table = ScopeTable()
    numbers = [table.number(Scope(f"s{number}")) for number in range(MAX_SCOPES + 5)]
    assert numbers[-6:] == [MAX_SCOPES, 0, 0, 0, 0, 0]


def test_the_records_of_a_full_turn_take_700_bytes_each() -> None:
    played = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "record_format.py"), "--turn"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    sizes = dict(json.loads(played.stdout))["bytes"]
    taken = [size for _, size in sizes]
    assert len(taken) >= 20
    assert statistics.median(taken) <= 700, sizes
    assert statistics.mean(taken) <= 700, sizes
    assert max(taken) <= 1_400, sizes  # the turn itself, with its summary


# Version 1 for good: what is committed, and what the page promises.

FULL = make_record(
    parent_span_id=b"parent!!",
    parent_is_remote=True,
    trace_state="ot=th:8",
    attributes={
        "text": "ü",
        "none": "",
        "yes": True,
        "no": False,
        "int": -1,
        "big": 2**64 - 1,
        "float": 1.0,
        "inf": math.inf,
        "bytes": b"\x00\xff",
        "texts": ("a", "b"),
        "nested": (1, (2.5, ()), b"x"),
    },
    events=(EventRecord("exception", 1_700_000_000_000_000_001, {"exception.type": "E"}, 1),),
    links=(LinkRecord(b"l" * 16, b"linked!!", "a=b", 0x301, {"why": "connect"}, 2),),
    status_code=2,
    status_description="E",
    dropped_attributes=3,
    dropped_events=4,
    dropped_links=5,
    scope=Scope("turntrace.sqlalchemy", "1.0", "https://opentelemetry.io/schemas/1.37.0"),
)
MINIMAL = make_record(
    flags=0, name="", kind=0, start_ns=0, end_ns=0, attributes={}, scope=Scope("")
)
WRITTEN = [
    Header(
        1,
        1,
        "turntrace 1.0.0",
        4711,
        "0b7b6d9e",
        1_700_000_000_000_000_000,
        {"service.name": "chat", "host.tags": ("a", "b")},
        "https://opentelemetry.io/schemas/1.37.0",
    ),
    ScopeEntry(1, *FULL.scope),
    ResourceEntry(1, {"service.name": "adopted"}),
    FULL,
    MINIMAL,
    Started(msgspec.structs.replace(FULL, end_ns=0)),
    Close(FULL.trace_id, FULL.span_id, "recovered"),
    Close(FULL.trace_id, FULL.span_id),
    make_record(scope=FULL.scope),
]


def from_hex(text: str) -> bytes:
    return bytes.fromhex(re.sub(r"#.*", "", text))


def test_every_later_version_reads_the_committed_segment_of_version_1() -> None:
    read = list(SegmentReader().read(from_hex(GOLDEN.read_text())))
    assert [exact(outcome.record) for outcome in read if isinstance(outcome, Frame)] == [
        exact(record) for record in WRITTEN
    ]
    assert [type(outcome).__name__ for outcome in read] == ["Frame"] * 8 + ["Unknown", "Frame"]


def test_the_example_of_the_page_is_what_it_says() -> None:
    (example_hex,) = re.findall(r"```hex\n(.*?)```", PAGE, re.DOTALL)
    header, scope, span = (
        outcome.record
        for outcome in SegmentReader().read(from_hex(example_hex))
        if isinstance(outcome, Frame)
    )
    assert header == Header(1, 1, "turntrace 1.0.0", 4711, attributes={"service.name": "chat"})
    assert scope == ScopeEntry(1, "sql")
    assert isinstance(span, SpanRecord)
    assert (span.name, span.scope) == ("SELECT", Scope("sql"))
    assert span.attributes == {"db.rows": 3}


def wire_type(annotation: str) -> str:
    return annotation.replace("dict[str, Any]", "attributes")


@pytest.mark.parametrize("of", STRUCTS, ids=lambda of: of.__name__)
def test_the_page_has_every_field_with_its_wire_name_type_and_default(of: Any) -> None:
    (section,) = re.findall(rf"^### `{of.__name__}`(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    tag = of.__struct_config__.tag
    assert (f"`t` = {tag} " in section) == (tag is not None)
    if of.__name__ == "StartFields":
        assert "As `SpanFields`" in section
        return
    rows = re.findall(
        r"^\| `(\w)` \| `(\w+)` \| ([^|]+) \| ([^|]+) \| [^|]{2,} \|$", section, re.MULTILINE
    )
    assert rows == [
        (
            field.encode_name,
            field.name,
            wire_type(of.__annotations__[field.name]),
            default_of(field),
        )
        for field in msgspec.structs.fields(of)
    ]


def default_of(field: Any) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    return {"": "empty", b"": "empty", (): "empty"}.get(field.default) or f"`{field.default}`"


@pytest.mark.parametrize("name", [*DamageReason, *CloseReason, *RecordKind.__members__])
def test_the_page_names_every_reason_and_kind(name: str) -> None:
    assert f"`{name.lower()}`" in PAGE


@pytest.mark.parametrize("name", ["FORMAT_VERSION", "MIN_READER_VERSION", "MAX_PAYLOAD_BYTES"])
def test_the_page_says_every_limit(name: str) -> None:
    assert f"`{name}` = {getattr(record_format, name)}" in PAGE
