"""What is left of a span that the guard could not judge: its place in the trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turntrace.guard.schema import WITHHELD_NAME
from turntrace.record.span_record import SpanRecord

if TYPE_CHECKING:
    from turntrace.record.span import Span
    from turntrace.record.span_record import Scope


def bare_record(span: Span, scope: Scope) -> SpanRecord:
    """Return a span's place in its trace and nothing else; ``scope`` as the guard lets it out."""
    return SpanRecord(
        trace_id=span.trace_id.to_bytes(16, "big"),
        span_id=span.span_id.to_bytes(8, "big"),
        parent_span_id=span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
        parent_is_remote=span.parent_context is not None and span.parent_context.is_remote,
        flags=span.local_trace.flags,
        trace_state="",
        name=WITHHELD_NAME,
        kind=0,
        start_ns=span.start_time,
        end_ns=span.end_time or span.start_time,
        attributes={},
        events=(),
        links=(),
        status_code=0,
        status_description="",
        dropped_attributes=len(span._attributes),  # noqa: SLF001 - the property may fail as well
        dropped_events=len(span._events or ()),  # noqa: SLF001 - the property copies
        dropped_links=len(span._links or ()),  # noqa: SLF001 - the property copies
        scope=scope,
    )
