"""Reversible wrapping of other libraries' functions."""

from __future__ import annotations

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
        self._done: list[tuple[Any, str, Any, bool]] = []

    def wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        """Wrap ``owner.name``.

        Raises:
            AttributeError: ``owner`` has no such function.
        """
        is_own = name in vars(owner)
        original = vars(owner)[name] if is_own else getattr(owner, name)
        wrapped = wrapt.FunctionWrapper(original, wrapper)
        setattr(owner, name, wrapped)
        self._done.append((owner, name, wrapped, is_own))

    def undo(self) -> None:
        """Take every wrapper off again, last one first."""
        while self._done:
            owner, name, wrapped, is_own = self._done.pop()
            if vars(owner).get(name) is not wrapped:
                wrapped._self_enabled = False  # noqa: SLF001 - wrapt's switch for this
            elif is_own:
                setattr(owner, name, wrapped.__wrapped__)
            else:
                delattr(owner, name)
