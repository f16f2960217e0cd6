"""The pages: templates with what does not change while they are open; the rest is fetched."""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jinja2
from starlette.responses import HTMLResponse

from turntrace.store.turns import TurnQuery
from turntrace.view.turn_api import turn_of
from turntrace.view.turn_wording import duration, one_line

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from turntrace.store.contract import TraceStore
    from turntrace.store.turns import TurnRow
    from turntrace.view.static_files import StaticFiles

DEFAULT_PORT = 4318
"""Where turntrace and every other OTLP exporter send over HTTP unless told otherwise."""
MAX_NEWEST = 50
"""Turns in the list for browsers without JavaScript."""

_NS_PER_SECOND = 10**9


class Pages:
    """The endpoints; the reader stays the property of the caller."""

    def __init__(self, reader: TraceStore, static: StaticFiles, *, has_token: bool = False) -> None:
        self._reader = reader
        self._static = static
        self._has_token = has_token
        self._templates = make_templates(static)

    async def turns(self, request: Request) -> Response:
        """Answer GET /: the turns, or a quick start while nothing has arrived."""
        if await asyncio.to_thread(self._reader.recent, 1):
            newest = await asyncio.to_thread(self._newest)
            has_chart = self._static.has("vendor/uPlot.esm.js")
            return await self._page("turns.html", page="turns", has_chart=has_chart, newest=newest)
        return await self._page(
            "empty.html",
            page="turns",
            has_token=self._has_token,
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

    def _newest(self) -> list[dict[str, str]]:
        rows = self._reader.turns(TurnQuery(limit=MAX_NEWEST)).rows
        if not rows:
            rows = self._reader.turns(TurnQuery(limit=MAX_NEWEST, has_plain=True)).rows
        return [_plain_row(row) for row in rows]

    async def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        text = await asyncio.to_thread(self._templates.get_template(template).render, **values)
        return HTMLResponse(text, status, {"Cache-Control": "no-cache"})


def _plain_row(row: TurnRow) -> dict[str, str]:
    started = datetime.fromtimestamp(row.start_ns // _NS_PER_SECOND, UTC).astimezone()
    return {
        "trace_id": row.trace_id,
        "started": f"{started:%Y-%m-%d %H:%M:%S}",
        "outcome": _visible(row.outcome.replace("_", " "), "unknown"),
        "event": _visible(row.event, "(no name)"),
        "duration": str(duration(row.duration_ns)),
    }


def _visible(name: str, instead: str) -> str:
    """Return a name on one line, or ``instead`` if nothing of it can be seen."""
    line = one_line(name)
    has_ink = any(unicodedata.category(letter)[0] not in "CZM" for letter in line)
    return line if has_ink else instead


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
