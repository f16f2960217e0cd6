"""What a store promises about turns: the question, the rows, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, get_args

from turntrace.errors import TurntraceError

TurnSort: TypeAlias = Literal["newest", "slowest", "dearest"]
SORTS: tuple[TurnSort, ...] = get_args(TurnSort)

RUNNING = "running"
"""The outcome of a turn whose root span has not arrived while its children have."""

MAX_PAGE = 500
"""Rows of one page."""
MAX_SEARCHED = 2_000
"""Rows, in the order asked for, whose spans are searched for a text or an attribute."""
MAX_COUNTED = 200_000
"""Rows, the newest of the store, among which totals are counted."""
MAX_CHOSEN_FROM = 10_000
"""Rows, the newest that a query has, whose values are offered as choices."""
MAX_FOLLOWED = 5_000
"""Spans of one trace that are read again when more of it arrive."""
MAX_CHOICES = 50
"""Values offered of one filter, the most frequent first."""
MAX_PLAIN = 1_000
MAX_POINTS = 1_000
"""Points of the chart, the newest first."""


class CursorError(TurntraceError):
    """A cursor was not made by the query it was given back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnQuery:
    """Which rows, and in what order. Conditions are joined by "and"; an empty one asks nothing."""

    session: str = ""
    phase: str = ""
    model: str = ""
    event: str = ""
    """The event, route or name, as ``TurnRow.event`` has it."""
    outcomes: tuple[str, ...] = ()
    """One of these."""
    min_duration_ns: int = 0
    from_ns: int = 0
    """Started at this moment or later."""
    to_ns: int | None = None
    """Started before this moment."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Keys and values: for each, some span of the trace (or its resource) has it.

    A value is compared as text: ``2``, ``0.5``, ``true``. Lists and maps never match.
    """
    text: str = ""
    """Stands in the name of some span of the trace; ASCII letters of either case are the same."""
    has_plain: bool = False
    """Traces without any turn are rows too."""
    trace_ids: tuple[str, ...] | None = None
    """Only rows of these traces."""
    sort: TurnSort = "newest"
    limit: int = 100
    """At most ``MAX_PAGE``."""
    cursor: str = ""
    """``TurnPage.cursor`` of the page before."""

    @property
    def has_search(self) -> bool:
        """Tell whether the spans must be looked at, which is done for ``MAX_SEARCHED`` rows."""
        return bool(self.attributes or self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """One turn, or one trace without a turn; what is not known is None or empty."""

    trace_id: str
    span_id: str
    """The turn's root; empty for a running turn and for a trace without a turn."""
    is_turn: bool
    outcome: str
    """As the turn says; ``running``; ``ok`` or ``error`` by status for a trace without a turn."""
    name: str
    """Name of the turn's root; of the earliest span where that is missing."""
    event: str
    """The event or route of the root; its name where it has neither."""
    service: str
    session: str = ""
    phase: str = ""
    model: str = ""
    """The model of the trace's first model call."""
    error_type: str = ""
    start_ns: int
    duration_ns: int
    """Of the root; of what has arrived, for the others."""
    cost_usd: float | None = None
    first_token_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    iterations: int | None = None
    tool_calls: int | None = None
    model_calls: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPage:
    """Some rows, and how to go on."""

    rows: list[TurnRow]
    cursor: str = ""
    """Give it back for the rows that follow; empty at the end."""
    is_search_cut: bool = False
    """Only the first ``MAX_SEARCHED`` rows were searched, and there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A value that a filter could have, and how many of the counted rows have it."""

    value: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOverview:
    """What the rows of a query add up to, among the newest ``MAX_COUNTED`` of the store.

    With a search, among the newest ``MAX_SEARCHED`` rows that meet the other conditions.
    """

    turns: int
    """Rows, running ones included."""
    sessions: int
    """Different ones."""
    cost_usd: float
    input_tokens: int
    output_tokens: int
    is_cut: bool
    """There are more rows than were counted."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """Counts without regard to the query's own ``outcomes``, so that each can be chosen."""
    choices: dict[str, list[Choice]] = field(default_factory=dict)
    """For ``session``, ``phase``, ``model``, ``event``: the values of ``MAX_CHOSEN_FROM`` rows."""
    points: list[tuple[int, int, str, str]] = field(default_factory=list)
    """Start (ns), duration (ns), outcome, trace id: at most the newest ``MAX_POINTS`` rows."""
    plain: int = 0
    """Traces without a turn in the whole store, at most ``MAX_PLAIN``."""


class TurnReader(Protocol):
    """Answers questions about turns; may be asked from any thread, also while spans are written.

    A turn is a span with the attribute ``turntrace.turn.outcome``. Until it arrives, a trace in
    which a span names a parent of this process that is not here is one row with the outcome
    ``running``; every other trace is plain. A row is written with the spans it is made of.

    A trace that is very large (``MAX_FOLLOWED`` spans) still gets its turns when they arrive, but
    its row while it runs stays as it was until no span of it waits for a parent any more.
    """

    def turns(self, query: TurnQuery) -> TurnPage:
        """Return a page of rows.

        Pages do not repeat rows and miss none that stayed as they were between them.

        Raises:
            CursorError: the cursor is no cursor of this sort order.
            StoreError: the store is closed or cannot be read.
        """

    def overview(self, query: TurnQuery) -> TurnOverview:
        """Return what all rows of a query add up to; its sort, limit and cursor mean nothing here.

        Raises:
            StoreError: the store is closed or cannot be read.
        """

    def has_trace(self, trace_id: str) -> bool:
        """Tell whether any span of a trace is stored; False for text that is no trace id.

        Raises:
            StoreError: the store is closed or cannot be read.
        """
