"""What every store promises about turns (``turntrace/store/turns.py``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from stored_spans import START_NS, TRACE_ID, make_span, make_trace_id

from turntrace.errors import StoreError
from turntrace.store.turns import MAX_CHOICES, MAX_POINTS, RUNNING, CursorError, TurnQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from turntrace.store.contract import StoredSpan, TraceStore

WAIT_SECONDS = 10
MS = 1_000_000
ROOT = "a1" * 8
EVERY = TurnQuery()


def make_turn(outcome: str = "ok", **overrides: Any) -> StoredSpan:
    """Return the root of a turn in a trace of its own; ``attributes`` are added to its own."""
    attributes = {
        "turntrace.turn.outcome": outcome,
        "socket.event": "chat:user_message",
        **overrides.pop("attributes", {}),
    }
    fields = {"trace_id": make_trace_id(), "name": "socket.io chat:user_message"} | overrides
    return make_span(kind="consumer", attributes=attributes, **fields)


def _write(store: TraceStore, *spans: StoredSpan) -> None:
    store.write(spans).result(WAIT_SECONDS)


def _ids(store: TraceStore, query: TurnQuery = EVERY) -> list[str]:
    return [row.trace_id for row in store.turns(query).rows]


def test_row_of_a_turn_says_what_its_root_and_its_model_call_say(store: TraceStore) -> None:
    root = make_turn(
        "error",
        span_id=ROOT,
        end_ns=START_NS + 8 * MS,
        service="renovation",
        attributes={
            "session.id": "s1",
            "turntrace.phase": "INTAKE",
            "error.type": "app.ServerError",
            "turntrace.turn.cost_usd": 0.002,
            "turntrace.turn.first_token_ms": 5.5,
            "turntrace.turn.input_tokens": 8282,
            "turntrace.turn.output_tokens": 364,
            "turntrace.turn.iterations": 2,
            "turntrace.turn.tool_calls": 1,
            "turntrace.turn.model_calls": 2,
        },
    )
    call = make_span(
        trace_id=root.trace_id,
        parent_span_id=ROOT,
        attributes={"gen_ai.request.model": "gemini-2.5-flash"},
    )
    _write(store, root, call)
    (row,) = store.turns(EVERY).rows
    assert (row.trace_id, row.span_id, row.is_turn) == (root.trace_id, ROOT, True)
    assert (row.outcome, row.error_type) == ("error", "app.ServerError")
    assert (row.name, row.event) == ("socket.io chat:user_message", "chat:user_message")
    assert (row.service, row.session, row.phase) == ("renovation", "s1", "INTAKE")
    assert row.model == "gemini-2.5-flash"
    assert (row.start_ns, row.duration_ns, row.first_token_ms) == (START_NS, 8 * MS, 5.5)
    assert (row.cost_usd, row.input_tokens, row.output_tokens) == (0.002, 8282, 364)
    assert (row.iterations, row.tool_calls, row.model_calls) == (2, 1, 2)


def test_what_a_turn_does_not_say_is_none_and_not_zero(store: TraceStore) -> None:
    _write(store, make_turn())
    (row,) = store.turns(EVERY).rows
    unknown = (row.cost_usd, row.first_token_ms, row.input_tokens, row.iterations, row.model_calls)
    assert unknown == (None,) * 5
    assert (row.session, row.phase, row.model, row.error_type) == ("",) * 4


@pytest.mark.parametrize("value", ["many", True, -1, [1], 1e300, None])
def test_number_that_is_none_is_unknown_and_loses_nothing(store: TraceStore, value: Any) -> None:
    keys = ("cost_usd", "input_tokens", "first_token_ms", "iterations")
    turn = make_turn(attributes={f"turntrace.turn.{key}": value for key in keys})
    _write(store, turn)
    (row,) = store.turns(EVERY).rows
    assert (row.cost_usd, row.input_tokens, row.first_token_ms, row.iterations) == (None,) * 4
    assert store.trace(turn.trace_id) == [turn]


def test_trace_without_a_turn_is_a_row_only_when_asked_for(store: TraceStore) -> None:
    plain = make_span(name="GET /api/rooms", kind="server", status_code="error")
    turn = make_turn(start_ns=START_NS + 1)
    _write(store, plain, turn)
    assert _ids(store) == [turn.trace_id]
    shown, other = store.turns(TurnQuery(has_plain=True)).rows
    assert (shown.trace_id, other.trace_id) == (turn.trace_id, plain.trace_id)
    assert (other.is_turn, other.outcome, other.event) == (False, "error", "GET /api/rooms")


def test_turn_whose_root_has_not_arrived_is_running_until_it_does(store: TraceStore) -> None:
    child = make_span(
        parent_span_id=ROOT,
        end_ns=START_NS + 3 * MS,
        attributes={"session.id": "s1", "gen_ai.request.model": "m"},
    )
    _write(store, child)
    (row,) = store.turns(EVERY).rows
    assert (row.outcome, row.span_id, row.duration_ns) == (RUNNING, "", 3 * MS)
    assert (row.session, row.model) == ("s1", "m")
    _write(store, make_turn(trace_id=TRACE_ID, span_id=ROOT, start_ns=START_NS - MS))
    (row,) = store.turns(EVERY).rows
    assert (row.outcome, row.span_id, row.start_ns) == ("ok", ROOT, START_NS - MS)
    assert row.model == "m"


def test_of_a_trace_in_which_a_model_was_asked_only_that_is_the_turn(store: TraceStore) -> None:
    action, join = make_turn(name="first message"), make_turn(name="socket.io chat:join_session")
    asked = make_turn(attributes={"turntrace.turn.model_calls": 2})
    trace_id = action.trace_id
    spans = [
        replace(span, trace_id=trace_id, span_id=f"{number:016x}")
        for number, span in enumerate([action, join, asked], 1)
    ]
    _write(store, *spans)
    assert [row.name for row in store.turns(EVERY).rows] == [asked.name]
    everything = store.turns(TurnQuery(has_plain=True)).rows
    assert {row.name for row in everything} == {action.name, join.name, asked.name}


def test_turn_that_runs_is_seen_beside_one_of_its_trace_that_has_ended(store: TraceStore) -> None:
    join = make_turn(name="socket.io chat:join_session", span_id=ROOT)
    waits = make_span(
        trace_id=join.trace_id,
        span_id="b2" * 8,
        parent_span_id="ff" * 8,
        start_ns=START_NS + 50 * MS,
        end_ns=START_NS + 51 * MS,
    )
    _write(store, join, waits)
    rows = {row.span_id: row for row in store.turns(EVERY).rows}
    assert rows[ROOT].outcome == "ok"
    assert (rows[""].outcome, rows[""].start_ns) == (RUNNING, waits.start_ns)


def test_running_row_goes_when_the_root_is_no_turn(store: TraceStore) -> None:
    _write(store, make_span(parent_span_id=ROOT))
    assert len(_ids(store)) == 1
    _write(store, make_span(span_id=ROOT, kind="server"))
    assert _ids(store) == []


@pytest.mark.parametrize(
    "remote",
    [{"flags": 0x301}, {"kind": "server"}, {"kind": "consumer", "flags": 1}],
    ids=["flagged", "server", "consumer"],
)
def test_parent_elsewhere_makes_no_running_turn(store: TraceStore, remote: dict[str, Any]) -> None:
    _write(store, make_span(parent_span_id=ROOT, **remote))
    assert _ids(store) == []


def test_child_that_says_its_parent_is_local_waits_for_it(store: TraceStore) -> None:
    _write(store, make_span(parent_span_id=ROOT, kind="server", flags=0x101))
    assert len(_ids(store)) == 1


def test_lost_child_does_not_make_an_ended_turn_run_again(store: TraceStore) -> None:
    _write(store, make_turn(trace_id=TRACE_ID))
    _write(store, make_span(parent_span_id="ff" * 8))
    assert [row.outcome for row in store.turns(EVERY).rows] == ["ok"]


def test_two_turns_of_one_trace_are_two_rows(store: TraceStore) -> None:
    _write(store, make_turn(trace_id=TRACE_ID))
    _write(store, make_turn("error", trace_id=TRACE_ID, start_ns=START_NS + 1))
    assert [row.outcome for row in store.turns(EVERY).rows] == ["error", "ok"]


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_turn_sent_again_is_one_row_and_the_last_wins(
    store: TraceStore, is_one_batch: bool
) -> None:
    turn = make_turn("ok")
    attributes = {**turn.attributes, "turntrace.turn.outcome": "interrupted"}
    changed = replace(turn, attributes=attributes)
    batches = [[turn, changed]] if is_one_batch else [[turn], [changed]]
    for batch in batches:
        _write(store, *batch)
    assert [row.outcome for row in store.turns(EVERY).rows] == ["interrupted"]


def test_failed_write_leaves_no_row(store: TraceStore) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        _write(store, make_turn(), make_span(span_id="not hexadecimal"))
    assert _ids(store) == []


def test_turns_are_there_after_reopening(open_store: Callable[[], TraceStore]) -> None:
    turn = make_turn()
    first = open_store()
    _write(first, turn)
    first.close()
    assert _ids(open_store()) == [turn.trace_id]


def _varied(store: TraceStore) -> list[StoredSpan]:
    turns = [
        make_turn(
            outcome,
            start_ns=START_NS + place * MS,
            end_ns=START_NS + place * MS + length * MS,
            attributes={
                "session.id": f"s{place % 2}",
                "turntrace.phase": ("INTAKE", "PLAN")[place // 2 % 2],
                "socket.event": ("chat", "join")[place % 2],
            }
            | ({} if cost is None else {"turntrace.turn.cost_usd": cost}),
        )
        for place, (outcome, length, cost) in enumerate(
            [("ok", 30, 0.1), ("error", 10, None), ("ok", 20, 0.3), ("cancelled", 40, 0.2)]
        )
    ]
    _write(store, *turns)
    return turns


@pytest.mark.parametrize(
    ("sort", "order"),
    [("newest", [3, 2, 1, 0]), ("slowest", [3, 0, 2, 1]), ("dearest", [2, 3, 0, 1])],
)
def test_sort_orders_and_pages_join_without_gap_or_repetition(
    store: TraceStore, sort: Any, order: Sequence[int]
) -> None:
    turns = _varied(store)
    query = TurnQuery(sort=sort, limit=1)
    found, pages = [], 0
    while pages < 10:
        page = store.turns(query)
        found += [row.trace_id for row in page.rows]
        pages += 1
        if not page.cursor:
            break
        query = replace(query, cursor=page.cursor)
    assert found == [turns[place].trace_id for place in order]
    assert pages == 4


def test_turns_of_one_moment_are_not_lost_between_pages(store: TraceStore) -> None:
    turns = [make_turn() for _ in range(5)]
    _write(store, *turns)
    first = store.turns(TurnQuery(limit=2))
    rest = store.turns(TurnQuery(limit=10, cursor=first.cursor))
    found = [row.trace_id for row in [*first.rows, *rest.rows]]
    assert sorted(found) == sorted(turn.trace_id for turn in turns)


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        ({"session": "s1"}, [3, 1]),
        ({"phase": "PLAN"}, [3, 2]),
        ({"event": "join"}, [3, 1]),
        ({"outcomes": ("ok",)}, [2, 0]),
        ({"outcomes": ("error", "cancelled")}, [3, 1]),
        ({"min_duration_ns": 30 * MS}, [3, 0]),
        ({"from_ns": START_NS + MS, "to_ns": START_NS + 3 * MS}, [2, 1]),
        ({"session": "s0", "phase": "PLAN"}, [2]),
        ({"session": "' OR 1=1 --"}, []),
        ({"model": "none"}, []),
        ({"trace_ids": ()}, []),
    ],
)
def test_filters_find_exactly_their_turns(
    store: TraceStore, filters: dict[str, Any], places: list[int]
) -> None:
    turns = _varied(store)
    query = TurnQuery(**filters)
    assert _ids(store, query) == [turns[place].trace_id for place in places]
    assert store.overview(query).turns == len(places)


def test_rows_of_named_traces_only(store: TraceStore) -> None:
    turns = _varied(store)
    wanted = (turns[1].trace_id, turns[2].trace_id, "f" * 32)
    assert _ids(store, TurnQuery(trace_ids=wanted)) == [turns[2].trace_id, turns[1].trace_id]


@pytest.mark.parametrize(
    ("key", "value", "is_found"),
    [
        ("tool", "search", True),
        ("tool", "sear", False),
        ("count", "2", True),
        ("ratio", "0.5", True),
        ("flag", "true", True),
        ("flag", "1", False),
        ("list", '["a"]', False),
        ("nothing", "", False),
        ('we"ird\\key', "x", True),
        ("deployment.environment", "staging", True),
        ("deployment.environment", "production", False),
        ("sidecar", "true", True),
        ("sidecar", "1", False),
        ("arguments", '["a"]', False),
        ("cores", "2", True),
        ("%", "search", False),
    ],
)
def test_attribute_of_any_span_or_its_resource_is_found(
    store: TraceStore, key: str, value: str, is_found: bool
) -> None:
    turn = make_turn(span_id=ROOT)
    child = make_span(
        trace_id=turn.trace_id,
        parent_span_id=ROOT,
        resource={
            "service.name": "demo",
            "deployment.environment": "staging",
            "sidecar": True,
            "arguments": ["a"],
            "cores": 2,
        },
        attributes={
            "tool": "search",
            "count": 2,
            "ratio": 0.5,
            "flag": True,
            "list": ["a"],
            "nothing": None,
            'we"ird\\key': "x",
        },
    )
    _write(store, turn, child, make_turn())
    query = TurnQuery(attributes=((key, value),))
    assert _ids(store, query) == ([turn.trace_id] if is_found else [])
    assert store.overview(query).turns == int(is_found)


def test_two_attributes_must_both_be_found_in_one_trace(store: TraceStore) -> None:
    both, one = make_turn(attributes={"a": "1", "b": "2"}), make_turn(attributes={"a": "1"})
    _write(store, both, one)
    assert _ids(store, TurnQuery(attributes=(("a", "1"), ("b", "2")))) == [both.trace_id]


@pytest.mark.parametrize("text", ["STYLE", "style_exa", "é%", "execute_tool"])
def test_text_in_the_name_of_any_span_is_found(store: TraceStore, text: str) -> None:
    turn = make_turn(span_id=ROOT)
    tool = make_span(
        trace_id=turn.trace_id,
        parent_span_id=ROOT,
        name="execute_tool get_style_examples é%",
    )
    _write(store, turn, tool, make_turn())
    assert _ids(store, TurnQuery(text=text)) == [turn.trace_id]


def test_search_goes_through_pages_in_order(store: TraceStore) -> None:
    turns = [
        make_turn(start_ns=START_NS + place, attributes={"half": place % 2}) for place in range(9)
    ]
    _write(store, *turns)
    query = TurnQuery(attributes=(("half", "1"),), limit=3)
    first = store.turns(query)
    rest = store.turns(replace(query, cursor=first.cursor))
    found = [row.trace_id for row in [*first.rows, *rest.rows]]
    assert found == [turns[place].trace_id for place in (7, 5, 3, 1)]
    assert (rest.cursor, rest.is_search_cut) == ("", False)


def test_search_ends_after_its_bound_and_goes_on_from_there(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turntrace.store.sqlite_turns.MAX_SEARCHED", 4)
    oldest = make_turn(attributes={"rare": "yes"})
    _write(store, oldest, *(make_turn(start_ns=START_NS + 1 + place) for place in range(6)))
    query = TurnQuery(attributes=(("rare", "yes"),))
    page = store.turns(query)
    assert (page.rows, page.is_search_cut) == ([], True)
    assert store.overview(query).is_cut
    assert _ids(store, replace(query, cursor=page.cursor)) == [oldest.trace_id]


@pytest.mark.parametrize("cursor", ["x", "e30", "====", "\x00", "WyJhIl0", "W10"])
def test_cursor_that_nobody_made_is_refused(store: TraceStore, cursor: str) -> None:
    with pytest.raises(CursorError, match="not made"):
        store.turns(TurnQuery(cursor=cursor))


def test_cursor_of_another_order_is_refused(store: TraceStore) -> None:
    _varied(store)
    cursor = store.turns(TurnQuery(limit=1)).cursor
    with pytest.raises(CursorError, match="another sort"):
        store.turns(TurnQuery(sort="slowest", cursor=cursor))


def test_overview_adds_the_rows_up(store: TraceStore) -> None:
    _varied(store)
    _write(store, make_turn(attributes={"turntrace.turn.input_tokens": 5}), make_span())
    overview = store.overview(EVERY)
    assert (overview.turns, overview.sessions, overview.is_cut) == (5, 2, False)
    assert overview.cost_usd == pytest.approx(0.6)
    assert (overview.input_tokens, overview.output_tokens, overview.plain) == (5, 0, 1)
    assert overview.outcomes == {"ok": 3, "error": 1, "cancelled": 1}
    sessions = {choice.value: choice.count for choice in overview.choices["session"]}
    assert sessions == {"s0": 2, "s1": 2}
    assert {choice.value for choice in overview.choices["event"]} == {
        "chat",
        "join",
        "chat:user_message",
    }
    assert overview.choices["model"] == []


def test_outcome_counts_stay_when_one_is_chosen_and_totals_follow(store: TraceStore) -> None:
    _varied(store)
    overview = store.overview(TurnQuery(outcomes=("ok",), session="s0"))
    assert overview.outcomes == {"ok": 2}
    overview = store.overview(TurnQuery(outcomes=("ok",)))
    assert overview.outcomes == {"ok": 2, "error": 1, "cancelled": 1}
    assert (overview.turns, overview.sessions) == (2, 1)
    assert overview.cost_usd == pytest.approx(0.4)


def test_points_are_the_newest_first(store: TraceStore) -> None:
    turns = _varied(store)
    points = store.overview(EVERY).points
    assert [point[3] for point in points] == [turn.trace_id for turn in reversed(turns)]
    assert points[0] == (START_NS + 3 * MS, 40 * MS, "cancelled", turns[3].trace_id)


def test_overview_of_very_many_rows_is_bounded(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turntrace.store.sqlite_turns.MAX_COUNTED", 1100)
    turns = [
        make_turn(start_ns=START_NS + place, attributes={"session.id": f"s{place}"})
        for place in range(1200)
    ]
    _write(store, *turns)
    overview = store.overview(EVERY)
    assert (overview.turns, overview.is_cut) == (1100, True)
    assert len(overview.points) == MAX_POINTS
    assert len(overview.choices["session"]) == MAX_CHOICES


def test_very_large_trace_still_gets_its_turn(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turntrace.store.sqlite_turn_write.MAX_FOLLOWED", 3)
    for _ in range(3):
        _write(store, make_span(parent_span_id=ROOT), make_span(parent_span_id=ROOT))
    assert [row.outcome for row in store.turns(EVERY).rows] == [RUNNING]
    _write(store, make_turn(trace_id=TRACE_ID, span_id=ROOT))
    assert [row.outcome for row in store.turns(EVERY).rows] == ["ok"]


@pytest.mark.parametrize("parent", ["", "ee" * 8], ids=["own", "client's"])
def test_very_large_trace_ends_when_nothing_of_it_waits_any_more(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch, parent: str
) -> None:
    monkeypatch.setattr("turntrace.store.sqlite_turn_write.MAX_FOLLOWED", 3)
    step = "b2" * 8
    _write(store, *(make_span(parent_span_id=ROOT) for _ in range(3)))
    _write(store, *(make_span(parent_span_id=step) for _ in range(3)))
    _write(store, make_span(span_id=ROOT, kind="server", parent_span_id=parent))
    _write(store, make_span(name="late", parent_span_id=ROOT))
    assert [row.outcome for row in store.turns(EVERY).rows] == [RUNNING]
    _write(store, make_span(span_id=step, parent_span_id=ROOT))
    assert _ids(store) == []
    (row,) = store.turns(TurnQuery(has_plain=True)).rows
    assert (row.outcome, row.is_turn) == ("ok", False)


def test_trace_is_known_by_any_of_its_spans(store: TraceStore) -> None:
    _write(store, make_span())
    assert store.has_trace(TRACE_ID)
    assert store.has_trace(TRACE_ID.upper())
    assert not store.has_trace("f" * 32)
    assert not store.has_trace("' OR 1=1")


def test_closed_store_answers_no_question_about_turns(store: TraceStore) -> None:
    store.close()
    for ask in (
        lambda: store.turns(EVERY),
        lambda: store.overview(EVERY),
        lambda: store.has_trace(TRACE_ID),
    ):
        with pytest.raises(StoreError, match="closed"):
            ask()
