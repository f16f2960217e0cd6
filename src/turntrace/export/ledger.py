"""What became of every span: books that always add up."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from turntrace.export.transport.http_transport import Fate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turntrace.export.transport.http_transport import Outcome


def _none() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCounts:
    """What became of every span that was offered or adopted, at one moment.

    ``offered`` is counted on its own, at the door, so that a lost span shows: ``offered + adopted
    == acknowledged + rejected + sum(dropped.values()) + waiting + on_disk + handed_over`` whenever
    no other thread is inside `SpanSink.offer`; what is in its hands counts as offered, and nowhere
    else yet.
    """

    offered: int = 0
    """Spans handed to `SpanSink.offer`."""

    adopted: int = 0
    """Spans of dead processes that were found in the spool."""

    acknowledged: int = 0
    """Spans that the collector said it took."""

    rejected: int = 0
    """Spans that the collector said it will never take: a 4xx, or a partial success."""

    dropped: Mapping[str, int] = field(default_factory=_none)
    """Spans given up on our side, by reason. ``queue_full``: neither disk nor memory had room.
    ``shutdown``: in memory at the end, or ended after it. ``cap``: the oldest, at the disk's
    bound. ``unanswered``: the oldest, while no collector has ever answered. ``damaged``,
    ``deleted``, ``unreadable``: written, and not found again. ``unencodable``: no OTLP form."""

    waiting: int = 0
    """Spans held in memory only."""

    on_disk: int = 0
    """Spans in the spool that are not acknowledged yet."""

    handed_over: int = 0
    """Spans that another sink, or another process, answers for since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What became of every span of this process, and of those that it adopted from dead ones.

    ``ended + adopted == acknowledged + rejected + sampled_out + sum(dropped.values()) + waiting +
    on_disk + handed_over``, whenever no span is ending at this very moment. Read from memory
    alone: neither the network nor the disk is asked.

    Example:
        >>> health = Health(ended=3, acknowledged=2, on_disk=1)
        >>> health.adds_up
        True
    """

    ended: int = 0
    """Spans that ended in this process."""

    adopted: int = 0
    """Spans that dead processes had left on disk, as far as they were read."""

    acknowledged: int = 0
    """Spans that the collector said it took."""

    rejected: int = 0
    """Spans that the collector refused for good."""

    sampled_out: int = 0
    """Spans of traces that were not kept."""

    dropped: Mapping[str, int] = field(default_factory=_none)
    """Spans given up on our side, by reason (see `ExportCounts.dropped`)."""

    waiting: int = 0
    """Spans in memory only, which a crash would take."""

    on_disk: int = 0
    """Spans in the spool, which a crash leaves to the next process."""

    handed_over: int = 0
    """Spans that ``turntrace spool ship``, or the pipeline configured after, answers for."""

    @property
    def adds_up(self) -> bool:
        """Whether both sides are equal."""
        gone = self.acknowledged + self.rejected + self.sampled_out + sum(self.dropped.values())
        return self.ended + self.adopted == gone + self.waiting + self.on_disk + self.handed_over


class Ledger:
    """What the collector said of spans that left, and what could not be sent.

    The lock is reentrant: a signal handler may read the books. Whoever changes more than one
    figure holds it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.rejected = 0
        self.handed_over = 0
        self.dropped: Counter[str] = Counter()
        """Of what had been kept; what was never kept is counted where it came too late."""

    def settle(self, sent: int, skipped: int, outcome: Outcome) -> None:
        """Write down what is no acknowledgement of a request's spans; the rest is one."""
        self.dropped["unencodable"] += skipped
        if outcome.fate is Fate.TAKEN:
            self.rejected += min(sent, outcome.rejected_spans)
        elif outcome.fate is Fate.REFUSED:
            self.rejected += sent

    def not_acknowledged(self) -> int:
        """Return how many of the settled spans no collector took."""
        return self.rejected + self.handed_over + self.dropped.total()
