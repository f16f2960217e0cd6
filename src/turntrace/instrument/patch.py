"""Reversible wrapping of other libraries' functions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable

    Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
    """``(wrapped, instance, args, kwargs) -> result``"""


class Patches:
    """The wrapped functions of one instrumentation, in the order they were put on.

    ``wrap`` keeps signature, coroutine-ness and pickling (wrapt does). ``undo`` restores exactly
    what stood there; where somebody else wrapped ours meanwhile, ours becomes transparent.
    """

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, bool, list[str]]] = []

    def wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        """Wrap ``owner.name``.

        Raises:
            AttributeError: ``owner`` has no such function.
        """
        is_own = name in vars(owner)
        original = vars(owner)[name] if is_own else getattr(owner, name)
        # wrapt asks at each call (0.06 us): false once ours is to be transparent.
        switch = [name]
        wrapped = wrapt.FunctionWrapper(original, wrapper, enabled=partial(bool, switch))
        setattr(owner, name, wrapped)
        self._done.append((owner, name, wrapped, is_own, switch))

    def undo(self) -> None:
        """Take every wrapper off again, last one first."""
        while self._done:
            owner, name, wrapped, is_own, switch = self._done.pop()
            # Also for those who kept a bound method of it: uninstrumented means nothing runs.
            switch.clear()
            if vars(owner).get(name) is not wrapped:
                continue
            if is_own:
                setattr(owner, name, wrapped.__wrapped__)
            else:
                delattr(owner, name)
