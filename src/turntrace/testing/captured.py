"""A finished span as a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from turntrace.record.span_record import (
        AttributeValue,
        EventRecord,
        LinkRecord,
        Scope,
        SpanRecord,
    )

_NS_PER_SECOND = 1_000_000_000


class CapturedSpan:
    """What left the guard of one span; read-only.

    Example:
        >>> import turntrace
        >>> from turntrace.testing import capture
        >>> with capture() as captured, turntrace.turn("outer"), turntrace.turn("inner"):
        ...     pass
        >>> inner = captured.one("inner")
        >>> inner.parent.name, inner.kind.name, inner.status.name
        ('outer', 'INTERNAL', 'UNSET')
    """

    __slots__ = ("_all", "record")

    def __init__(self, record: SpanRecord, all_spans: Sequence[CapturedSpan]) -> None:
        self.record = record
        """The record itself, as the exporter gets it."""
        self._all = all_spans

    @property
    def name(self) -> str:
        """The name."""
        return self.record.name

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """The attributes that may leave."""
        return self.record.attributes

    @property
    def kind(self) -> SpanKind:
        """The kind."""
        return SpanKind(self.record.kind)

    @property
    def status(self) -> StatusCode:
        """The status; its description never leaves."""
        return StatusCode(self.record.status_code)

    @property
    def events(self) -> tuple[EventRecord, ...]:
        """The events, each with ``name``, ``time_ns`` and ``attributes``."""
        return self.record.events

    @property
    def links(self) -> tuple[LinkRecord, ...]:
        """The links, each with ``trace_id``, ``span_id`` (bytes) and ``attributes``."""
        return self.record.links

    @property
    def scope(self) -> Scope:
        """Who made the span."""
        return self.record.scope

    @property
    def start_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self.record.start_ns

    @property
    def end_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self.record.end_ns

    @property
    def duration_seconds(self) -> float:
        """How long it took."""
        return (self.record.end_ns - self.record.start_ns) / _NS_PER_SECOND

    @property
    def trace_id(self) -> str:
        """32 hex digits, as in log lines."""
        return self.record.trace_id.hex()

    @property
    def span_id(self) -> str:
        """16 hex digits."""
        return self.record.span_id.hex()

    @property
    def parent_id(self) -> str:
        """16 hex digits; empty for a root."""
        return self.record.parent_span_id.hex()

    @property
    def parent(self) -> CapturedSpan | None:
        """The parent, if it was captured too by now; None for a root."""
        wanted = self.record.parent_span_id
        for span in self._all if wanted else ():
            if span.record.span_id == wanted and span.record.trace_id == self.record.trace_id:
                return span
        return None

    def __repr__(self) -> str:
        """Show name and attributes, which may leave, after all."""
        return f"<CapturedSpan {self.name!r} {self.attributes}>"
