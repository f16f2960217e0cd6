"""Counting without a lock: ``next`` of an ``itertools.count`` is atomic for threads and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import itertools


def ticks(counter: itertools.count[int]) -> int:
    """Return how often ``next`` was called on a count from 0; only the repr tells without a tick.

    Example:
        >>> import itertools
        >>> counter = itertools.count()
        >>> next(counter), next(counter), ticks(counter)
        (0, 1, 2)
    """
    return int(repr(counter)[6:-1])
