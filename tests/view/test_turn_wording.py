"""How the pages say numbers."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turntrace.view.turn_axis import MAX_TICKS, ticks
from turntrace.view.turn_wording import duration, one_line, percent, shares

MS = 1_000_000


@pytest.mark.parametrize(
    ("nanoseconds", "said"),
    [
        (0, "0 µs"),
        (350_000, "350 µs"),
        (999_500, "1.0 ms"),
        (2.4 * MS, "2.4 ms"),
        (57 * MS, "57 ms"),
        (999.5 * MS, "1.00 s"),
        (8214 * MS, "8.21 s"),
        (42_300 * MS, "42.3 s"),
        (150_000 * MS, "2.5 min"),
        (7_200_000 * MS, "2.0 h"),
        (2**63 - 1, "2,562,047.8 h"),
    ],
)
def test_duration_has_the_digits_that_matter(nanoseconds: float, said: str) -> None:
    assert str(duration(nanoseconds)) == said


def _shown(number: str) -> int:
    return int(re.sub("[.,]", "", number))


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=9))
def test_parts_as_shown_add_up_to_the_total_as_shown(parts: list[int]) -> None:
    total, amounts = shares(sum(parts), parts)
    assert total == duration(sum(parts))
    assert sum(_shown(amount.number) for amount in amounts) == _shown(total.number)
    assert {amount.unit for amount in amounts} == {total.unit}


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=9))
def test_no_part_is_further_from_the_truth_than_its_last_digit(parts: list[int]) -> None:
    total, amounts = shares(sum(parts), parts)
    decimals = len(total.number.partition(".")[2])
    units = {"µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
    quantum = units[total.unit] // 10**decimals
    for part, amount in zip(parts, amounts, strict=True):
        assert abs(_shown(amount.number) * quantum - part) <= quantum


def test_share_that_rounds_to_nothing_is_still_there() -> None:
    assert [percent(1, 1000), percent(0, 1000), percent(280, 1000), percent(1, 0)] == [
        "<1%",
        "0%",
        "28%",
        "0%",
    ]


def test_text_of_others_stands_on_one_short_line() -> None:
    assert one_line("a\n\tb\u2028c") == "a b c"
    assert len(one_line("x" * 10_000)) == 300


@given(st.integers(0, 2**63))
def test_axis_has_few_ticks_that_are_evenly_apart(total_ns: int) -> None:
    offsets = [tick["offset_ns"] for tick in ticks(total_ns)]
    assert offsets[0] == 0
    assert len(offsets) <= MAX_TICKS + 1
    assert len({later - earlier for earlier, later in itertools.pairwise(offsets)}) < 2


@pytest.mark.parametrize(
    ("total_ms", "labels"),
    [
        (8214, ["0", "1 s", "2 s", "3 s", "4 s", "5 s", "6 s", "7 s", "8 s"]),
        (471, ["0", "100 ms", "200 ms", "300 ms", "400 ms"]),
        (3_600_000, ["0", "10 m", "20 m", "30 m", "40 m", "50 m"]),
    ],
)
def test_axis_says_round_times(total_ms: int, labels: list[str]) -> None:
    assert [tick["label"] for tick in ticks(total_ms * MS)] == labels
