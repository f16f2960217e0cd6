"""Finds what dead processes have left: directories that nobody holds the lock of."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from turntrace.export.spool.directory import SpoolDirectory, sweep_unborn
from turntrace.export.spool.quarantine import QUARANTINE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

MAX_ADOPTED: Final = 64
"""Directories held at a time; further ones come when these are done."""


def orphans(parent: Path, not_these: Collection[str]) -> Iterator[SpoolDirectory]:
    """Yield directories in ``parent`` whose process is dead, the oldest first, locked by now.

    ``parent`` is that of one key, so nothing is ever sent with another account's headers. Of
    several processes that look at the same time, one gets each.
    """
    sweep_unborn(parent)
    for path in directories(parent):
        if path.name not in not_these:
            found = SpoolDirectory.adopt(path)
            if found is not None:
                yield found


def directories(parent: Path) -> list[Path]:
    """Return the directories of processes in ``parent``, the oldest first."""
    aged = []
    with contextlib.suppress(OSError):
        for path in parent.iterdir():
            if path.name != QUARANTINE and not path.name.startswith("."):
                with contextlib.suppress(OSError):  # somebody has just removed it
                    if path.is_dir() and not path.is_symlink():
                        aged.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(aged)]
