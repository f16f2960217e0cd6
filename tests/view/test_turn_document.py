"""Everything that the Turn page draws, computed from the spans of a trace."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_stories import HOSTILE, HTTP, MS, SOCKET, SQL, START_NS, Story, chat, eight_seconds, tool
from turn_stories import long_turn as make_long_turn

from turntrace.store.contract import StoredLink, StoredSpan
from turntrace.view.turn_document import MAX_ROWS, turn_document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return turn_document(eight_seconds().spans)


def _row(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = [row for row in document["rows"] if row["name"] == name]
    assert found, f"no row {name!r}"
    return dict(found[-1])


def _said(document: dict[str, Any]) -> dict[str, str]:
    parts = document["where"]["parts"]
    return {part["words"]: str(part["amount"]) for part in parts}


def _stats(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {stat["label"]: (str(stat["value"]), stat["note"]) for stat in document["stats"]}


def test_rows_stand_in_the_order_of_the_tree(document: dict[str, Any]) -> None:
    drawn = ["  " * row["depth"] + f"{row['letters']} {row['name']}" for row in document["rows"]]
    assert drawn == [
        "SOCK socket.io chat:user_message",
        "  STEP validate chat:user_message",
        "  SQL SELECT renovation_sessions",
        "  SQL SELECT chat_messages",
        "  SQL INSERT chat_messages",
        "  SOCK socket.io emit chat:message_ack",
        "  STEP invoke_agent renovation",
        "    STEP node agent",
        "      AI chat gemini-2.5-flash",
        "        HTTP POST generativelanguage.googleapis.com",
        "    STEP node tools",
        "      TOOL execute_tool get_style_examples",
        "        KV GET style:{key}",
        "        SQL SELECT style_catalog",
        "      TOOL execute_tool save_checklist_state",
        "        SQL UPDATE renovation_sessions",
        "    STEP node agent",
        "      AI chat gemini-2.5-flash",
        "        HTTP POST generativelanguage.googleapis.com",
        "  SQL INSERT chat_messages",
        "  JOB enqueue render_room_document",
    ]


def test_words_say_where_the_time_went_and_add_up(document: dict[str, Any]) -> None:
    assert str(document["where"]["total"]) == "8.21 s"
    assert _said(document) == {
        "waiting for the model": "2.87 s",
        "streaming the answer": "2.91 s",
        "SELECT style_catalog": "2.30 s",
        "everything else": "0.13 s",
    }


def test_model_call_owns_the_wait_of_its_http_request(document: dict[str, Any]) -> None:
    request = _row(document, "POST generativelanguage.googleapis.com")
    call = _row(document, "chat gemini-2.5-flash")
    assert (request["waited_ns"], call["waited_ns"]) == (0, 3512 * MS)


def test_model_call_is_divided_at_its_first_chunk(document: dict[str, Any]) -> None:
    call = _row(document, "chat gemini-2.5-flash")
    assert call["first_chunk_ns"] == (4673 + 973) * MS
    of_call = [piece for piece in document["path"] if piece["span_id"] == call["id"]]
    assert [(piece["is_flow"], piece["duration_ns"]) for piece in of_call] == [
        (False, 973 * MS),
        (True, (3512 - 973) * MS),
    ]


def test_parallel_tool_that_ended_early_is_not_on_the_path(document: dict[str, Any]) -> None:
    assert _row(document, "execute_tool save_checklist_state")["waited_ns"] == 0
    assert _row(document, "SELECT style_catalog")["waited_ns"] == 2296 * MS


def test_path_is_drawn_under_what_mattered_only(document: dict[str, Any]) -> None:
    drawn = [row["name"] for row in document["rows"] if row["path"]]
    assert drawn == [
        "chat gemini-2.5-flash",
        "SELECT style_catalog",
        "chat gemini-2.5-flash",
    ]


def test_first_token_stands_on_the_call_that_made_it(document: dict[str, Any]) -> None:
    mark = document["first_token"]
    assert (mark["offset_ns"], str(mark["amount"])) == (5650 * MS, "5.65 s")
    calls = [row for row in document["rows"] if row["letters"] == "AI"]
    assert [row["is_first_token_here"] for row in calls] == [False, True]


def test_first_token_of_a_turn_inside_a_trace_counts_from_that_turn() -> None:
    story = Story()
    root = story.add("first message", "", 0, 500)
    facts = {**SOCKET, "turntrace.turn.outcome": "ok", "turntrace.turn.first_token_ms": 161.0}
    story.add("socket.io chat:user_message", root, 157, 313, facts)
    mark = turn_document(story.spans)["first_token"]
    assert (str(mark["after"]), str(mark["amount"])) == ("161 ms", "318 ms")


def test_long_single_wait_is_pointed_out(document: dict[str, Any]) -> None:
    assert _row(document, "SELECT style_catalog")["facts"] == ["28% of the turn"]


def test_failure_says_its_type_first(document: dict[str, Any]) -> None:
    row = _row(document, "execute_tool save_checklist_state")
    assert row["is_error"]
    assert row["facts"] == ["error OperationalError"]


def test_stats_say_what_the_turn_used(document: dict[str, Any]) -> None:
    assert _stats(document) == {
        "Tokens in": ("8,282", "4,141 cached, 50%"),
        "Tokens out": ("364", "40 of them reasoning"),
        "Cost": ("$0.00201", "estimated"),
        "Iterations": ("2", "2 model calls"),
        "Tools": ("2 calls", ""),
        "Database": ("2.38 s", "7 statements"),
    }


def test_summary_of_a_turn_is_not_added_to_what_it_sums_up() -> None:
    story = Story()
    turn = story.add("turn", "", 0, 100, {"turntrace.turn.input_tokens": 30})
    story.add("chat", turn, 0, 50, chat(10, 1, 0.1, 0.01))
    story.add("chat", turn, 50, 50, chat(20, 1, 0.1, 0.01))
    assert _stats(turn_document(story.spans))["Tokens in"][0] == "30"


def test_work_that_ended_after_the_summary_is_counted_too() -> None:
    story = Story()
    turn = story.add("turn", "", 0, 100, {"turntrace.turn.db_statements": 1})
    for number in range(3):
        story.add("SELECT a", turn, number * 60, 50, SQL)
    assert _stats(turn_document(story.spans))["Database"] == ("150 ms", "3 statements")


def test_many_short_calls_are_a_part_of_their_own() -> None:
    story = Story()
    turn = story.add("turn", "", 0, 1000)
    for number in range(100):
        story.add(f"SELECT table_{number}", turn, number * 10, 9, SQL)
    assert _said(turn_document(story.spans))["short database calls"] == "0.90 s"


def test_own_time_of_a_span_with_children_is_said_to_be_its_own() -> None:
    story = Story()
    turn = story.add("turn", "", 0, 1000)
    run = story.add("execute_tool dream", turn, 0, 1000, tool("dream"))
    story.add("SELECT a", run, 900, 100, SQL)
    assert _said(turn_document(story.spans)) == {
        "execute_tool dream itself": "0.90 s",
        "SELECT a": "0.10 s",
    }


def test_ids_phase_models_and_reason_are_said(document: dict[str, Any]) -> None:
    assert document["ids"] == [
        {
            "key": "session.id",
            "label": "session",
            "value": "5f1c9e2a-7b40-4d1e-9a63-0c8e51d7f2b4",
        }
    ]
    assert document["phase"] == "CHECKLIST"
    assert document["models"] == ["gemini-2.5-flash"]
    assert document["kept_because"] == "ai"
    assert document["withheld"] == 3


def test_link_to_the_connection_is_named(document: dict[str, Any]) -> None:
    (link,) = document["links"]
    assert (link["trace_id"], link["span_id"]) == ("11" * 16, "22" * 8)
    assert (link["kind"], link["words"]) == ("socket", "the connection")


def test_span_of_another_service_says_so() -> None:
    story = Story()
    call = story.add("POST backend", "", 0, 10, HTTP, service="client")
    story.add("POST /api/sessions", call, 1, 8, HTTP, service="backend")
    document = turn_document(story.spans)
    assert [row["service"] for row in document["rows"]] == ["", "backend"]
    assert document["services"] == ["client", "backend"]


# ---- Turns that are not whole ----------------------------------------------------------------


def test_turn_without_root_is_running() -> None:
    document = turn_document(eight_seconds().spans[1:])
    assert document["is_running"]
    assert document["outcome"] == "running"
    assert document["counts"]["orphans"] == 8


def test_turn_whose_client_is_not_here_is_over_when_its_summary_is() -> None:
    spans = eight_seconds().spans
    spans[0] = replace(spans[0], parent_span_id="ee" * 8)
    document = turn_document(spans)
    assert not document["is_running"]
    assert document["outcome"] == "ok"
    assert not document["rows"][0]["is_orphan"]
    assert (document["counts"]["called"], document["counts"]["orphans"]) == (1, 0)


def test_browser_s_first_message_is_named_after_the_turn_and_not_what_came_before() -> None:
    story = Story()
    story.add("POST /api/sessions", "ee" * 8, 0, 9, HTTP)
    story.add("socket.io chat:join_session", "ee" * 8, 10, 4, {"turntrace.turn.outcome": "ok"})
    turn = story.add(
        "socket.io chat:user_message",
        "ee" * 8,
        20,
        300,
        {"turntrace.turn.outcome": "ok", "turntrace.turn.model_calls": 2},
    )
    story.spans = [replace(span, flags=0x300) for span in story.spans]
    document = turn_document(story.spans)
    assert document["name"] == "socket.io chat:user_message"
    assert (document["root_id"], document["outcome_span_id"]) == (turn, turn)
    assert (document["counts"]["called"], document["counts"]["orphans"]) == (3, 0)
    assert not document["is_running"]


def test_browser_s_turn_is_running_as_long_as_its_own_spans_wait_for_their_parent() -> None:
    story = Story()
    request = story.add("POST /api/sessions", "ee" * 8, 0, 9, HTTP)
    story.add("SELECT chat_messages", "dd" * 8, 20, 1)
    story.spans = [
        replace(span, flags=0x300 if span.span_id == request else 0x100) for span in story.spans
    ]
    document = turn_document(story.spans)
    assert document["is_running"]
    assert (document["counts"]["called"], document["counts"]["orphans"]) == (1, 1)


def test_trace_that_is_no_turn_has_no_outcome() -> None:
    story = Story()
    story.add("socket.io connect /", "", 0, 3, SOCKET)
    document = turn_document(story.spans)
    assert (document["outcome"], document["is_running"]) == ("", False)


def test_worst_outcome_of_a_trace_is_its_outcome() -> None:
    story = Story()
    root = story.add("client", "", 0, 10, {"turntrace.turn.outcome": "ok"})
    inner = story.add("event", root, 1, 5, {"turntrace.turn.outcome": "error"})
    story.add("event", root, 6, 3, {"turntrace.turn.outcome": "cancelled"})
    document = turn_document(story.spans)
    assert (document["outcome"], document["outcome_span_id"]) == ("error", inner)


def test_answer_given_after_the_handler_returned_is_part_of_the_turn() -> None:
    story = Story()
    turn = story.add("socket.io chat", "", 0, 5, SOCKET)
    story.add("chat", turn, 4, 2000, chat(1, 1, 0, 0.5))
    document = turn_document(story.spans)
    assert str(document["duration"]) == "2.00 s"
    assert _said(document)["streaming the answer"] == "1.50 s"


def test_child_of_another_day_is_no_part_of_the_turn_and_does_not_flatten_it() -> None:
    story = Story()
    turn = story.add("turn", "", 0, 50, {"turntrace.turn.outcome": "ok"})
    story.add("in time", turn, 10, 45)
    story.add("next day", turn, 86_400_000, 5, chat(1, 1, 0, 0.001))
    document = turn_document(story.spans)
    assert document["window"] == {"start_ns": 0, "end_ns": 55 * MS}
    assert document["axis_ns"] == 55 * MS
    assert str(document["duration"]) == "55 ms"
    assert (str(document["total"]["amount"]), document["total"]["note"]) == (
        "50 ms",
        "trace: 55 ms",
    )
    late = _row(document, "next day")
    assert late["facts"][0] == "began 24.0 h after the turn"
    assert (late["offset_ns"], late["duration_ns"], str(late["duration"])) == (55 * MS, 0, "5.0 ms")


def test_span_a_little_too_late_is_drawn_where_it_was() -> None:
    story = Story()
    turn = story.add("first message", "", 0, 100_000, {"turntrace.turn.outcome": "ok"})
    story.add("late", turn, 100_000 + 160_001, 5)
    document = turn_document(story.spans)
    late = _row(document, "late")
    assert document["window"]["end_ns"] == 100_000 * MS
    assert document["axis_ns"] == 260_006 * MS
    assert (late["offset_ns"], late["duration_ns"]) == (260_001 * MS, 5 * MS)
    assert late["facts"] == ["began 2.7 min after the turn"]


@pytest.mark.parametrize(("pause", "is_part"), [(60_005, True), (60_006, False)])
def test_work_handed_on_may_pause_for_a_minute_and_not_longer(pause: int, is_part: bool) -> None:
    story = Story()
    turn = story.add("socket.io chat", "", 0, 5, {"turntrace.turn.outcome": "ok"})
    story.add("a", turn, 50_000, 10)
    story.add("b", turn, 50_010 + pause, 1)
    end = 50_011 + pause if is_part else 50_010
    assert turn_document(story.spans)["window"]["end_ns"] == end * MS


def test_turn_that_runs_may_pause_as_long_as_it_likes() -> None:
    story = Story()
    story.add("a", "ee" * 8, 0, 5)
    story.add("b", "ee" * 8, 600_000, 5)
    assert turn_document(story.spans)["window"]["end_ns"] == 600_005 * MS


def test_total_of_a_trace_with_one_turn_is_that_turn_s_and_the_trace_s_beside_it() -> None:
    story = Story()
    root = story.add("first message", "", 0, 529, {"turntrace.turn.outcome": "ok"})
    facts = {"turntrace.turn.outcome": "ok", "turntrace.turn.model_calls": 1}
    story.add("socket.io chat:user_message", root, 30, 480, facts)
    total = turn_document(story.spans)["total"]
    assert (str(total["amount"]), total["note"]) == ("480 ms", "trace: 529 ms")


def test_total_of_a_turn_that_handed_its_work_on_is_until_the_work_was_done() -> None:
    story = Story()
    facts = {"turntrace.turn.outcome": "ok", "turntrace.turn.model_calls": 1}
    turn = story.add("socket.io chat", "", 0, 5, facts)
    story.add("chat", turn, 4, 2000, chat(1, 1, 0, 0.5))
    total = turn_document(story.spans)["total"]
    assert (str(total["amount"]), total["note"]) == ("2.00 s", "")


def test_span_that_began_before_its_root_moves_the_axis_but_not_the_turn() -> None:
    story = Story()
    turn = story.add("turn", "", 100, 1000)
    story.add("POST /skewed", turn, 0, 50, HTTP)
    document = turn_document(story.spans)
    assert str(document["duration"]) == "1.00 s"
    assert document["axis_ns"] == 1100 * MS
    assert document["window"] == {"start_ns": 100 * MS, "end_ns": 1100 * MS}


def test_link_to_the_own_trace_is_no_link_elsewhere() -> None:
    story = Story()
    own = StoredLink(trace_id=story.trace_id, span_id="33" * 8)
    story.add("turn", "", 0, 10, links=(own,))
    assert turn_document(story.spans)["links"] == []


# ---- Hostile traces --------------------------------------------------------------------------


def test_circle_of_parents_is_cut_and_drawn_once() -> None:
    story = Story()
    story.add("a", "0" * 15 + "2", 0, 10)
    story.add("b", "0" * 15 + "1", 2, 5)
    document = turn_document(story.spans)
    assert [(row["name"], row["depth"]) for row in document["rows"]] == [("a", 0), ("b", 1)]


def test_span_that_ended_before_it_began_took_no_time() -> None:
    story = Story()
    turn = story.add("turn", "", 0, 10)
    story.add("backwards", turn, 8, -5)
    assert str(_row(turn_document(story.spans), "backwards")["duration"]) == "0 µs"


def test_number_without_meaning_is_not_shown() -> None:
    story = Story()
    facts = {**chat(1, 1, 0, 0), "gen_ai.usage.input_tokens": "many", "ai.cost.estimated_usd": -3}
    facts["gen_ai.response.time_to_first_chunk"] = 1e300
    facts["turntrace.turn.first_token_ms"] = True
    story.add("chat", "", 0, 10, facts)
    document = turn_document(story.spans)
    assert document["first_token"] is None
    assert document["rows"][0]["first_chunk_ns"] is None
    assert set(_stats(document)) == {"Tokens out"}


def test_name_is_cut_and_on_one_line_but_never_changed_otherwise() -> None:
    story = Story()
    story.add(HOSTILE + "\n" + "x" * 10_000, "", 0, 10)
    (row,) = turn_document(story.spans)["rows"]
    assert row["name"].startswith(HOSTILE + " xxx")
    assert len(row["name"]) == 300


def test_every_outcome_word_of_others_is_carried_as_text() -> None:
    story = Story()
    story.add("turn", "", 0, 10, {"turntrace.turn.outcome": HOSTILE})
    assert turn_document(story.spans)["outcome"] == HOSTILE


def test_offsets_count_from_the_earliest_of_the_spans_that_stay() -> None:
    story = Story()
    story.add("first, seen again later", "", 0, 1)
    story.add("between", "", 60_000, 1)
    spans = [*story.spans, replace(story.spans[0], start_ns=story.spans[1].start_ns + 1)]
    document = turn_document(spans)
    assert [row["offset_ns"] for row in document["rows"]] == [0, 1]


_IDS = st.integers(1, 8).map(lambda number: f"{number:016x}")
_MOMENTS = st.one_of(st.integers(0, 2**63 - 1), st.integers(START_NS, START_NS + 10**10))
_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
_KEYS = st.sampled_from(
    [
        "gen_ai.operation.name",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.usage.input_tokens",
        "turntrace.turn.first_token_ms",
        "turntrace.turn.outcome",
        "ai.model",
        "db.system.name",
        "messaging.system",
        "error.type",
    ]
)


@st.composite
def _spans(draw: st.DrawFn) -> StoredSpan:
    return StoredSpan(
        trace_id="ab" * 16,
        span_id=draw(_IDS),
        parent_span_id=draw(st.one_of(st.just(""), _IDS)),
        name=draw(st.text(max_size=4)),
        start_ns=draw(_MOMENTS),
        end_ns=draw(_MOMENTS),
        status_code=draw(st.sampled_from(["unset", "ok", "error"])),
        attributes=draw(st.dictionaries(_KEYS, _VALUES, max_size=4)),
        service="any",
    )


@given(st.lists(_spans(), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_no_trace_is_refused_and_each_of_its_spans_is_one_row(spans: list[StoredSpan]) -> None:
    document = turn_document(spans)
    msgspec.json.encode(document)
    drawn = [row["id"] for row in document["rows"]]
    assert sorted(drawn) == sorted({span.span_id for span in spans})
    window = document["window"]
    total_ns = sum(piece["duration_ns"] for piece in document["path"])
    assert total_ns == window["end_ns"] - window["start_ns"]


@given(st.lists(_spans(), min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_document_does_not_depend_on_the_order_of_the_spans(
    spans: list[StoredSpan], random: Any
) -> None:
    unique = list({span.span_id: span for span in spans}.values())
    mixed = random.sample(unique, len(unique))
    assert msgspec.json.encode(turn_document(mixed)) == msgspec.json.encode(turn_document(unique))


def test_trace_of_many_spans_is_bounded_in_what_is_drawn() -> None:
    document = turn_document(make_long_turn(MAX_ROWS + 500).spans)
    assert len(document["rows"]) == MAX_ROWS
    assert document["counts"]["left_out"] == 500
    assert len(document["path"]) <= 1000


def test_time_grows_with_the_spans_and_not_with_their_square() -> None:
    def seconds(count: int) -> float:
        spans = make_long_turn(count).spans
        started = time.process_time()
        turn_document(spans)
        return time.process_time() - started

    seconds(100)
    assert seconds(8000) < 8000 / 1000 * max(seconds(1000), 0.01) * 4
