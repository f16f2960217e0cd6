"""What a store of traces promises, and the values that go in and come out.

A store answers named queries only; nobody outside this folder writes a query of its own. Every
implementation passes the same suite (``tests/store/test_*_contract.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from turntrace.errors import StoreError
from turntrace.store.turns import TurnReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

AttributeValue: TypeAlias = (
    "str | bool | int | float | list[AttributeValue] | dict[str, AttributeValue] | None"
)
"""What JSON can say: bytes arrive here as base64 text, NaN and the infinities as their names."""

Attributes: TypeAlias = dict[str, AttributeValue]

SpanKindWord: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
StatusWord: TypeAlias = Literal["unset", "ok", "error"]

MAX_NANOSECONDS = 2**63 - 1
"""The latest moment a store can hold (the year 2262)."""


class StoreBusyError(StoreError):
    """More spans are waiting to be written than the store may hold; try again in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """Something that happened at one moment of a span."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLink:
    """A pointer to a span of another trace, or to one that is no ancestor."""

    trace_id: str
    span_id: str
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpan:
    """One finished span as it was received, with its resource and its scope beside it.

    Strings hold any Unicode text but lone surrogates, and floats are finite: whoever makes a
    span sees to that (``view/decode.py`` does).
    """

    trace_id: str
    """32 lower-case hexadecimal digits, not all zero."""
    span_id: str
    """16 lower-case hexadecimal digits, not all zero."""
    parent_span_id: str = ""
    """As ``span_id``; empty where there is no parent."""
    trace_state: str = ""
    flags: int = 0
    """The W3C trace flags, and in 0x100 and 0x200 whether the parent is known to be remote."""
    name: str
    kind: SpanKindWord = "internal"
    start_ns: int
    """Nanoseconds since the Unix epoch, at most ``MAX_NANOSECONDS``."""
    end_ns: int
    """As ``start_ns``, never before it."""
    status_code: StatusWord = "unset"
    status_message: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: tuple[StoredEvent, ...] = ()
    links: tuple[StoredLink, ...] = ()
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    scope_name: str = ""
    scope_version: str = ""
    service: str
    """``service.name`` of the resource."""
    resource: Attributes = field(default_factory=dict)
    """The attributes of the resource; spans of one resource may share one dict: never change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """One line about a trace, over the spans that have arrived so far."""

    trace_id: str
    root_name: str
    """Name of the earliest span without a parent; until one arrives, of the earliest span."""
    service: str
    """The service of that span."""
    start_ns: int
    """The earliest start of any span."""
    duration_ns: int
    """From there to the latest end of any span."""
    span_count: int
    error_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceExtent:
    """How much of a trace is stored, found without reading its spans."""

    start_ns: int
    """The earliest start of any span."""
    span_count: int
    version: str
    """Another text whenever a span of the trace was added or written again."""


class TraceWriter(Protocol):
    """Takes spans in.

    Ownership: the spans belong to the store once handed over; the caller must not change them.
    Ordering: calls take effect in the order they were made.
    """

    def write(self, spans: Sequence[StoredSpan]) -> Future[None]:
        """Hand spans over without blocking; the future tells what became of them.

        All or nothing: when the future has a result, every span is stored, is seen by every
        later read, and survives the death of this process (a power cut may take the last
        moments). When it has an exception, none is. A future cancelled in time writes nothing.

        A span is identified by its trace id and span id. One that is stored already, or stands
        twice in one call, is one span; the last one wins.

        Raises:
            StoreBusyError: at once, when too much is waiting. Nothing was taken.
            StoreError: at once when the store is closed; from the future when writing failed.
        """

    def close(self) -> None:
        """Write what was handed over, then let go of everything. A second call does nothing."""


class TraceReader(Protocol):
    """Answers questions; may be asked from any thread, also while spans are written.

    Calls block while they read: from async code, ask in a thread. An answer shows the store at
    one moment, never half of a ``write``.
    """

    def trace(self, trace_id: str, limit: int | None = None) -> list[StoredSpan]:
        """Return the spans of one trace, by start time and then by span id; empty if unknown.

        ``trace_id`` is 32 hexadecimal digits of either case; other text is an unknown trace.
        With a ``limit``, at most so many, the first in that order.

        Raises:
            StoreError: the store is closed or cannot be read.
        """

    def span(self, trace_id: str, span_id: str) -> StoredSpan | None:
        """Return one span; None if it is unknown, as text that is no id is.

        Raises:
            StoreError: the store is closed or cannot be read.
        """

    def extent(self, trace_id: str) -> TraceExtent | None:
        """Return how much of a trace is stored; None if it is unknown.

        Raises:
            StoreError: the store is closed or cannot be read.
        """

    def recent(self, limit: int) -> list[TraceSummary]:
        """Return at most ``limit`` traces, the latest start first.

        Raises:
            StoreError: the store is closed or cannot be read.
        """


class TraceStore(TraceWriter, TraceReader, TurnReader, Protocol):
    """All of it, as one thing that is opened and closed."""
