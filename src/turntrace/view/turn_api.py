"""GET /api/turns/{trace_id}: a turn as the Turn page draws it, and one span of it in detail."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from turntrace.view.refusal import JSON, problem
from turntrace.view.turn_details import details_of
from turntrace.view.turn_document import turn_document

if TYPE_CHECKING:
    from starlette.requests import Request

    from turntrace.store.contract import TraceReader

MAX_LINKS_RESOLVED = 4
"""Of a turn: links whose target is looked up, to say its name and whether it is stored."""


class TurnApi:
    """The endpoint; the reader stays the property of the caller."""

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader

    async def turn(self, request: Request) -> Response:
        """Answer GET /api/turns/{trace_id}, with ``?span=`` one span of it in detail.

        The answer has an ETag: a page that watches a running turn gets 304 while nothing arrives.
        """
        trace_id = request.path_params["trace_id"]
        span_id = request.query_params.get("span")
        body = await asyncio.to_thread(self._body, trace_id, span_id)
        if body is None:
            what = f"no trace {trace_id[:64]!r} is stored"
            if span_id is not None:
                what = f"no span {span_id[:32]!r} of trace {trace_id[:64]!r} is stored"
            return problem(404, f"{what}: has its first span arrived?")
        tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=JSON, headers=headers)

    def _body(self, trace_id: str, span_id: str | None) -> bytes | None:
        found = span_of(self._reader, trace_id, span_id) if span_id else None
        if span_id is None:
            found = turn_of(self._reader, trace_id)
        return msgspec.json.encode(found) if found is not None else None


def turn_of(reader: TraceReader, trace_id: str) -> dict[str, Any] | None:
    """Return the document of a stored turn, its links looked up; None if it is unknown.

    Blocks while it reads, as the reader does.
    """
    spans = reader.trace(trace_id)
    if not spans:
        return None
    document = turn_document(spans)
    for link in document["links"][:MAX_LINKS_RESOLVED]:
        target = reader.trace(link["trace_id"])
        link["is_stored"] = bool(target)
        name = next((span.name for span in target if span.span_id == link["span_id"]), "")
        link["name"] = name[:200]
    return document


def span_of(reader: TraceReader, trace_id: str, span_id: str) -> dict[str, Any] | None:
    """Return the details of a stored span; None if it is unknown.

    Blocks while it reads, as the reader does.
    """
    spans = reader.trace(trace_id)
    for span in spans:
        if span.span_id == span_id:
            return details_of(span, min(one.start_ns for one in spans))
    return None
