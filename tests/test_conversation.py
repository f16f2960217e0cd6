"""Turns by hand: their names, their outcomes, and as decorators."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace

import turntrace
from turntrace.guard.schema import WITHHELD_NAME

if TYPE_CHECKING:
    from conftest import Recorded


def outcome(recorded: Recorded, name: str) -> object:
    return recorded.one(name).attributes["turntrace.turn.outcome"]


def test_a_turn_is_a_root_with_its_summary(recorded: Recorded) -> None:
    with turntrace.turn("by hand", **{"session.id": "s"}):
        turntrace.bind(user_id="u", room_id=None)
    values = recorded.one("by hand").attributes
    assert (values["session.id"], values["user.id"]) == ("s", "u")
    assert "room.id" not in values
    assert outcome(recorded, "by hand") == "ok"


def test_a_turn_decorates_a_coroutine_for_as_long_as_it_runs(recorded: Recorded) -> None:
    @turntrace.turn("decorated")
    async def answer(value: int) -> int:
        await asyncio.sleep(0)
        assert trace.get_current_span().is_recording()
        return value + 1

    async def both() -> list[int]:
        return await asyncio.gather(answer(1), answer(2))

    assert asyncio.run(both()) == [2, 3]
    assert recorded.names() == ["decorated", "decorated"]
    assert len({span.trace_id for span in recorded.spans}) == 2


def test_what_a_turn_ended_with_is_its_outcome(recorded: Recorded) -> None:
    with pytest.raises(KeyError), turntrace.turn("failed"):
        raise KeyError
    with pytest.raises(asyncio.CancelledError), turntrace.turn("left"):
        raise asyncio.CancelledError
    assert outcome(recorded, "failed") == "error"
    assert recorded.one("failed").attributes["error.type"] == "KeyError"
    assert outcome(recorded, "left") == "cancelled"


def test_names_that_stand_as_constants_in_the_code_leave(recorded: Recorded) -> None:
    with turntrace.turn("in the function"):
        pass
    assert recorded.names() == ["in the function"]


def test_a_name_that_a_user_typed_does_not_leave(recorded: Recorded) -> None:
    typed = "-".join(f"word{number}" for number in range(3))
    with turntrace.turn(typed):
        pass
    with turntrace.turn(f"turn of {typed}"):
        pass
    with turntrace.turn("constant") as span:
        span.update_name(typed)
    assert recorded.names() == ["turn", "turn", WITHHELD_NAME]


def test_turns_within_turns_count_for_themselves(recorded: Recorded) -> None:
    with turntrace.turn("outer"), turntrace.turn("inner"):
        pass
    assert recorded.tree() == ["outer", "  inner"]
