"""GET /api/...: traces as JSON, for the page, for `turntrace view --trace` and for scripts.

Times are integers of nanoseconds. ``start_ns`` and ``end_ns`` exceed what JavaScript's numbers
hold exactly; ``offset_ns`` (since the start of the trace) and ``duration_ns`` do not.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from turntrace.view.refusal import JSON, problem
from turntrace.view.tree import arrange

if TYPE_CHECKING:
    from starlette.requests import Request

    from turntrace.store.contract import StoredSpan, TraceReader

DEFAULT_RECENT = 50
MAX_RECENT = 500


class TraceApi:
    """The endpoints; the reader stays the property of the caller."""

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader

    async def trace(self, request: Request) -> Response:
        """Answer GET /api/traces/{trace_id}."""
        trace_id = request.path_params["trace_id"]
        body = await asyncio.to_thread(self._trace_json, trace_id)
        if body is None:
            return problem(
                404, f"no trace {trace_id[:64]!r} is stored: has its first span arrived?"
            )
        return Response(body, media_type=JSON)

    async def recent(self, request: Request) -> Response:
        """Answer GET /api/traces?limit=."""
        limit = request.query_params.get("limit", str(DEFAULT_RECENT))
        if not re.fullmatch("[0-9]{1,9}", limit) or not 1 <= int(limit) <= MAX_RECENT:
            return problem(400, f"limit is {limit[:40]!r}; it must be from 1 to {MAX_RECENT}")
        summaries = await asyncio.to_thread(self._reader.recent, int(limit))
        body = {"traces": [asdict(summary) for summary in summaries]}
        return Response(msgspec.json.encode(body), media_type=JSON)

    async def health(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """Answer GET /api/health: 200 if the store can be read."""
        await asyncio.to_thread(self._reader.recent, 1)
        return Response(msgspec.json.encode({"status": "ok"}), media_type=JSON)

    def _trace_json(self, trace_id: str) -> bytes | None:
        spans = self._reader.trace(trace_id)
        return msgspec.json.encode(trace_document(spans)) if spans else None


def trace_document(spans: list[StoredSpan]) -> dict[str, Any]:
    """Return a trace, at least one span sorted by start, as the document that the API serves."""
    forest = arrange(spans)
    by_id = {span.span_id: span for span in spans}
    origin_ns = spans[0].start_ns
    head = next((span for span in spans if not span.parent_span_id), by_id[forest.roots[0]])
    resources: dict[int, int] = {}
    documents = []
    resource_list: list[dict[str, Any]] = []
    for span in spans:
        key = id(span.resource)
        if key not in resources:
            resources[key] = len(resource_list)
            resource_list.append({"service": span.service, "attributes": span.resource})
        document = _span_document(span, origin_ns)
        document["resource"] = resources[key]
        document["is_orphan"] = span.span_id in forest.orphans
        document["children"] = forest.children.get(span.span_id, [])
        documents.append(document)
    return {
        "trace_id": head.trace_id,
        "root_name": head.name,
        "service": head.service,
        "services": sorted({span.service for span in spans}),
        "start_ns": origin_ns,
        "duration_ns": max(span.end_ns for span in spans) - origin_ns,
        "span_count": len(spans),
        "error_count": sum(span.status_code == "error" for span in spans),
        "roots": forest.roots,
        "resources": resource_list,
        "spans": documents,
    }


def _span_document(span: StoredSpan, origin_ns: int) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "name": span.name,
        "kind": span.kind,
        "service": span.service,
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
        "offset_ns": span.start_ns - origin_ns,
        "duration_ns": span.end_ns - span.start_ns,
        "status": {"code": span.status_code, "message": span.status_message},
        "attributes": span.attributes,
        "events": [
            {**asdict(event), "offset_ns": event.time_ns - origin_ns} for event in span.events
        ],
        "links": [asdict(link) for link in span.links],
        "scope": {"name": span.scope_name, "version": span.scope_version},
        "trace_state": span.trace_state,
        "flags": span.flags,
        "dropped": {
            "attributes": span.dropped_attributes,
            "events": span.dropped_events,
            "links": span.dropped_links,
        },
    }
