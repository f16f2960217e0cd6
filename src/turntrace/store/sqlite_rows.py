"""A span as a row of the SQLite store, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import msgspec

from turntrace.store.contract import (
    SpanKindWord,
    StatusWord,
    StoredEvent,
    StoredLink,
    StoredSpan,
)

if TYPE_CHECKING:
    from turntrace.store.contract import Attributes

KINDS: tuple[SpanKindWord, ...] = get_args(SpanKindWord)
STATUSES: tuple[StatusWord, ...] = get_args(StatusWord)
ERROR = STATUSES.index("error")

_KIND_NUMBERS = {word: number for number, word in enumerate(KINDS)}
_STATUS_NUMBERS = {word: number for number, word in enumerate(STATUSES)}

COLUMNS = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "flags",
    "name",
    "kind",
    "start_ns",
    "end_ns",
    "status_code",
    "status_message",
    "dropped_attributes",
    "dropped_events",
    "dropped_links",
    "resource_id",
    "scope_id",
    "attributes",
    "events",
    "links",
)
"""The order of a row, when written and when read."""

_encode = msgspec.json.Encoder().encode
_decode: Any = msgspec.json.Decoder().decode


def to_json(document: object) -> str:
    """Return a document as the JSON text that is stored."""
    return _encode(document).decode()


def to_row(span: StoredSpan, resource_id: int, scope_id: int) -> tuple[object, ...]:
    """Return the values of a span in the order of ``COLUMNS``."""
    return (
        bytes.fromhex(span.trace_id),
        bytes.fromhex(span.span_id),
        bytes.fromhex(span.parent_span_id),
        span.trace_state,
        span.flags,
        span.name,
        _KIND_NUMBERS[span.kind],
        span.start_ns,
        span.end_ns,
        _STATUS_NUMBERS[span.status_code],
        span.status_message,
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
        resource_id,
        scope_id,
        to_json(span.attributes),
        "[]"
        if not span.events
        else to_json(
            [
                (event.name, event.time_ns, event.attributes, event.dropped_attributes)
                for event in span.events
            ]
        ),
        "[]"
        if not span.links
        else to_json(
            [
                (
                    link.trace_id,
                    link.span_id,
                    link.trace_state,
                    link.attributes,
                    link.dropped_attributes,
                )
                for link in span.links
            ]
        ),
    )


def from_row(
    row: tuple[Any, ...],
    resources: dict[int, tuple[str, Attributes]],
    scopes: dict[int, tuple[str, str]],
) -> StoredSpan:
    """Return the span of a row in the order of ``COLUMNS``."""
    cell = dict(zip(COLUMNS, row, strict=True))
    service, resource = resources[cell["resource_id"]]
    scope_name, scope_version = scopes[cell["scope_id"]]
    return StoredSpan(
        trace_id=cell["trace_id"].hex(),
        span_id=cell["span_id"].hex(),
        parent_span_id=cell["parent_span_id"].hex(),
        trace_state=cell["trace_state"],
        flags=cell["flags"],
        name=cell["name"],
        kind=KINDS[cell["kind"]],
        start_ns=cell["start_ns"],
        end_ns=cell["end_ns"],
        status_code=STATUSES[cell["status_code"]],
        status_message=cell["status_message"],
        attributes=from_json(cell["attributes"]),
        events=tuple(
            StoredEvent(name=name, time_ns=time_ns, attributes=attributes, dropped_attributes=lost)
            for name, time_ns, attributes, lost in from_json(cell["events"])
        ),
        links=tuple(
            StoredLink(
                trace_id=trace_id,
                span_id=span_id,
                trace_state=trace_state,
                attributes=attributes,
                dropped_attributes=lost,
            )
            for trace_id, span_id, trace_state, attributes, lost in from_json(cell["links"])
        ),
        dropped_attributes=cell["dropped_attributes"],
        dropped_events=cell["dropped_events"],
        dropped_links=cell["dropped_links"],
        scope_name=scope_name,
        scope_version=scope_version,
        service=service,
        resource=resource,
    )


def from_json(text: str) -> Any:
    """Return the document of a stored JSON text."""
    return _decode(text)
