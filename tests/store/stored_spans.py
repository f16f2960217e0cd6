"""Spans for the tests of stores."""

from __future__ import annotations

import itertools
from typing import Any

from turntrace.store.contract import StoredEvent, StoredLink, StoredSpan

TRACE_ID = "7d3f0c1be94a4d52a6e1f08b53c92a17"
START_NS = 1_795_339_927_412_000_000

_numbers = itertools.count(1)


def make_trace_id() -> str:
    return f"{next(_numbers):032x}"


def make_span(**overrides: Any) -> StoredSpan:
    fields: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "span_id": f"{next(_numbers):016x}",
        "name": "work",
        "start_ns": START_NS,
        "end_ns": START_NS + 1_000_000,
        "service": "demo",
        "resource": {"service.name": "demo"},
    }
    return StoredSpan(**fields | overrides)


def make_full_span() -> StoredSpan:
    """Return a span in which no field has its default."""
    return make_span(
        span_id="00000000000000aa",
        parent_span_id="00000000000000bb",
        trace_state="ot=th:c",
        flags=0x301,
        name="chat gemini-2.5-flash ünïcode \x00 \N{SNOWMAN}",
        kind="client",
        status_code="error",
        status_message="it broke",
        attributes={
            "text": "a",
            "yes": True,
            "count": 2**63 - 1,
            "ratio": 1.0,
            "nothing": None,
            "list": ["a", 1, [2.5]],
            "map": {"b": {"a": 1}},
        },
        events=(
            StoredEvent(
                name="exception",
                time_ns=START_NS + 7,
                attributes={"exception.type": "ValueError"},
                dropped_attributes=1,
            ),
        ),
        links=(
            StoredLink(
                trace_id="0" * 31 + "1",
                span_id="0" * 15 + "1",
                trace_state="a=b",
                attributes={"why": "connect"},
                dropped_attributes=2,
            ),
        ),
        dropped_attributes=3,
        dropped_events=4,
        dropped_links=5,
        scope_name="turntrace",
        scope_version="0.1",
        service="renovation",
        resource={"service.name": "renovation", "service.instance.id": "x"},
    )
