"""Lets what has a thread and a lock begin with nothing in a forked child."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol


class Forkable(Protocol):
    """Something that a forked child inherits in the middle of whatever its parent was doing."""

    def after_fork_in_child(self) -> None:
        """Begin with nothing; there is no other thread."""
        ...


_LIVING: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()


def restart_after_fork(it: Forkable) -> None:
    """Let ``it`` begin anew in each forked child, for as long as somebody else holds it."""
    _LIVING.add(it)


def _restart_in_child() -> None:
    for it in list(_LIVING):
        it.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_in_child)
