"""Names that stand in the code, and names that were put together."""

from __future__ import annotations

import enum
import sys
from typing import Any

import pytest

from turntrace.literals import is_literal

CONSTANT = "of the module"
lower_case = "a variable of the module"


class Events:
    """Names as many apps keep them."""

    ACK = "of a class"


class Phase(enum.StrEnum):
    PLAN = "plan"


def ask(text: str, frames: int = 1) -> bool:
    return is_literal(text, sys._getframe(1), frames=frames)


def helper(text: str, frames: int) -> bool:
    return ask(text, frames)


def test_constants_of_the_calling_code_are_found() -> None:
    assert ask("right here")
    assert ask(CONSTANT)
    assert ask(Events.ACK)
    assert ask(Phase.PLAN)
    for name in ("in a", "tuple"):
        assert ask(name)


@pytest.mark.parametrize("text", ["depyt"[::-1], f"{1 + 1} words", "x" * 3 + "y"])
def test_text_that_was_put_together_is_not(text: str) -> None:
    assert not ask(text)


def test_a_variable_may_hold_anything() -> None:
    assert not ask(lower_case)


def test_a_helper_s_callers_are_looked_at_as_far_as_asked() -> None:
    assert not helper("two frames up", 1)
    assert helper("two frames up", 2)


async def test_awaiting_coroutines_are_callers_too() -> None:
    async def inner(text: str) -> bool:
        return ask(text, 3)

    async def outer(text: str) -> Any:
        return await inner(text)

    assert await outer("three frames up")
    assert not await outer("eerht"[::-1])
