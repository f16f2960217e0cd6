"""How the terminal says things."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from turntrace.cli.cleaning import clean
from turntrace.cli.wording import aligned_duration, duration, fit
from turntrace.view.turn_wording import count, dollars


@pytest.mark.parametrize(
    ("nanoseconds", "said"),
    [
        (0, "0.00 ms"),
        (600_000, "0.60 ms"),
        (9_994_000, "9.99 ms"),
        (9_996_000, "10.0 ms"),
        (57_000_000, "57.0 ms"),
        (99_960_000, "100 ms"),
        (999_400_000, "999 ms"),
        (999_600_000, "1.00 s"),
        (8_214_000_000, "8.21 s"),
        (61_000_000_000, "61.0 s"),
        (3_599_000_000_000, "3,599 s"),
        (3_599_600_000_000, "1 h 00 m"),
        (7_500_000_000_000, "2 h 05 m"),
        (86_399_000_000_000, "1 d 00 h"),
        (273_600_000_000_000, "3 d 04 h"),
        (1_700_000_000_000_000_000, "19,676 d"),
    ],
)
def test_duration_has_about_three_digits_and_its_unit(nanoseconds: int, said: str) -> None:
    assert duration(nanoseconds) == said


def test_aligned_durations_have_digits_and_units_below_each_other() -> None:
    assert [aligned_duration(ns) for ns in (8_214_000_000, 57_000_000)] == [
        "  8.21 s ",
        "  57.0 ms",
    ]


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "$0"), (0.00041, "$0.00041"), (0.0000004, "<$0.00001"), (1.5, "$1.50"), (0.5, "$0.50000")],
)
def test_small_amounts_keep_their_first_digits(amount: float, said: str) -> None:
    assert dollars(amount) == said


def test_thousands_are_set_apart() -> None:
    assert count(1234567) == "1,234,567"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain ünïcode \N{SNOWMAN}", "plain ünïcode \N{SNOWMAN}"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x1bc\x1b[2Jcleared", "cleared"),
        ("one\r\ntwo\tthree", "one  two three"),
        ("\u202eright to left\u2066", "right to left"),
        ("a\x00b\x08c\x7fd\u200be", "abcde"),
        ("[bold red]markup[/]", "[bold red]markup[/]"),
    ],
)
def test_hostile_text_becomes_one_harmless_line(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text(max_size=100))
def test_cleaned_text_never_holds_a_control_character(text: str) -> None:
    assert not any(unicodedata.category(character)[0] == "C" for character in clean(text))


@given(st.text(max_size=60).map(clean), st.integers(1, 40))
def test_fitted_text_has_exactly_its_cells(text: str, cells: int) -> None:
    assert cell_len(fit(text, cells, "…")) == cells


def test_long_text_ends_in_an_ellipsis() -> None:
    assert fit("abcdefgh", 5, "…") == "abcd…"
    assert fit("日本語日本語", 5, "…") == "日本…"
