"""Everything that is known of one span, for the panel beside the waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from turntrace.attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    KEYS,
)
from turntrace.view.turn_facts import exception_type
from turntrace.view.turn_withheld import WithheldKeys, withheld_keys
from turntrace.view.turn_wording import duration

if TYPE_CHECKING:
    from turntrace.store.contract import Attributes, AttributeValue, StoredEvent, StoredSpan

MAX_SHOWN_CHARACTERS = 2000
"""Of one value; the rest is in the JSON."""
MAX_SHOWN = 500
"""Attributes, events or links; the rest is in the JSON."""
MAX_STACK_CHARACTERS = 16_000
"""Of a stack: what the guard lets out of one."""
MAX_STACK_LINES = 500
"""Of a stack; the rest is in the JSON."""
_OTHER_LAYER = "other"


def details_of(span: StoredSpan, origin_ns: int) -> dict[str, Any]:
    """Return a span's details as the page shows them.

    Args:
        span: the span.
        origin_ns: the moment from which offsets are counted, in nanoseconds since the epoch.
    """
    own = withheld_keys(span.attributes)
    return {
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "trace_id": span.trace_id,
        "name": span.name[:MAX_SHOWN_CHARACTERS],
        "kind": span.kind,
        "status": span.status_code,
        "status_message": span.status_message[:MAX_SHOWN_CHARACTERS],
        "exception_type": exception_type(span),
        "layers": _layers(own.rest),
        "events": [_event(event, origin_ns) for event in span.events[:MAX_SHOWN]],
        "links": [
            {
                "trace_id": link.trace_id,
                "span_id": link.span_id,
                "attributes": _pairs(link.attributes),
                "withheld": _withheld(link.dropped_attributes, withheld_keys(link.attributes)),
            }
            for link in span.links[:MAX_SHOWN]
        ],
        "withheld": {
            **_withheld(span.dropped_attributes, own),
            "events": span.dropped_events,
            "links": span.dropped_links,
        },
        "resource": _pairs(span.resource),
        "scope": " ".join(part for part in (span.scope_name, span.scope_version) if part),
        "service": span.service,
    }


def _event(event: StoredEvent, origin_ns: int) -> dict[str, Any]:
    """Return an event; of an exception its stack in lines and its message stand by themselves."""
    own = withheld_keys(event.attributes)
    facts = dict(own.rest)
    stack: list[str] = []
    message = ""
    text = facts.get(EXCEPTION_STACKTRACE)
    if isinstance(text, str) and text.strip():
        stack = text[:MAX_STACK_CHARACTERS].rstrip().split("\n", MAX_STACK_LINES)
        if len(text) > MAX_STACK_CHARACTERS or len(stack) > MAX_STACK_LINES:
            stack[MAX_STACK_LINES:] = ["… more is in the JSON"]
        del facts[EXCEPTION_STACKTRACE]
        if facts.get(EXCEPTION_TYPE) == stack[0]:
            del facts[EXCEPTION_TYPE]
    said = facts.get(EXCEPTION_MESSAGE)
    if isinstance(said, str) and said:
        message = _shown(facts.pop(EXCEPTION_MESSAGE))
    return {
        "name": event.name[:MAX_SHOWN_CHARACTERS],
        "at": duration(max(0, event.time_ns - origin_ns)),
        "message": message,
        "stack": stack,
        "attributes": _pairs(facts),
        "withheld": _withheld(event.dropped_attributes, own),
    }


def _withheld(dropped: int, own: WithheldKeys) -> dict[str, Any]:
    return {
        "attributes": max(dropped, len(own.keys) + own.more),
        "keys": [key._asdict() for key in own.keys],
        "more": own.more,
    }


def _layers(facts: Attributes) -> list[dict[str, Any]]:
    """Return the attributes by layer, in the order in which the layers are declared."""
    order = list(dict.fromkeys(key.layer for key in KEYS.values()))
    by_layer: dict[str, dict[str, AttributeValue]] = {}
    for key, value in facts.items():
        layer = KEYS[key].layer if key in KEYS else _OTHER_LAYER
        by_layer.setdefault(layer, {})[key] = value
    return [
        {"layer": layer, "attributes": _pairs(by_layer[layer])}
        for layer in (*order, _OTHER_LAYER)
        if layer in by_layer
    ]


def _pairs(facts: Attributes) -> list[tuple[str, str]]:
    """Return keys and values as text, sorted by key."""
    return [
        (key[:MAX_SHOWN_CHARACTERS], _shown(value))
        for key, value in sorted(facts.items())[:MAX_SHOWN]
    ]


def _shown(value: AttributeValue) -> str:
    said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(said) <= MAX_SHOWN_CHARACTERS:
        return said
    return f"{said[:MAX_SHOWN_CHARACTERS]}… ({len(said):,} characters)"
