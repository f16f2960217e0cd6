"""The paths by which content could leave, and the baits laid on each: texts that stand nowhere."""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from turntrace.testing.content import WINDOW, Canary, readings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MARK = "qz"
"""Stands at every eighth letter of a bait: whatever part of it is left holds one."""

ROWS = tuple(
    (Path(__file__).parents[1] / "data" / "leak_paths.txt").read_text(encoding="utf-8").splitlines()
)


@dataclass(frozen=True)
class Bait:
    """What one probe of one row puts where content goes; unmistakable, so a hit names its row."""

    row: str
    kind: str
    word: str
    """One word, as an identifier would be."""
    phrase: str
    """Several words, as somebody would type them."""

    @cached_property
    def canaries(self) -> tuple[Canary, ...]:
        # Any one word of the phrase is a leak, too, although shorter than what counts as a part.
        return Canary(self.word), Canary(self.phrase), *map(Canary, self.phrase.split())

    def is_in(self, texts: Iterable[str]) -> bool:
        seen = tuple(texts)
        return any(canary.is_in(seen) for canary in self.canaries)


def baited(content: str | bytes) -> tuple[str, ...]:
    """Return what of the readings of ``content`` can hold a bait: a search for many is then quick.

    Around each mark stand at most 12 letters of the least part that counts as found.
    """
    found = dict.fromkeys(
        text[max(0, at.start() - 2 * WINDOW) : at.start() + 2 * WINDOW]
        for text in readings(content)
        for at in re.finditer(MARK, text)
    )
    return tuple(found)


def bait(row: str, kind: str) -> Bait:
    """Make the bait of a row, the same in every run; never a constant of anybody's code."""
    source = random.Random(f"{row} {kind}")

    def letters(count: int) -> str:
        return "".join(source.choices(string.ascii_lowercase, k=count))

    parts = [f"{MARK}{letters(6)}" for _ in range(7)]
    return Bait(row, kind, "".join(parts[:3]), " ".join(parts[3:]))


class Probes:
    """One function for each row that it is about."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.by_row: dict[str, Callable[..., object]] = {}

    def __call__(self, row: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
        def add(probe: Callable[..., object]) -> Callable[..., object]:
            assert row not in self.by_row, f"{row}: two probes"
            self.by_row[row] = probe
            return probe

        return add

    def baits(self) -> dict[str, Bait]:
        return {row: bait(row, self.kind) for row in self.by_row}


bare_probe = Probes("bare")
backend_probe = Probes("backend")
