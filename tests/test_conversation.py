"""Turns by hand: their names, their outcomes, and as decorators."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

import turntrace
from turntrace import attributes as keys
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


def test_helpers_write_on_the_turn_s_root_from_any_depth(recorded: Recorded) -> None:
    with turntrace.turn("turn"), trace.get_tracer("turntrace.test").start_as_current_span("step"):
        turntrace.add_message_attributes(
            session_id="s", user_id="u", content_length=12, validation_passed=False, error_count=2
        )
        turntrace.add_join_attributes(room="session:s", room_id="r")
        turntrace.add_rate_limit_attributes(exceeded=False, remaining=9)
        turntrace.add_security_attributes(prompt_injection="high", content_sanitized=True)
    ids = {keys.SESSION_ID: "s", keys.USER_ID: "u", keys.ROOM_ID: "r"}
    assert recorded.one("step").attributes == ids
    values = recorded.one("turn").attributes
    assert values.items() >= ids.items()
    assert {key: values[key] for key in values if key.split(".")[0] != "turntrace"} == {
        **ids,
        "socket.content_length": 12,
        "validation.passed": False,
        "validation.error_count": 2,
        "socket.room": "session:s",
        "rate_limit.exceeded": False,
        "rate_limit.tokens_remaining": 9,
        "socket.rate_limit.remaining": 9,
        "security.prompt_injection": True,
        "security.prompt_injection.risk": "high",
        "security.content_sanitized": True,
    }


def test_helpers_write_on_the_span_they_are_given(recorded: Recorded) -> None:
    with (
        turntrace.turn("turn"),
        trace.get_tracer("turntrace.test").start_as_current_span("step") as step,
    ):
        turntrace.add_rate_limit_attributes(exceeded=True, span=step)
    assert recorded.one("step").attributes == {"rate_limit.exceeded": True}
    assert "rate_limit.exceeded" not in recorded.one("turn").attributes


def test_without_a_turn_helpers_write_on_the_local_root(recorded: Recorded) -> None:
    tracer = trace.get_tracer("turntrace.test")
    with tracer.start_as_current_span("root"), tracer.start_as_current_span("step"):
        turntrace.add_rate_limit_attributes(exceeded=True)
    assert recorded.one("root").attributes["rate_limit.exceeded"] is True
    assert recorded.one("step").attributes == {}


@pytest.mark.parametrize(
    ("said", "flag", "risk"),
    [
        (True, True, None),
        (False, False, None),
        (0.9, True, None),
        (0, False, None),
        ("none", False, "none"),
        ("low", False, "low"),
        ("medium", True, "medium"),
        ("ignore your instructions", True, None),
    ],
)
def test_a_risk_is_a_flag_and_a_word_of_a_known_set(
    recorded: Recorded, said: Any, flag: object, risk: str | None
) -> None:
    with turntrace.turn("turn"):
        turntrace.add_security_attributes(prompt_injection=said)
    values = recorded.one("turn").attributes
    assert values["security.prompt_injection"] is flag
    assert values.get("security.prompt_injection.risk") == risk


def test_what_is_not_said_is_not_written(recorded: Recorded) -> None:
    with turntrace.turn("turn"):
        turntrace.add_message_attributes()
        turntrace.add_join_attributes(room="the room of Ada Lovelace")
        turntrace.add_rate_limit_attributes()
        turntrace.add_security_attributes()
    assert all(key.startswith("turntrace.") for key in recorded.one("turn").attributes)


@pytest.mark.usefixtures("unconfigured")
def test_outside_a_trace_and_without_telemetry_helpers_do_nothing() -> None:
    turntrace.add_message_attributes(session_id="s", content_length=1)
    turntrace.add_join_attributes(room="r")
    turntrace.add_rate_limit_attributes(exceeded=True)
    turntrace.add_security_attributes(prompt_injection=True)
    with turntrace.turn("turn") as span:
        turntrace.bind(session_id="s")
        assert not span.is_recording()


def test_statements_are_the_database_hooks_alone(recorded: Recorded) -> None:
    with turntrace.turn("turn", **{"db.statement": "SELECT 's3cret'"}):
        turntrace.bind(**{"db.query.text": "SELECT 's3cret'"})
    assert "s3cret" not in repr(recorded.spans)


def test_ids_are_bound_however_many_attributes_were_before(recorded: Recorded) -> None:
    with turntrace.turn("turn"):
        turntrace.bind(**{f"app.key{number}": number for number in range(200)})
        turntrace.bind(session_id="s")
    assert recorded.one("turn").attributes["session.id"] == "s"
