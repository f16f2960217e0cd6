"""The summary of a turn: what it counts, and which outcome it comes to."""

from __future__ import annotations

import pytest

from turntrace import attributes as keys
from turntrace.record.turn_summary import CANCELLED, ERROR, OK, TurnSummary


@pytest.mark.parametrize(
    ("agents", "outcome"),
    [
        ([], OK),
        ([OK], OK),
        ([ERROR], ERROR),
        ([CANCELLED], CANCELLED),
        ([ERROR, OK], OK),  # a fallback answered
        ([CANCELLED, OK], OK),  # a second try answered
        ([OK, CANCELLED], OK),  # of two rivals the slower one was cancelled
        ([OK, ERROR], ERROR),
        ([ERROR, CANCELLED], CANCELLED),
    ],
)
def test_the_agents_of_a_turn_decide_its_outcome(agents: list[str], outcome: str) -> None:
    summary = TurnSummary()
    for ended in agents:
        summary.agent_ended(ended)
    assert summary.attributes()[keys.TURN_OUTCOME] == outcome


def test_how_the_handler_itself_ended_counts_more_than_its_agents() -> None:
    summary = TurnSummary()
    summary.agent_ended(OK)
    summary.outcome = CANCELLED
    assert summary.attributes()[keys.TURN_OUTCOME] == CANCELLED


def test_what_never_happened_is_left_out_and_unknown_is_not_zero() -> None:
    summary = TurnSummary()
    assert summary.attributes() == {keys.TURN_OUTCOME: OK}
    summary.used_tokens(10, None, None)
    summary.used_tokens(None, 5, 0.25)
    summary.used_database(1.5)
    values = summary.attributes()
    assert values[keys.TURN_INPUT_TOKENS] == 10
    assert values[keys.TURN_OUTPUT_TOKENS] == 5
    assert values[keys.TURN_COST_USD] == 0.25
    assert values[keys.TURN_DB_MS] == 1.5
    assert keys.TURN_FIRST_TOKEN_MS not in values


def test_only_the_first_token_is_timed() -> None:
    summary = TurnSummary()
    summary.emitted_token()
    first = summary.first_token_ms
    summary.emitted_token()
    assert summary.first_token_ms == first
    assert summary.tokens_emitted == 2
