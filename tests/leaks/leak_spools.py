"""Keeps every segment that is ever spooled, however soon it is sent and removed."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

LOOK_SECONDS = 0.005


class SpoolsKept:
    """Gives each file under ``spools`` a second name in ``kept``, which stays."""

    def __init__(self, spools: Path, kept: Path) -> None:
        self.spools = spools
        self._kept = kept
        self._seen: set[int] = set()
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._kept.mkdir()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        for path in self.spools.rglob("*"):
            with suppress(FileNotFoundError):  # sent and removed just now
                found = path.stat()
                if path.is_file() and found.st_ino not in self._seen:
                    os.link(path, self._kept / f"{found.st_ino}{path.suffix}")
                    self._seen.add(found.st_ino)

    def content(self) -> bytes:
        return b"\n".join(path.read_bytes() for path in sorted(self._kept.iterdir()))
