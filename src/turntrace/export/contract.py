"""What the rest of turntrace may ask of the place where finished spans go."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turntrace.record.span_record import SpanRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCounts:
    """What became of every offered span, at one moment.

    ``offered`` is counted on its own, at the door, so that a lost span shows:
    ``offered == acknowledged + rejected + sum(dropped.values()) + handed_over + waiting`` whenever
    no other thread is inside `SpanSink.offer`; what is in its hands counts as offered, and nowhere
    else yet.
    """

    offered: int = 0
    """Spans handed to `SpanSink.offer`."""

    acknowledged: int = 0
    """Spans that the collector said it took."""

    rejected: int = 0
    """Spans that the collector said it will never take: a 4xx, or a partial success."""

    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Spans given up on our side, by reason: ``queue_full``, ``shutdown``, ``redirect``, ..."""

    handed_over: int = 0
    """Spans that another sink answers for since (see `SpanSink.hand_over`)."""

    waiting: int = 0
    """Spans held in memory, the ones being sent included."""


class SpanSink(Protocol):
    """Takes ownership of finished, guarded spans and answers for each of them.

    Spans leave in the order in which they were offered. Nothing here ever raises.
    """

    def offer(self, record: SpanRecord) -> None:
        """Take ``record``; never blocks, never raises.

        Callable from any thread, a signal handler or ``__del__``. A sink that is full or shut
        down drops the record and counts it.
        """
        ...

    def force_flush(self, timeout_seconds: float) -> bool:
        """Send what waits, at once, for at most ``timeout_seconds``.

        Returns True only if every span offered before the call was acknowledged. A span that was
        lost earlier makes one flush return False: the first that completes after the loss.
        """
        ...

    def shutdown(self, timeout_seconds: float) -> bool:
        """Flush, then stop for good; what is still waiting afterwards is dropped and counted.

        Returns what the flush returned. Later calls return the same; one that comes while the
        first is under way waits for it, for ``timeout_seconds`` at most, and then returns False.
        """
        ...

    def hand_over(self, heir: SpanSink) -> None:
        """Stop at once; ``heir`` gets what waits or still comes, and again what is being sent."""
        ...

    def counts(self) -> ExportCounts:
        """Return the books; readable at any time."""
        ...
