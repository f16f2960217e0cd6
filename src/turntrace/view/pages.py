"""The pages: templates with what does not change while they are open; the rest is fetched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import jinja2
from starlette.responses import HTMLResponse

from turntrace.view.turn_api import turn_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from turntrace.store.contract import TraceStore
    from turntrace.view.static_files import StaticFiles

DEFAULT_PORT = 4318
"""Where turntrace and every other OTLP exporter send over HTTP unless told otherwise."""


class Pages:
    """The endpoints; the reader stays the property of the caller."""

    def __init__(self, reader: TraceStore, static: StaticFiles) -> None:
        self._reader = reader
        self._static = static
        self._templates = make_templates(static)

    async def turns(self, request: Request) -> Response:
        """Answer GET /: the turns, or a quick start while nothing has arrived."""
        is_empty = not await asyncio.to_thread(self._reader.recent, 1)
        name = "empty.html" if is_empty else "turns.html"
        return await self._page(
            name,
            page="turns",
            has_chart=self._static.has("vendor/uPlot.esm.js"),
            endpoint=str(request.base_url).rstrip("/"),
            is_default_port=request.url.port == DEFAULT_PORT,
        )

    async def turn(self, request: Request) -> Response:
        """Answer GET /turns/{trace_id}, with ``?plain`` as a list that needs no JavaScript."""
        trace_id = request.path_params["trace_id"]
        if not await asyncio.to_thread(self._reader.has_trace, trace_id):
            return await self._page("missing.html", status=404, page="turn", trace_id=trace_id[:64])
        trace_id = trace_id.lower()
        if "plain" in request.query_params:
            turn = await asyncio.to_thread(turn_of, self._reader, trace_id)
            return await self._page("turn_plain.html", page="turn", trace_id=trace_id, turn=turn)
        return await self._page("turn.html", page="turn", trace_id=trace_id)

    async def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        text = await asyncio.to_thread(self._templates.get_template(template).render, **values)
        return HTMLResponse(text, status, {"Cache-Control": "no-cache"})


def make_templates(static: StaticFiles) -> jinja2.Environment:
    """Return the templates; every value in them is escaped, a missing one is an error."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("turntrace.view"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["static"] = static.url
    return templates
