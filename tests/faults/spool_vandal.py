"""What becomes of files: tears, flips and deletes segments under a spool that is in use."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

HOW: Final = ("torn", "flipped", "deleted")


def segments(root: Path) -> list[Path]:
    """Return every segment under the root of a spool, the oldest first."""
    return sorted(root.glob("*/*-*/*.seg"), key=lambda path: path.name)


def damage(path: Path, how: str, seed: int = 0) -> None:
    """Do to a segment what ``how`` says; a torn one loses its second half."""
    if how == "deleted":
        path.unlink()
        return
    size = path.stat().st_size
    if how == "torn":
        os.truncate(path, size // 2)
        return
    # A place that holds spans, behind header and tables; the file is written to while we do it.
    place = random.Random(seed).randrange(size // 4, size // 2)
    with path.open("r+b") as file:
        file.seek(place)
        (was,) = file.read(1)
        file.seek(place)
        file.write(bytes([was ^ 0x10]))
