"""GET /api/turns/{trace_id}: a turn as the Turn page draws it, and one span of it in detail."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.responses import Response

from turntrace.view.refusal import JSON, problem
from turntrace.view.turn_details import details_of
from turntrace.view.turn_document import MAX_ROWS, turn_document

if TYPE_CHECKING:
    from starlette.requests import Request

    from turntrace.store.contract import TraceReader

MAX_LINKS_RESOLVED = 4
"""Of a turn: links whose target is looked up, to say its name and whether it is stored."""
_MAX_REMEMBERED = 256
"""Turns of which it is remembered what their document was made of."""


class _Answer(NamedTuple):
    tag: str
    body: bytes | None
    """None if it is what the client has."""


class _Made(NamedTuple):
    """What a document was made of."""

    version: str
    links: list[dict[str, Any]]


class TurnApi:
    """The endpoint; the reader stays the property of the caller."""

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._run = secrets.token_hex(8)
        self._made: dict[str, _Made] = {}

    async def turn(self, request: Request) -> Response:
        """Answer GET /api/turns/{trace_id}, with ``?span=`` one span of it in detail.

        The answer has an ETag: a page that watches a running turn gets 304 while nothing arrives,
        and its spans are not read for that.
        """
        trace_id = request.path_params["trace_id"]
        span_id = request.query_params.get("span")
        known = request.headers.get("if-none-match", "")
        if span_id is None:
            answer = await asyncio.to_thread(self._turn, trace_id.lower(), known)
        else:
            answer = await asyncio.to_thread(self._span, trace_id, span_id)
        if answer is None:
            what = f"no trace {trace_id[:64]!r} is stored"
            if span_id is not None:
                what = f"no span {span_id[:32]!r} of trace {trace_id[:64]!r} is stored"
            return problem(404, f"{what}: has its first span arrived?")
        headers = {"ETag": answer.tag, "Cache-Control": "no-cache"}
        if answer.body is None or answer.tag in known:
            return Response(status_code=304, headers=headers)
        return Response(answer.body, media_type=JSON, headers=headers)

    def _turn(self, trace_id: str, known: str) -> _Answer | None:
        # Read first: what arrives meanwhile makes the next version another one.
        extent = self._reader.extent(trace_id)
        if extent is None:
            return None
        made = self._made.get(trace_id)
        if known and made is not None and made.version == extent.version:
            links = [dict(link) for link in made.links]
            _look_up(self._reader, links)
            tag = self._tag(trace_id, _Made(made.version, links))
            if tag in known:
                return _Answer(tag, None)
        document = turn_of(self._reader, trace_id)
        if document is None:
            return None
        made = _Made(extent.version, [dict(link) for link in document["links"]])
        if len(self._made) >= _MAX_REMEMBERED:
            self._made.clear()
        self._made[trace_id] = made
        return _Answer(self._tag(trace_id, made), msgspec.json.encode(document))

    def _tag(self, trace_id: str, made: _Made) -> str:
        return _tag_of(msgspec.json.encode((self._run, trace_id, made.version, made.links)))

    def _span(self, trace_id: str, span_id: str) -> _Answer | None:
        found = span_of(self._reader, trace_id, span_id)
        if found is None:
            return None
        body = msgspec.json.encode(found)
        return _Answer(_tag_of(body), body)


def turn_of(reader: TraceReader, trace_id: str) -> dict[str, Any] | None:
    """Return the document of a stored turn, its links looked up; None if it is unknown.

    Of a trace of more than ``MAX_ROWS`` spans, the first are read and the others counted.
    Blocks while it reads, as the reader does.
    """
    extent = reader.extent(trace_id)
    if extent is None:
        return None
    spans = reader.trace(trace_id, MAX_ROWS)
    document = turn_document(spans, unread=max(0, extent.span_count - len(spans)))
    _look_up(reader, document["links"])
    return document


def span_of(reader: TraceReader, trace_id: str, span_id: str) -> dict[str, Any] | None:
    """Return the details of a stored span; None if it is unknown.

    Blocks while it reads, as the reader does.
    """
    extent, span = reader.extent(trace_id), reader.span(trace_id, span_id)
    return None if extent is None or span is None else details_of(span, extent.start_ns)


def _look_up(reader: TraceReader, links: list[dict[str, Any]]) -> None:
    """Say of the first links whether their target's trace is stored, and the target's name."""
    for link in links[:MAX_LINKS_RESOLVED]:
        target = reader.span(link["trace_id"], link["span_id"])
        link["is_stored"] = target is not None or reader.extent(link["trace_id"]) is not None
        link["name"] = "" if target is None else target.name[:200]


def _tag_of(text: bytes) -> str:
    return f'"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'
