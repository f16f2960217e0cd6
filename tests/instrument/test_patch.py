"""Claims about reversible wrapping."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import wrapt

from turntrace.instrument.patch import Patches


class Base:
    async def work(self, value: int) -> int:
        return value


class Child(Base):
    pass


def doubling(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    (value,) = args
    return wrapped(value * 2, **kwargs)


async def test_undo_restores_exactly_what_stood_there() -> None:
    before = vars(Base)["work"]
    patches = Patches()
    patches.wrap(Base, "work", doubling)
    assert await Base().work(1) == 2
    patches.undo()
    assert vars(Base)["work"] is before


async def test_undo_takes_an_inherited_method_off_the_subclass() -> None:
    patches = Patches()
    patches.wrap(Child, "work", doubling)
    assert (await Child().work(1), await Base().work(1)) == (2, 1)
    patches.undo()
    assert "work" not in vars(Child)


async def test_undo_below_somebody_else_s_wrapper_makes_ours_transparent() -> None:
    before = vars(Base)["work"]
    ours, theirs = Patches(), Patches()
    ours.wrap(Base, "work", doubling)
    theirs.wrap(Base, "work", doubling)
    ours.undo()
    assert await Base().work(1) == 2
    theirs.undo()
    assert await Base().work(1) == 1
    Base.work = before


async def test_a_bound_method_kept_from_before_undo_is_transparent() -> None:
    patches = Patches()
    patches.wrap(Base, "work", doubling)
    kept = Base().work
    patches.undo()
    assert await kept(1) == 1


async def test_undo_twice_is_harmless() -> None:
    patches = Patches()
    patches.wrap(Base, "work", doubling)
    patches.undo()
    patches.undo()
    assert not isinstance(vars(Base)["work"], wrapt.FunctionWrapper)


async def test_signature_and_coroutine_ness_are_kept() -> None:
    patches = Patches()
    before = inspect.signature(Base.work)
    patches.wrap(Base, "work", doubling)
    assert inspect.signature(Base.work) == before
    assert inspect.iscoroutinefunction(Base().work)
    patches.undo()


def test_a_method_that_is_not_there_raises() -> None:
    with pytest.raises(AttributeError):
        Patches().wrap(Base, "absent", doubling)
