"""What one turn adds up to: counted while it runs, written on its root when it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from turntrace import attributes as keys
from turntrace.record.context import TURN_KEY, get_current

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from turntrace.record.span_record import AttributeValue

OK = "ok"
ERROR = "error"
CANCELLED = "cancelled"


class TurnSummary:
    """Counters of one turn; travels in the context under its own key.

    Counting is not locked: instrumentations of one turn run on one event loop, and a lost
    increment between threads would cost a number, never a span.
    """

    __slots__ = (
        "_agent_outcome",
        "_has_answered",
        "cost_usd",
        "db_ms",
        "db_statements",
        "first_token_ms",
        "input_tokens",
        "iterations",
        "model_calls",
        "outcome",
        "output_tokens",
        "span",
        "started",
        "tokens_emitted",
        "tool_calls",
    )

    def __init__(self, span: Span | None = None) -> None:
        self.span = span
        """The turn's root, for facts of the whole turn."""
        self.started = time.perf_counter()
        self.outcome = OK
        """How the turn's own handler ended; an agent's failure counts beside it."""
        self._agent_outcome = OK
        self._has_answered = False
        self.iterations = 0
        self.model_calls = 0
        self.tool_calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_usd: float | None = None
        self.first_token_ms: float | None = None
        self.tokens_emitted = 0
        self.db_ms = 0.0
        self.db_statements = 0

    def emitted_token(self) -> None:
        """Count a token event sent to the client; the first one is timed."""
        self.tokens_emitted += 1
        if self.first_token_ms is None:
            self.first_token_ms = (time.perf_counter() - self.started) * 1000

    def used_database(self, milliseconds: float) -> None:
        """Count one statement."""
        self.db_statements += 1
        self.db_ms += milliseconds

    def used_tokens(
        self, input_tokens: int | None, output_tokens: int | None, cost_usd: float | None
    ) -> None:
        """Add what one model call used; what is unknown (None) adds nothing."""
        self.input_tokens += input_tokens or 0
        self.output_tokens += output_tokens or 0
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd

    def agent_ended(self, outcome: str) -> None:
        """Note how an agent of the turn ended: what the app makes up for is no failure.

        A success clears an earlier failure, and nobody minds a rival that was cancelled after it.
        """
        if outcome == CANCELLED and self._has_answered:
            return
        self._agent_outcome = outcome
        self._has_answered = self._has_answered or outcome == OK

    def attributes(self) -> dict[str, AttributeValue]:
        """Return the summary as attributes; what never happened is left out."""
        outcome = self._agent_outcome if self.outcome == OK else self.outcome
        values: dict[str, AttributeValue] = {keys.TURN_OUTCOME: outcome}
        counts = {
            keys.TURN_ITERATIONS: self.iterations,
            keys.TURN_MODEL_CALLS: self.model_calls,
            keys.TURN_TOOL_CALLS: self.tool_calls,
            keys.TURN_INPUT_TOKENS: self.input_tokens,
            keys.TURN_OUTPUT_TOKENS: self.output_tokens,
            keys.TURN_TOKENS_EMITTED: self.tokens_emitted,
            keys.TURN_DB_STATEMENTS: self.db_statements,
        }
        values.update({key: count for key, count in counts.items() if count})
        if self.cost_usd is not None:
            values[keys.TURN_COST_USD] = self.cost_usd
        if self.first_token_ms is not None:
            values[keys.TURN_FIRST_TOKEN_MS] = round(self.first_token_ms, 3)
        if self.db_statements:
            values[keys.TURN_DB_MS] = round(self.db_ms, 3)
        return values


def current_turn(context: Context | None = None) -> TurnSummary | None:
    """Return the summary of the turn that ``context`` (default: the current one) belongs to."""
    found = (get_current() if context is None else context).get(TURN_KEY)
    return found if isinstance(found, TurnSummary) else None
