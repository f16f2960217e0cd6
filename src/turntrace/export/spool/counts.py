"""What became of every span that went through the spool."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _none() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolCounts:
    """The books at one moment.

    ``appended + adopted == acknowledged + sum(dropped.values()) + unacknowledged + draining +
    handed_over``, whenever no other thread is inside the spool.
    """

    appended: int = 0
    """Spans whose `Spool.append` returned a position."""

    adopted: int = 0
    """Spans of dead processes, from when they are first read, or dropped unread."""

    acknowledged: int = 0
    """Spans that `Spool.acknowledge` was told of."""

    unacknowledged: int = 0
    """Spans on disk that this process answers for."""

    draining: int = 0
    """Spans that wait in memory for a slow disk."""

    delayed: int = 0
    """Spans that ever did; each is in another count, too."""

    handed_over: int = 0
    """Spans that another process answers for, since `Spool.let_go`."""

    dropped: Mapping[str, int] = field(default_factory=_none)
    """Spans given up: ``cap`` (disk bound), ``unanswered`` (no collector ever answered and newer
    ones came), ``damaged``, ``deleted`` (written, and not found again), ``unreadable``,
    ``slow_disk`` (not written yet when the spool was closed)."""

    dropped_of_others: int = 0
    """Spans of dead processes that had to go because the root was full, and that this process
    would not have sent. In no other count."""

    refused: Mapping[str, int] = field(default_factory=_none)
    """Appends, starts included, that returned None: ``disk_full``, ``io_error``, ``cap``,
    ``closed``, ``slow_disk``. Whoever called still has the span. In no other count."""

    failures: Mapping[str, int] = field(default_factory=_none)
    """Failed writes of segments and checkpoints, by the name of the error: ``ENOSPC``."""

    damaged: Mapping[str, int] = field(default_factory=_none)
    """Damaged stretches by `DamageReason`, torn tails (``torn``), checkpoints (``checkpoint``)."""

    quarantined: int = 0
    """Damaged segments that were put aside when everything readable had been acknowledged."""

    newer: int = 0
    """Segments of a later version, left as they are."""

    unknown: int = 0
    """Intact records of kinds that this version does not know."""


class Books:
    """The counts that the reading thread keeps; anybody may look.

    The lock is reentrant and held for some instructions only: a signal handler may look, too.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.appended_and_gone = 0
        """Of own segments that are not on disk any more."""
        self.adopted = 0
        self.acknowledged = 0
        self.handed_over = 0
        self.dropped: Counter[str] = Counter()
        self.dropped_of_others = 0
        self.damaged: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.quarantined = 0
        self.newer = 0
        self.unknown = 0
