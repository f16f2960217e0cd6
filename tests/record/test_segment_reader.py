"""Claims about reading segments: whatever happened to the bytes, the outcome has a type."""

from __future__ import annotations

import mmap
import struct
import tracemalloc
import zlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_strategies import make_record, records

from turntrace.record.record_format import (
    FORMAT_VERSION,
    HEAD_BYTES,
    MAX_PAYLOAD_BYTES,
    Close,
    Header,
    ScopeEntry,
    pack,
    pack_span,
)
from turntrace.record.segment_reader import (
    Damaged,
    DamageReason,
    Frame,
    Newer,
    SegmentReader,
    TornTail,
    Unknown,
)

if TYPE_CHECKING:
    from pathlib import Path

HEADER = pack(Header(FORMAT_VERSION, 1))
SPANS = [pack_span(make_record(span_id=bytes([number] * 8)), 0) for number in range(1, 6)]
SEGMENT = HEADER + b"".join(SPANS)


def read(segment: Any, from_offset: int = 0) -> list[Any]:
    return list(SegmentReader().read(segment, from_offset))


def spans(outcomes: list[Any]) -> list[int]:
    """Return which spans were read, by the byte that their id is made of."""
    return [
        outcome.record.span_id[0]
        for outcome in outcomes
        if isinstance(outcome, Frame) and not isinstance(outcome.record, (Header, ScopeEntry))
    ]


def damage(outcomes: list[Any]) -> list[Any]:
    return [outcome for outcome in outcomes if not isinstance(outcome, Frame)]


def framed(payload: bytes) -> bytes:
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


def spoilt(segment: bytes, offset: int, by: bytes) -> bytes:
    return segment[:offset] + by + segment[offset + len(by) :]


START_OF_3 = len(HEADER) + len(SPANS[0]) + len(SPANS[1])
END_OF_3 = START_OF_3 + len(SPANS[2])


@pytest.mark.parametrize("tail", [0, 1, 7, 8, 9, 5_000])
def test_zeros_to_the_end_are_the_end_of_the_data(tail: int) -> None:
    assert spans(read(SEGMENT + bytes(tail))) == [1, 2, 3, 4, 5]
    assert damage(read(SEGMENT + bytes(tail))) == []


def test_nothing_is_in_an_empty_segment() -> None:
    assert read(b"") == read(bytes(1_000)) == []


def test_offsets_of_frames_meet() -> None:
    outcomes = read(SEGMENT)
    ends = [0, *[outcome.end_offset for outcome in outcomes]]
    assert [outcome.offset for outcome in outcomes] == ends[:-1]
    assert ends[-1] == len(SEGMENT)


def test_reading_from_a_checkpoint_knows_the_scopes_written_before_it() -> None:
    start = HEADER + pack(ScopeEntry(1, "sql")) + SPANS[0]
    (frame,) = read(start + pack_span(make_record(), 1), from_offset=len(start))
    assert frame.record.scope.name == "sql"


def test_a_segment_that_grows_is_read_on() -> None:
    reader = SegmentReader()
    cut = START_OF_3 + 11
    first = list(reader.read(SEGMENT[:cut]))
    assert spans(first) == [1, 2]
    assert damage(first) == [TornTail(START_OF_3, cut)]
    assert reader.end_offset == START_OF_3
    assert spans(list(reader.read(SEGMENT, reader.end_offset))) == [3, 4, 5]
    assert reader.end_offset == len(SEGMENT)


def test_a_mapped_file_is_read_and_can_be_closed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(SEGMENT + bytes(4_096))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert spans(read(mapped)) == [1, 2, 3, 4, 5]


@given(st.integers(0, len(SEGMENT)), st.sampled_from([0, 3, 100]))
def test_a_cut_costs_the_record_that_was_cut(cut: int, zeros: int) -> None:
    ends = [len(HEADER)]
    for span in SPANS:
        ends.append(ends[-1] + len(span))
    whole = [number for number, end in enumerate(ends) if number and end <= cut]
    assert spans(read(SEGMENT[:cut])) == whole
    assert spans(read(SEGMENT[:cut] + bytes(zeros)))[: len(whole)] == whole
    is_clean = cut in {0, *ends}
    assert [type(o) for o in damage(read(SEGMENT[:cut]))] == ([] if is_clean else [TornTail])


@given(st.integers(len(HEADER) * 8, len(SEGMENT) * 8 - 1))
def test_a_flipped_bit_costs_one_record_and_is_told(bit: int) -> None:
    flipped = bytearray(SEGMENT)
    flipped[bit // 8] ^= 1 << bit % 8
    outcomes = read(bytes(flipped))
    assert len(spans(outcomes)) == 4
    assert len(damage(outcomes)) == 1


def test_damage_inside_a_payload_is_passed_over_by_its_length() -> None:
    outcomes = read(spoilt(SEGMENT, START_OF_3 + HEAD_BYTES + 9, b"\xff\xff"))
    assert spans(outcomes) == [1, 2, 4, 5]
    assert damage(outcomes) == [Damaged(DamageReason.CHECKSUM, START_OF_3, END_OF_3)]


@pytest.mark.parametrize(
    "length", [b"\xff\xff\xff\xff", bytes(4), b"\x01\x00\x00\x00", b"\x00\x00\x02\x00"]
)
def test_behind_a_false_length_the_next_intact_frame_is_found(length: bytes) -> None:
    outcomes = read(spoilt(SEGMENT, START_OF_3, length))
    assert spans(outcomes) == [1, 2, 4, 5]
    (damaged,) = damage(outcomes)
    assert (damaged.offset, damaged.end_offset) == (START_OF_3, END_OF_3)


def test_a_frame_is_found_whose_checksum_looks_like_the_head_of_a_map() -> None:
    closes = (pack(Close(b"t" * 16, number.to_bytes(8, "big"))) for number in range(10_000))
    close = next(frame for frame in closes if frame[6] == 0xDE)
    outcomes = read(spoilt(SEGMENT, len(SEGMENT) - len(SPANS[4]), b"\xff" * 4) + close)
    assert [type(outcome) for outcome in outcomes[-2:]] == [Damaged, Frame]
    assert outcomes[-1].end_offset == len(SEGMENT) + len(close)


def test_a_zeroed_sector_costs_the_records_that_it_touches() -> None:
    outcomes = read(spoilt(SEGMENT, START_OF_3 - 5, bytes(50)))
    assert spans(outcomes) == [1, 4, 5]
    assert len(damage(outcomes)) == 2


def test_bytes_behind_a_zero_length_are_a_record_that_was_not_finished() -> None:
    unfinished = bytes(4) + SPANS[0][4:]  # the length word is written last
    assert damage(read(SEGMENT + unfinished + bytes(100))) == [
        TornTail(len(SEGMENT), len(SEGMENT) + len(unfinished) + 100)
    ]


def test_nothing_is_believed_without_a_header() -> None:
    without = b"".join(SPANS)
    assert read(without) == [Damaged(DamageReason.NO_HEADER, 0, len(without))]
    assert spans(read(spoilt(SEGMENT, HEAD_BYTES, b"\xff"))) == []


def test_a_segment_of_a_version_that_we_may_not_read_is_left_alone() -> None:
    # What every version promises of a header is v and r; the rest may be anything.
    header = framed(msgspec.msgpack.encode({"t": 1, "v": 9, "r": FORMAT_VERSION + 1, "a": 5}))
    newer = Newer(9, FORMAT_VERSION + 1, 0, len(header) + 4)
    assert read(header + b"what") == [newer]


def test_a_newer_version_that_we_may_read_is_read_and_unknown_fields_and_kinds_passed_over() -> (
    None
):
    future = [
        {"t": 1, "v": FORMAT_VERSION + 1, "r": FORMAT_VERSION, "new": {"x": [1, 2]}},
        {"t": 99, "i": "anything"},
        {
            "t": 4,
            "i": b"t" * 16,
            "s": b"\x07" * 8,
            "zz": msgspec.msgpack.Ext(5, b"x"),
            "E": [{"n": "e", "q": 1}],
        },
    ]
    header, unknown, span = read(b"".join(framed(msgspec.msgpack.encode(r)) for r in future))
    assert header.record.version == FORMAT_VERSION + 1
    assert isinstance(unknown, Unknown)
    assert unknown.kind == 99
    assert span.record.span_id == b"\x07" * 8
    assert span.record.events[0].name == "e"


def test_an_attribute_of_a_later_kind_is_left_out_and_counted() -> None:
    attributes = {"even": 1, "map": {"a": 1}, "ext": msgspec.msgpack.Ext(5, b"x")}
    payload = {"t": 4, "i": b"t" * 16, "s": b"\x07" * 8, "a": attributes}
    _, frame = read(HEADER + framed(msgspec.msgpack.encode(payload)))
    assert frame.record.attributes == {"even": 1}
    assert frame.record.dropped_attributes == 2


def measured(segment: bytes) -> tuple[list[Any], int]:
    """Return what was read, and the bytes that reading took at most."""
    tracemalloc.start()
    try:
        return read(segment), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


PREFIX = b"\x84\xa1t\x04\xa1i\xc4\x10" + b"t" * 16 + b"\xa1s\xc4\x08" + b"s" * 8 + b"\xa1a"


@pytest.mark.parametrize(
    "payload",
    [
        PREFIX + b"\x81\xa1k\xdd\xff\xff\xff\xff",
        PREFIX + b"\xdf\xff\xff\xff\xff",
        PREFIX + b"\x81\xa1k\xc6\xff\xff\xff\xff",
        PREFIX + b"\x81\xa1k" + b"\xdc\xff\xff" * 80_000,
        PREFIX + b"\x81\xa1k" + b"\x91" * 250_000 + b"\x01",
        PREFIX + b"\x81\xa1k\xa2\xff\xff",
        PREFIX + b"\x80" + b"more",
        b"\x81\xa1t\x04",
        b"\x81\xa1t\xa1x",
        b"\x04",
        b"\xc1",
    ],
    ids=range(11),
)
def test_a_payload_that_was_made_up_is_damage_and_takes_little_memory(payload: bytes) -> None:
    outcomes, peak_bytes = measured(HEADER + framed(payload) + SPANS[0])
    (damaged,) = damage(outcomes)
    assert damaged.reason is DamageReason.UNDECODABLE
    assert spans(outcomes) == [1]
    assert peak_bytes < 80 * MAX_PAYLOAD_BYTES


def test_what_takes_most_memory_for_its_length_stays_within_the_bound() -> None:
    payload = PREFIX + b"\x81\xa1k\xdd\x00\x03\xd0\x90" + b"\x80" * 250_000
    (_, frame), peak_bytes = measured(HEADER + framed(payload))
    assert (frame.record.attributes, frame.record.dropped_attributes) == ({}, 1)
    assert peak_bytes < 80 * MAX_PAYLOAD_BYTES


@given(st.binary(max_size=300))
def test_garbage_has_an_outcome(garbage: bytes) -> None:
    for start in (b"", HEADER, HEADER + garbage[:9]):
        outcomes = read(start + garbage)
        assert all(isinstance(o, (Frame, Damaged, TornTail)) for o in outcomes)
    assert spans(read(HEADER + garbage + SEGMENT))[-5:] == [1, 2, 3, 4, 5]


@given(st.binary(max_size=60))
def test_garbage_with_a_true_checksum_has_an_outcome_and_the_rest_is_read(garbage: bytes) -> None:
    outcomes = read(HEADER + framed(garbage or b"x") + b"".join(SPANS))
    assert spans(outcomes)[-5:] == [1, 2, 3, 4, 5]


@given(records(), st.data())
def test_changed_bytes_with_a_true_checksum_have_an_outcome(record: Any, data: Any) -> None:
    payload = bytearray(pack_span(record, 0)[HEAD_BYTES:])
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    outcomes = read(HEADER + framed(bytes(payload)) + SPANS[0])
    assert spans(outcomes)[-1] == 1


def test_a_search_among_many_false_starts_gives_up() -> None:
    false_start = struct.pack("<II", MAX_PAYLOAD_BYTES - 9, 1) + b"\x84\xa1t"
    outcomes = read(HEADER + b"\xff" * 8 + false_start * 90_000 + SPANS[0])
    assert [type(outcome) for outcome in outcomes] == [Frame, Damaged]


def checksummed(segment: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], int]:
    """Return what was read, and how many bytes were checksummed for it."""
    taken: list[int] = []

    def count(data: Any) -> int:
        taken.append(len(data))
        return zlib.crc32(data)

    counting = SimpleNamespace(crc32=count)
    monkeypatch.setattr("turntrace.record.segment_reader.zlib", counting)
    return read(segment), sum(taken)


LONGEST = struct.pack("<II", MAX_PAYLOAD_BYTES, 1)
SMALL = framed(msgspec.msgpack.encode({"t": 2, "n": 1}))


@pytest.mark.parametrize(
    "false_head",
    [LONGEST, struct.pack("<II", 1, 1) + b"x" + LONGEST],
    ids=["itself", "what should follow"],
)
def test_heads_that_claim_the_longest_record_cost_a_bounded_time(
    false_head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = HEADER + (false_head + SMALL) * 20_000
    outcomes, size = checksummed(segment, monkeypatch)
    assert size < 66 * MAX_PAYLOAD_BYTES + 2 * len(segment)
    assert outcomes[-1].end_offset == len(segment)


def test_zeros_to_the_end_take_no_memory() -> None:
    segment = HEADER + bytes(16 * 1024 * 1024)
    outcomes, peak_bytes = measured(segment)
    assert len(outcomes) == 1
    assert peak_bytes < MAX_PAYLOAD_BYTES


def test_events_without_anything_in_them_stay_within_the_bound_of_memory() -> None:
    count = MAX_PAYLOAD_BYTES - 100
    payload = b"\x84" + PREFIX[1:-2] + b"\xa1E\xdd" + struct.pack(">I", count) + b"\x80" * count
    (_, frame), peak_bytes = measured(HEADER + framed(payload))
    assert len(frame.record.events) == count
    assert peak_bytes < 250 * MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("kind", [2, 3])
def test_tables_that_never_end_are_not_remembered_for_ever(kind: int) -> None:
    entries = ({"t": kind, "n": number} for number in range(1, 100_000))
    segment = HEADER + b"".join(framed(msgspec.msgpack.encode(entry)) for entry in entries)
    reader = SegmentReader()
    tracemalloc.start()
    try:
        for _ in reader.read(segment):
            pass
        kept_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert reader.end_offset == len(segment)
    assert kept_bytes < 32 * MAX_PAYLOAD_BYTES


def test_an_entry_that_is_repeated_takes_no_room_in_the_tables() -> None:
    entry = pack(ScopeEntry(1, "sql", "x" * 1_000))
    last = pack(ScopeEntry(2, "last"))
    outcomes = read(HEADER + entry * 2_000 + last + pack_span(make_record(), 2))
    assert outcomes[-1].record.scope.name == "last"


@pytest.mark.parametrize(
    "payload",
    [
        {"t": 4, "i": b"short", "s": b"\x07" * 8},
        {"t": 5, "i": b"t" * 16, "s": b""},
        {"t": 4, "i": b"t" * 16, "s": b"\x07" * 8, "p": b"abc"},
        {"t": 4, "i": b"t" * 16, "s": b"\x07" * 8, "L": [{"i": b"", "s": b"\x07" * 8}]},
        {"t": 6, "i": b"t" * 17, "s": b"\x07" * 8},
    ],
    ids=range(5),
)
def test_a_record_with_an_id_of_another_length_is_damage(payload: dict[str, Any]) -> None:
    outcomes = read(HEADER + framed(msgspec.msgpack.encode(payload)) + SPANS[0])
    (damaged,) = damage(outcomes)
    assert damaged.reason is DamageReason.UNDECODABLE
    assert spans(outcomes) == [1]


def test_nil_is_no_attribute_but_may_be_an_item_of_one() -> None:
    payload = {"t": 4, "i": b"t" * 16, "s": b"\x07" * 8, "a": {"nil": None, "items": [None, 1]}}
    _, frame = read(HEADER + framed(msgspec.msgpack.encode(payload)))
    assert frame.record.attributes == {"items": (None, 1)}
    assert frame.record.dropped_attributes == 1
