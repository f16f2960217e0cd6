"""What the rest of turntrace may ask of the place where finished spans go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from turntrace.export.ledger import ExportCounts
    from turntrace.record.span_record import SpanRecord


class SpanSink(Protocol):
    """Takes ownership of finished, guarded spans and answers for each of them. Nothing raises."""

    def offer(self, record: SpanRecord) -> None:
        """Take ``record``; never raises, and waits for nothing but one write to the page cache.

        Callable from any thread, a signal handler or ``__del__``. What cannot be kept is dropped
        and counted.
        """
        ...

    def force_flush(self, timeout_seconds: float) -> bool:
        """Send what waits, at once, for at most ``timeout_seconds``.

        Returns True only if every span offered before the call was acknowledged. A span that was
        lost earlier makes one flush return False: the first that completes after the loss.
        """
        ...

    def shutdown(self, timeout_seconds: float) -> bool:
        """Flush, then stop for good; what is on disk waits there, what is in memory is dropped.

        Returns what the flush returned. Later calls return the same; one that comes while the
        first is under way waits for it, for ``timeout_seconds`` at most, and then returns False.
        """
        ...

    def hand_over(self, heir: Callable[[SpanRecord], None]) -> None:
        """Stop at once; ``heir`` gets what waits or still comes, and again what is being sent.

        It is another sink's `offer`, or ends there; called by any thread.
        """
        ...

    def counts(self) -> ExportCounts:
        """Return the books; readable at any time."""
        ...
