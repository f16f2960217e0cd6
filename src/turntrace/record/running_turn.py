"""A turn while it runs: its root is current, its summary is counted, its outcome is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context

from turntrace.record.context import TURN_KEY, attach, detach, with_span
from turntrace.record.failure import failed, has_failed
from turntrace.record.turn_summary import CANCELLED, ERROR, OK, TurnSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span


class RunningTurn:
    """The root of a turn, made current in the running task until ``end``.

    Whatever starts a turn, by hand or from a hook, is built on this.
    """

    __slots__ = ("_token", "span", "summary")

    def __init__(
        self, span: Span, context: Context | None = None, more: Mapping[str, object] | None = None
    ) -> None:
        """Make ``span`` current, on top of ``context`` (default: the current one) and ``more``."""
        self.span = span
        self.summary = TurnSummary(span)
        values = {**with_span(span, context), TURN_KEY: self.summary}
        if more:
            values.update(more)
        self._token = attach(Context(values))

    def broke_off(self, error: BaseException) -> None:
        """Take ``error`` for how the turn ended: failed, or cancelled, or merely closed."""
        if isinstance(error, Exception):
            self.summary.outcome = ERROR
            failed(self.span, error)
        elif not isinstance(error, GeneratorExit):
            self.summary.outcome = CANCELLED

    def end(self, error: BaseException | None = None) -> None:
        """Write the summary and end the root; ``error`` is what the turn broke off with."""
        detach(self._token)
        try:
            if error is not None:
                self.broke_off(error)
            if self.summary.outcome == OK and has_failed(self.span):
                self.summary.outcome = ERROR  # the app has coped with an error, and said so
            self.span.set_attributes(self.summary.attributes())
        finally:
            self.span.end()
