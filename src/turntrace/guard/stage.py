"""The guard: turns an ended span into a record that holds nothing but what may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turntrace.attributes import SAMPLING_REASON
from turntrace.guard.schema import MAX_TEXT_LENGTH, WITHHELD_NAME, Schema
from turntrace.record.span_record import AttributeValue, EventRecord, LinkRecord, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Link

    from turntrace.record.span import Event, Span

_PLAIN = frozenset({int, float, bool})
_MAX_ITEMS = 64

IS_LOCAL = 0x100
"""OTLP's bits beside the W3C flags: it is known whether the span is remote, and it is not."""
IS_REMOTE = 0x300
"""The same, and it is."""


class GuardStage:
    """Stands before everything that touches a disk or a socket."""

    def __init__(self, schema: Schema, following: Callable[[SpanRecord], None]) -> None:
        self._schema = schema
        self._keys = schema.keys
        self._following = following
        self._names: dict[tuple[str, str], bool] = {}
        self.withheld: dict[str, int] = {}
        """How often each unlisted key was withheld; at most 1,000 keys."""

    def on_end(self, span: Span) -> None:
        """Guard an ended span and pass the record on."""
        self._following(self.record(span))

    def record(self, span: Span) -> SpanRecord:
        """Return what may leave of ``span``. Copies first: the span may still be written to."""
        local_trace = span.local_trace
        attributes, dropped = self.filtered({**local_trace.bound, **span._attributes})  # noqa: SLF001 - the property copies twice
        if span is local_trace.root:
            attributes[SAMPLING_REASON] = local_trace.verdict.reason
        name = span.name
        key = (span.scope.name, name)
        is_known = self._names.get(key)
        if is_known is None:
            is_known = self._judge_name(key)
        parent = span.parent_context
        events = span._events  # noqa: SLF001 - the property copies
        links = span._links  # noqa: SLF001 - the property copies
        return SpanRecord(
            span.trace_id.to_bytes(16, "big"),
            span.span_id.to_bytes(8, "big"),
            span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
            parent is not None and parent.is_remote,
            local_trace.flags,
            "",  # a stranger writes the trace state: what of it may leave is decided key by key
            name if is_known else WITHHELD_NAME,
            span.kind.value,
            span.start_time,
            span.end_time or span.start_time,
            attributes,
            tuple([self._event(event) for event in list(events)]) if events else (),
            tuple([self._link(link) for link in list(links)]) if links else (),
            span.status_code.value,
            "",
            span.dropped_attributes + dropped,
            span.dropped_events,
            span.dropped_links,
            span.scope,
        )

    def filtered(self, attributes: Mapping[str, Any]) -> tuple[dict[str, AttributeValue], int]:
        """Return the attributes that may leave, and how many may not."""
        keys = self._keys
        kept: dict[str, AttributeValue] = {}
        dropped = 0
        for key, value in attributes.items():
            if key in keys:
                kind = value.__class__
                if kind in _PLAIN or (kind is str and len(value) <= MAX_TEXT_LENGTH):
                    kept[key] = value
                    continue
                cleaned = _cleaned(value)
                if cleaned is not None:
                    kept[key] = cleaned
                    continue
            dropped += 1
            self._count_withheld(key)
        return kept, dropped

    def _count_withheld(self, key: object) -> None:
        name = key if isinstance(key, str) else type(key).__name__
        if name in self.withheld or len(self.withheld) < 1000:  # noqa: PLR2004 - see withheld
            self.withheld[name] = self.withheld.get(name, 0) + 1

    def _judge_name(self, key: tuple[str, str]) -> bool:
        is_known = self._schema.has_own_name(*key)
        if len(self._names) < 10_000:  # noqa: PLR2004 - a bound on memory, far above real counts
            self._names[key] = is_known
        return is_known

    def _event(self, event: Event) -> EventRecord:
        attributes, dropped = self.filtered(event.attributes)
        name = event.name if event.name in self._schema.event_names else WITHHELD_NAME
        return EventRecord(name, event.timestamp, attributes, dropped + event.dropped_attributes)

    def _link(self, link: Link) -> LinkRecord:
        context = link.context
        attributes, dropped = self.filtered(dict(link.attributes or {}))
        return LinkRecord(
            context.trace_id.to_bytes(16, "big"),
            context.span_id.to_bytes(8, "big"),
            "",
            int(context.trace_flags) | (IS_REMOTE if context.is_remote else IS_LOCAL),
            attributes,
            dropped,
        )


def _cleaned(value: object) -> AttributeValue | None:
    """Return ``value`` as an attribute value of exact type and bounded size, or None."""
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, str):
        return str.__str__(value)[:MAX_TEXT_LENGTH]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (tuple, list)):
        items = (
            _cleaned(item) for item in value[:_MAX_ITEMS] if not isinstance(item, (tuple, list))
        )
        return tuple(item for item in items if item is not None)
    return None
