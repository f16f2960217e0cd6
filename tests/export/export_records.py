"""Makes span records for the tests of this folder."""

from __future__ import annotations

import itertools
from typing import Any

from turntrace.record.span_record import Scope, SpanRecord

_numbers = itertools.count(1)


def make_record(**changes: Any) -> SpanRecord:
    """Return a plausible finished span with ids of its own; ``changes`` replace its fields."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "parent_span_id": b"",
        "parent_is_remote": False,
        "flags": 1,
        "trace_state": "",
        "name": "socket.event send_message",
        "kind": 1,
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_000_000_500_000,
        "attributes": {"session.id": f"s-{number}"},
        "events": (),
        "links": (),
        "status_code": 0,
        "status_description": "",
        "dropped_attributes": 0,
        "dropped_events": 0,
        "dropped_links": 0,
        "scope": Scope("turntrace", "1"),
    }
    return SpanRecord(**(fields | changes))
