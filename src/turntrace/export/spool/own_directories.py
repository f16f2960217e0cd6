"""Which directories this process writes to: one now, and those that it is giving up."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from turntrace.export.spool.directory import SpoolDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turntrace.export.spool.own_backlog import OwnBacklog

MAX_HANDED_OVER: Final = 64
"""While so many wait for another process, there is no further one: each costs looks."""


class OwnDirectories:
    """The directory in which this process makes its segments, and its predecessors.

    A forked child has none until it first appends.

    Args:
        parent: Where directories are made.
        make: Makes the books of a new one.
    """

    def __init__(self, parent: Path, make: Callable[[SpoolDirectory], OwnBacklog]) -> None:
        self._parent = parent
        self._make = make
        self.current: OwnBacklog | None = None
        self._leaving: list[OwnBacklog] = []  # as soon as the last one who writes there has left
        self._handed_over: set[str] = set()

    # What the writer asks for, in whatever thread appends.

    def enter(self) -> OwnBacklog:
        """Return where segments are made; it is not given up before its `OwnBacklog.leave`.

        Raises:
            FileNotFoundError: There is none yet.
        """
        while (current := self.current) is not None:
            current.enter()
            if self.current is current:
                return current
            current.leave()
        raise FileNotFoundError(errno.ENOENT, "there is no directory yet")

    def renew(self) -> None:
        """Make a directory: the first one, or instead of one that was deleted.

        Only the thread that rolls calls it.

        Raises:
            SpoolError: The directory above belongs to another user.
            OSError: It cannot be made.
        """
        directory = SpoolDirectory.create(self._parent)
        current = self.current
        if current is None:
            self.current = self._make(directory)
        else:
            current.former.append(current.directory)
            current.directory = directory

    # The reading thread's side.

    def let_go(self) -> None:
        """Make further segments in another directory, unless nobody takes the former ones.

        Raises:
            SpoolError: The directory above belongs to another user.
            OSError: It cannot be made; all is as it was.
        """
        self._handed_over = {name for name in self._handed_over if (self._parent / name).exists()}
        if len(self._handed_over) >= MAX_HANDED_OVER:
            return
        following = self._make(SpoolDirectory.create(self._parent))
        # In this order, who looks at this moment finds one that is left, perhaps in both places.
        if self.current is not None:
            self._leaving.append(self.current)
        self.current = following

    def give_up_quiet(self) -> None:
        """Give the locks up of what nobody writes to any more."""
        done = [backlog for backlog in self._leaving if backlog.is_given_up()]
        self._leaving = [backlog for backlog in self._leaving if backlog not in done]
        for backlog in done:
            self._handed_over.update(directory.name for directory in backlog.directories())

    def all(self) -> list[OwnBacklog]:
        """Return what is not given up yet, the oldest first; from any thread."""
        current = self.current  # first (see `let_go`)
        leaving = list(self._leaving)
        return leaving if current is None or current in leaving else [*leaving, current]

    def names(self) -> set[str]:
        """Return the names of the directories that are this process's, or were."""
        held = {directory.name for backlog in self.all() for directory in backlog.directories()}
        return held | self._handed_over

    def forget(self) -> None:
        """Know of none, in a forked child, and touch none: they are the parent's."""
        for backlog in self.all():
            for directory in backlog.directories():
                directory.forget()
        self.current, self._leaving, self._handed_over = None, [], set()
