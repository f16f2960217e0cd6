"""Where damaged segments go when all that was readable in them is acknowledged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from turntrace.export.spool.place import make_private

if TYPE_CHECKING:
    from pathlib import Path

    from turntrace.export.spool.counts import Books

MAX_QUARANTINED: Final = 8
QUARANTINE: Final = "quarantine"


class Quarantine:
    """Keeps the newest `MAX_QUARANTINED` damaged segments of one key, for whoever wants to look."""

    def __init__(self, parent: Path, books: Books) -> None:
        self._path = parent / QUARANTINE
        self._books = books

    def take(self, segment: Path, directory: str) -> None:
        """Move ``segment`` here; it is deleted if that is not possible.

        Raises:
            OSError: It can neither be moved nor deleted.
        """
        try:
            make_private(self._path)
            segment.rename(self._path / f"{directory}-{segment.name}")
        except FileNotFoundError:
            return
        except OSError:
            segment.unlink(missing_ok=True)
            return
        with self._books.lock:
            self._books.quarantined += 1
        with contextlib.suppress(OSError):
            kept = sorted(self._path.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in kept[:-MAX_QUARANTINED]:
                path.unlink(missing_ok=True)
