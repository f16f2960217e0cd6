"""Names that stand in the code, and names that were put together."""

from __future__ import annotations

import enum
import sys
from typing import Any

import pytest

from turntrace.literals import is_literal

CONSTANT = "of the module"


class Events:
    """Names as many apps keep them."""

    ACK = "of a class"


class Phase(enum.StrEnum):
    PLAN = "plan"

    @classmethod
    def _missing_(cls, value: object) -> Phase:
        made_up = str.__new__(cls, value)
        made_up._name_, made_up._value_ = "PLAN", str(value)
        return made_up


class Mapped:
    """An attribute that cannot be compared, as those of an ORM."""

    class _Attribute:
        def __eq__(self, other: object) -> bool:
            raise TypeError

        __hash__ = None

    children = _Attribute()


class OddText(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def ask(text: str, frames: int = 1) -> bool:
    return is_literal(text, sys._getframe(1), frames=frames)


def helper(text: str, frames: int) -> bool:
    return ask(text, frames)


def test_constants_of_the_calling_code_are_found() -> None:
    assert ask("right here")
    assert ask(Phase.PLAN)
    for name in ("in a", "tuple"):
        assert ask(name)


@pytest.mark.parametrize("text", ["depyt"[::-1], f"{1 + 1} words", "x" * 3 + "y"])
def test_text_that_was_put_together_is_not(text: str) -> None:
    assert not ask(text)


def test_a_variable_may_hold_anything() -> None:
    assert not ask(CONSTANT)
    assert not ask(Events.ACK)


def test_a_member_that_an_enum_makes_up_for_a_value_is_no_constant() -> None:
    assert not ask(Phase("depyt"[::-1]))


def test_what_the_calling_code_names_is_not_compared() -> None:
    assert Mapped.children is not None
    assert not ask("dedaol"[::-1])
    assert not ask(OddText("depyt"[::-1]))


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
