"""A trace drawn in the terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from turn_trace import HTTP, SQL, TraceBuilder, build_turn

from turntrace.attributes import KEYS
from turntrace.cli.axis import labels
from turntrace.cli.printing import print_waterfall
from turntrace.cli.waterfall import ASCII, Glyphs, draw
from turntrace.cli.withheld import withheld_words

TURN_AT_120 = (Path(__file__).parent / "turn_at_120.txt").read_text(encoding="utf-8")


def _lines(document: dict[str, Any], width: int = 120, glyphs: Glyphs | None = None) -> list[str]:
    return [line.plain for line in draw(document, width, glyphs)]


def test_whole_turn_at_120_columns() -> None:
    assert "\n".join(_lines(build_turn().document())) + "\n" == TURN_AT_120


@pytest.mark.parametrize("width", [60, 80, 100, 133, 200])
def test_no_line_is_wider_than_asked(width: int) -> None:
    assert max(map(cell_len, _lines(build_turn().document(), width))) <= width


def test_cost_and_tokens_of_a_model_call_fit_80_columns() -> None:
    assert any("4,870→296 tok, $0.00137" in line for line in _lines(build_turn().document(), 80))


def test_piped_output_is_plain_and_120_wide() -> None:
    output = io.StringIO()
    print_waterfall(build_turn().document(), output)
    assert output.getvalue() == TURN_AT_120


def test_output_that_knows_no_unicode_gets_ascii() -> None:
    trace = build_turn()
    trace.add("ünïcode", b"", 0, 1)
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding="ascii")
    print_waterfall(trace.document(), output)
    output.flush()
    drawn = raw.getvalue().decode("ascii")
    assert "SQL  `-INSERT chat_messages" in drawn
    assert "4,870->296 tok" in drawn
    assert "?n?code" in drawn


def test_ascii_drawing_is_as_wide_as_the_other() -> None:
    document = build_turn().document()
    assert max(map(cell_len, _lines(document, 120, ASCII))) <= 120


def test_error_has_a_shape_and_a_word() -> None:
    trace = TraceBuilder()
    trace.add("broken", b"", 0, 10, error="builtins.ValueError")
    header, _, _, row = _lines(trace.document())[1:5]
    assert "✗ 1 error" in header
    assert "━✗" in row or "─✗" in row
    assert row.endswith("error ValueError")


def test_well_trace_says_nothing_of_errors() -> None:
    trace = TraceBuilder()
    trace.add("well", b"", 0, 10)
    assert "error" not in "".join(_lines(trace.document()))


def test_span_whose_parent_is_missing_stands_at_the_top_with_a_note() -> None:
    trace = TraceBuilder()
    root = trace.add("root", b"", 0, 10)
    trace.add("child", root, 1, 1)
    trace.add("orphan", b"missing!", 2, 1)
    rows = _lines(trace.document())[4:]
    assert [row[5:13].strip() for row in rows] == ["root", "└ child", "orphan"]
    assert rows[2].endswith("parent not here")


def test_service_is_named_where_it_changes() -> None:
    trace = TraceBuilder()
    root = trace.add("web", b"", 0, 10, service="web")
    child = trace.add("job", root, 1, 5, service="worker")
    trace.add("more", child, 2, 1, service="worker")
    header, _, _, *rows = _lines(trace.document())[1:]
    assert header.endswith("web, worker")
    assert [row.endswith("in worker") for row in rows] == [False, True, False]


def test_tokens_said_by_a_call_and_by_the_agent_above_it_are_summed_once() -> None:
    trace = TraceBuilder()
    usage = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}
    agent = trace.add("agent", b"", 0, 10, {**usage, "gen_ai.operation.name": "invoke_agent"})
    trace.add("chat", agent, 1, 5, {**usage, "gen_ai.operation.name": "chat"})
    assert "10→5 tok" in _lines(trace.document())[1]


def test_facts_do_not_repeat_the_name() -> None:
    trace = TraceBuilder()
    trace.add("SELECT users", b"", 0, 1, {**SQL, "db.query.summary": "SELECT users"})
    trace.add("query", b"", 2, 1, {**SQL, "db.query.summary": "SELECT users"})
    rows = _lines(trace.document())[4:]
    assert rows[0].count("SELECT users") == 1
    assert rows[1].endswith("SELECT users")


@pytest.mark.parametrize(
    ("attributes", "letters"),
    [
        ({}, "STEP"),
        (HTTP, "HTTP"),
        (SQL, "SQL"),
        ({"db.system": "redis"}, "KV"),
        ({"messaging.system": "socket.io"}, "SOCK"),
        ({"messaging.system": "rq"}, "JOB"),
        ({"gen_ai.operation.name": "chat"}, "AI"),
        ({"ai.model": "gemini-2.5-flash"}, "AI"),
        ({"gen_ai.operation.name": "invoke_agent"}, "STEP"),
        ({"ai.tool.name": "search"}, "TOOL"),
    ],
)
def test_kind_is_told_by_letters(attributes: dict[str, Any], letters: str) -> None:
    trace = TraceBuilder()
    trace.add("x", b"", 0, 1, attributes)
    assert _lines(trace.document())[4].split()[0] == letters


def test_every_bar_lies_within_the_axis() -> None:
    trace = TraceBuilder()
    root = trace.add("root", b"", 0, 1000)
    trace.add("first", root, 0, 0)
    trace.add("last", root, 1000, 0)
    _, first, last = _lines(trace.document(), 80)[4:]
    axis = _lines(trace.document(), 80)[4].index("─")
    assert first.index("─", 20) == axis
    assert cell_len(last) == 80


def test_trace_of_one_moment_is_drawn() -> None:
    trace = TraceBuilder()
    trace.add("moment", b"", 0, 0)
    assert _lines(trace.document())[4].startswith("STEP moment")


def test_hostile_names_and_values_stay_text() -> None:
    hostile = "\x1b[31m[bold]x[/bold]\x1b]0;title\x07\r\nnext\u202e"
    trace = TraceBuilder()
    trace.add(
        hostile,
        b"",
        0,
        1,
        {"gen_ai.tool.name": "tool" + hostile, "turntrace.turn.outcome": hostile},
        service=hostile,
        error=hostile,
    )
    output = io.StringIO()
    print_waterfall(trace.document(), output)
    drawn = output.getvalue()
    assert not set(drawn) & set("\x1b\x07\r\u202e\x9b")
    assert "[bold]x[/bold]  next" in drawn
    assert len(drawn.splitlines()) == 5


def test_attributes_of_unexpected_types_are_drawn() -> None:
    trace = TraceBuilder()
    trace.add(
        "x",
        b"",
        0,
        1,
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": "many",
            "ai.cost.estimated_usd": -1.0,
            "gen_ai.response.time_to_first_chunk": 1e300,
            "turntrace.turn.first_token_ms": 1e300,
        },
    )
    document = trace.document()
    document["spans"][0]["attributes"]["gen_ai.operation.name"] = ["chat"]
    document["spans"][0]["attributes"]["db.system"] = {"a": 1}
    assert len(_lines(document)) == 5


_TIMES = (
    "gen_ai.response.time_to_first_chunk",
    "ai.stream.first_token_ms",
    "turntrace.turn.first_token_ms",
)
_NUMBERS = (*_TIMES, "gen_ai.usage.input_tokens", "ai.cost.estimated_usd")


@pytest.mark.parametrize("key", _NUMBERS)
@pytest.mark.parametrize(
    "value",
    [1e305, 1e308, 10**400, float("nan"), float("inf"), -1, -1e305, "NaN", "", [], {}, True, None],
)
def test_number_without_a_meaning_is_not_shown(key: str, value: Any) -> None:
    trace = TraceBuilder()
    trace.add("chat", b"", 0, 10, {"gen_ai.operation.name": "chat"})
    document = trace.document()
    expected = _lines(document)
    document["spans"][0]["attributes"][key] = value
    assert _lines(document) == expected


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), _values, max_size=8), st.booleans())
def test_any_value_of_any_attribute_is_drawn(attributes: dict[str, Any], is_call: bool) -> None:
    trace = TraceBuilder()
    trace.add("span", b"", 0, 10, {"gen_ai.operation.name": "chat"} if is_call else {})
    document = trace.document()
    document["spans"][0]["attributes"].update(attributes)
    lines = _lines(document)
    assert len(lines) == 5 + bool(withheld_words(document, 120))
    assert max(map(cell_len, lines)) <= 120


def test_axis_of_hours_and_of_decades_has_round_labels() -> None:
    heads = []
    for milliseconds in (5 * 3_600_000, 1_000_000_000_000):
        trace = TraceBuilder()
        trace.add("long", b"", 0, milliseconds)
        lines = _lines(trace.document())
        heads.append(lines[3].split("duration")[1].split("  "))
        assert lines[1].split(" · ")[0] in {"5 h 00 m", "11,574 d"}
    assert [[word.strip() for word in head if word.strip()] for head in heads] == [
        ["0", "1 h", "2 h", "3 h", "4 h"],
        ["0", "2,000 d", "4,000 d", "6,000 d", "8,000 d", "10,000 d"],
    ]


@given(st.integers(1000, 2**63), st.integers(12, 200))
def test_axis_of_any_length_fits_and_is_soon_made(total_ns: int, cells: int) -> None:
    assert len(labels(total_ns, cells)) <= cells


def test_deep_trace_is_drawn_without_recursion() -> None:
    trace = TraceBuilder()
    parent = b""
    for depth in range(3000):
        parent = trace.add(f"level {depth}", parent, depth, 3000 - depth)
    lines = _lines(trace.document(), 80)
    assert len(lines) == 3004
    assert max(map(cell_len, lines)) <= 80
    assert "level 2999" in lines[-1]


_names = st.text(max_size=30)


@given(
    spans=st.lists(
        st.tuples(_names, st.integers(0, 8), st.integers(0, 10**6), st.integers(0, 10**6)),
        min_size=1,
        max_size=8,
    ),
    width=st.integers(0, 250),
)
@settings(max_examples=60)
def test_any_trace_fits_its_width(spans: list[tuple[str, int, int, int]], width: int) -> None:
    trace = TraceBuilder()
    for name, parent, start, length in spans:
        text = name.encode("utf-8", "replace").decode()
        trace.add(text, parent.to_bytes(8, "big") if parent else b"", start, length)
    lines = _lines(trace.document(), width)
    assert len(lines) == len(spans) + 4
    assert max(map(cell_len, lines)) <= max(60, min(width, 200))
