"""What is left of a span once it has ended and passed the guard: plain immutable data."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

AttributeValue = str | bool | int | float | bytes | tuple["AttributeValue", ...]
"""What an attribute may hold once it is in a record; sequences are tuples."""


class Scope(NamedTuple):
    """The instrumentation scope that made a span."""

    name: str
    version: str = ""
    schema_url: str = ""


class EventRecord(NamedTuple):
    """Something that happened at one moment of a span."""

    name: str
    time_ns: int
    attributes: dict[str, AttributeValue]
    dropped_attributes: int = 0


class LinkRecord(NamedTuple):
    """A pointer to a span of another trace, or to one that is no ancestor.

    ``flags`` as OTLP has them: the W3C byte, 0x100 (it is known whether the span is remote) and
    0x200 (it is).
    """

    trace_id: bytes
    span_id: bytes
    trace_state: str
    flags: int
    attributes: dict[str, AttributeValue]
    dropped_attributes: int = 0


class SpanRecord(msgspec.Struct, frozen=True, gc=False):
    """One finished span, in the order and units that every later stage relies on.

    Ids are big-endian bytes (16 and 8; an absent parent is empty). Times are nanoseconds since
    the Unix epoch. ``kind`` and ``status_code`` hold the values of the OpenTelemetry *API*
    (``SpanKind``: internal 0, server 1, client 2, producer 3, consumer 4; ``StatusCode``:
    unset 0, ok 1, error 2). ``flags`` is the W3C trace-flags byte, ``parent_is_remote`` says
    whether the parent lives in another process (or another local trace). How it lies on disk is
    the business of `turntrace.record.record_format`.
    """

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    parent_is_remote: bool
    flags: int
    trace_state: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, AttributeValue]
    events: tuple[EventRecord, ...]
    links: tuple[LinkRecord, ...]
    status_code: int
    status_description: str
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    scope: Scope
