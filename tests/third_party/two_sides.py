"""Both sides of the guard: all that an instrumentation put on its spans, and what leaves of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turntrace.export.otlp import Resource, encode_request
from turntrace.record.span_record import EventRecord, LinkRecord, Scope, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import Recorded
    from turntrace.record.span import Span

CANARY = "zq7canary"
"""Starts every word that a person or a model could have written; must never leave."""


class TwoSides:
    """The same spans twice: as they were recorded, and as they leave the guard."""

    def __init__(self, recorded: Recorded) -> None:
        self.provider = recorded.provider
        self.left: list[SpanRecord] = recorded.spans
        """What left the guard, in the order in which it ended."""
        self.unguarded: list[SpanRecord] = []
        """The same spans with everything on them, each value as text."""
        recorded.provider.add_span_processor(_Unguarded(self.unguarded))

    def bytes_that_leave(self) -> bytes:
        """Return what the collector would be sent."""
        return encode_request(Resource({}), self.left)

    def bytes_without_a_guard(self) -> bytes:
        """Return what it would be sent if the guard let everything out."""
        return encode_request(Resource({}), self.unguarded)

    def captured(self, places: Mapping[str, str]) -> set[str]:
        """Return the places whose canary an instrumentation put on a span."""
        sent = self.bytes_without_a_guard()
        return {place for place, canary in places.items() if canary.encode() in sent}

    def leaked(self) -> list[str]:
        """Return where a canary stands in what leaves: span by span, never the whole bytes."""
        found = [
            f"{span.scope.name}: {text}"
            for span in self.left
            for text in _texts(span)
            if CANARY in text
        ]
        return found or [CANARY] * (CANARY.encode() in self.bytes_that_leave())

    def of(self, scope: str) -> list[SpanRecord]:
        """Return what left of the spans of one instrumentation, in the order of their start."""
        return sorted(
            (span for span in self.left if span.scope.name == scope), key=lambda span: span.start_ns
        )

    def having(self, key: str, value: object = ...) -> list[SpanRecord]:
        """Return what left with an attribute, in the order of start."""
        found = [
            span
            for span in self.left
            if key in span.attributes and value in (..., span.attributes[key])
        ]
        return sorted(found, key=lambda span: span.start_ns)

    def parent(self, child: SpanRecord) -> SpanRecord | None:
        """Return the span it is below, if that left too."""
        return next((span for span in self.left if span.span_id == child.parent_span_id), None)

    def recorded_name(self, of: SpanRecord) -> str:
        """Return the name that its instrumentation gave it."""
        return next(span.name for span in self.unguarded if span.span_id == of.span_id)

    def tree_as_recorded(self) -> list[str]:
        """Return what left as an indented tree, with the names the instrumentation gave."""
        names = {span.span_id: span.name for span in self.unguarded}
        return self._below(None, names, 0)

    def _below(self, parent: bytes | None, names: dict[bytes, str], depth: int) -> list[str]:
        lines: list[str] = []
        for span in sorted(self.left, key=lambda span: span.start_ns):
            above = self.parent(span)
            if (above and above.span_id) == parent:
                lines.append("  " * depth + names[span.span_id])
                lines += self._below(span.span_id, names, depth + 1)
        return lines


class _Unguarded:
    """A span processor that turns a span into a record and filters nothing."""

    def __init__(self, into: list[SpanRecord]) -> None:
        self._into = into

    def on_start(self, span: Span, parent_context: object = None) -> None:
        pass

    def on_end(self, span: Span) -> None:
        self._into.append(
            SpanRecord(
                trace_id=span.trace_id.to_bytes(16, "big"),
                span_id=span.span_id.to_bytes(8, "big"),
                parent_span_id=span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
                parent_is_remote=False,
                flags=1,
                trace_state="",
                name=str(span.name),
                kind=span.kind.value,
                start_ns=span.start_time,
                end_ns=span.end_time or span.start_time,
                attributes=_as_text(span.attributes),
                events=tuple(
                    EventRecord(str(event.name), event.timestamp, _as_text(event.attributes))
                    for event in span.events
                ),
                links=tuple(
                    LinkRecord(
                        link.context.trace_id.to_bytes(16, "big"),
                        link.context.span_id.to_bytes(8, "big"),
                        "",
                        0,
                        _as_text(link.attributes or {}),
                    )
                    for link in span.links
                ),
                status_code=span.status_code.value,
                status_description=span.status_description or "",
                dropped_attributes=0,
                dropped_events=0,
                dropped_links=0,
                scope=Scope(span.scope.name),
            )
        )

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def _as_text(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): str(value) for key, value in attributes.items()}


def _texts(span: SpanRecord) -> list[str]:
    """Return every text of a record, each with what it is."""
    texts = [f"name={span.name}", f"status={span.status_description}", f"scope={span.scope}"]
    for holder in (span, *span.events, *span.links):
        texts += [f"{key}={value}" for key, value in holder.attributes.items()]
    return texts + [f"event={event.name}" for event in span.events]
