"""Any span that may come out of the guard, and odd ones that should not, for the format's tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from turntrace.record.span_record import EventRecord, LinkRecord, Scope, SpanRecord

UINT64 = st.integers(0, 2**64 - 1)
COUNTS = st.sampled_from([0, 0, 0, 1, 127, 128, 70_000, 2**32 - 1])
TEXT = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["", "a", "x" * 31, "x" * 32, "é" * 128, "😀" * 70, "\x00", "x" * 300]
)
SCALARS = (
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([0, 1, -1, 0.0, -0.0, 1.0, 127, 128, -32, -33, 2**32, 2**63, 2**64 - 1])
    | st.floats()
    | st.binary(max_size=40)
)
VALUES: st.SearchStrategy[Any] = SCALARS | st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=6
)
KEYS = st.sampled_from(["session.id", "gen_ai.usage.input_tokens", "", "ключ", "t"]) | TEXT
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=6)
SCOPES = st.builds(Scope, TEXT, st.sampled_from(["", "1.2"]), st.sampled_from(["", "https://s/1"]))
TRACE_IDS = st.binary(min_size=16, max_size=16)
SPAN_IDS = st.binary(min_size=8, max_size=8)
TRACE_STATES = st.sampled_from(["", "ot=th:8", "a=b,c=d"])
EVENTS = st.builds(EventRecord, TEXT, UINT64, ATTRIBUTES, COUNTS)
LINKS = st.builds(
    LinkRecord, TRACE_IDS, SPAN_IDS, TRACE_STATES, st.integers(0, 0x3FF), ATTRIBUTES, COUNTS
)


def records(attributes: st.SearchStrategy[dict[str, Any]] = ATTRIBUTES) -> Any:
    """Return a strategy of spans with such attributes."""
    return st.builds(
        SpanRecord,
        trace_id=TRACE_IDS,
        span_id=SPAN_IDS,
        parent_span_id=st.just(b"") | SPAN_IDS,
        parent_is_remote=st.booleans(),
        flags=st.integers(0, 255),
        trace_state=TRACE_STATES,
        name=TEXT,
        kind=st.integers(0, 4),
        start_ns=UINT64,
        end_ns=UINT64,
        attributes=attributes,
        events=st.lists(EVENTS, max_size=2).map(tuple),
        links=st.lists(LINKS, max_size=2).map(tuple),
        status_code=st.integers(0, 2),
        status_description=st.just("") | TEXT,
        dropped_attributes=COUNTS,
        dropped_events=COUNTS,
        dropped_links=COUNTS,
        scope=SCOPES,
    )


def exact(value: Any) -> Any:
    """Return ``value`` so that `==` tells types apart and one NaN is another."""
    if isinstance(value, SpanRecord):
        return [exact(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return (type(value).__name__, [exact(item) for item in value])
    return (type(value).__name__, repr(value))


def make_record(**changes: Any) -> SpanRecord:
    """Return a plausible ended span; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "trace_id": bytes(range(16)),
        "span_id": bytes(range(8)),
        "parent_span_id": b"",
        "parent_is_remote": False,
        "flags": 3,
        "trace_state": "",
        "name": "SELECT chat_messages",
        "kind": 3,
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_000_000_500_000,
        "attributes": {"session.id": "s-1"},
        "events": (),
        "links": (),
        "status_code": 0,
        "status_description": "",
        "dropped_attributes": 0,
        "dropped_events": 0,
        "dropped_links": 0,
        "scope": Scope("turntrace.sqlalchemy"),
    }
    return SpanRecord(**(fields | changes))
