"""GET /api/turns: turns as JSON, filtered, sorted and counted, for the page and for scripts.

Parameters, all of them optional; those marked * may stand several times:

=============  ===================================================================
session        equal to the turn's session; likewise ``phase``, ``model``, ``event``
outcome *      one of these: ok, error, cancelled, client_disconnected, running, ...
min_ms         lasted at least so many milliseconds
from_ms        started at this moment or later, in milliseconds since 1970
to_ms          started before this moment
attribute *    ``key=value``: some span of the trace, or its resource, has the attribute
text           stands in the name of some span of the trace
all            1: traces without a turn are rows too (default 0)
sort           newest (default), slowest, dearest
limit          rows, 1 to 500 (default 100)
cursor         what the answer before gave for the rows that follow
overview       0: without counts, choices and points, which are left out with a cursor too
=============  ===================================================================

Times are in milliseconds, as numbers. A bad parameter is answered with 400 and the reason.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from turntrace.store.contract import MAX_NANOSECONDS
from turntrace.store.turns import MAX_PAGE, SORTS, CursorError, TurnQuery
from turntrace.view.refusal import JSON, RefusedError, problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from turntrace.store.contract import TraceStore
    from turntrace.store.turns import TurnOverview, TurnRow
    from turntrace.view.live import Live

MAX_CHARACTERS = 400
"""Of one parameter's value."""
MAX_REPEATED = 10

_NS_PER_MS = 1_000_000
_EQUAL = ("session", "phase", "model", "event", "text", "cursor")
_MOMENTS = ("min_ms", "from_ms", "to_ms")
_REPEATED = ("outcome", "attribute")
_KNOWN = (*_EQUAL, *_MOMENTS, *_REPEATED, "all", "sort", "limit", "overview")


class TurnsApi:
    """The endpoint; the store stays the property of the caller."""

    def __init__(self, store: TraceStore, live: Live) -> None:
        self._store = store
        self._live = live

    async def turns(self, request: Request) -> Response:
        """Answer GET /api/turns."""
        pairs = request.query_params.multi_items()
        try:
            query = turn_query(pairs)
            has_overview = _flag(dict(pairs), "overview", default=True) and not query.cursor
            change = self._live.change_id  # before reading: what comes later is told live
            document = await asyncio.to_thread(self._document, query, has_overview=has_overview)
        except RefusedError as error:
            return problem(error.status, str(error))
        except CursorError as error:
            return problem(400, f"{error}: leave cursor out to start at the first row")
        body = msgspec.json.encode({**document, "change": change})
        return Response(body, media_type=JSON, headers={"Cache-Control": "no-store"})

    def _document(self, query: TurnQuery, *, has_overview: bool) -> dict[str, Any]:
        page = self._store.turns(query)
        return {
            "turns": [row_document(row) for row in page.rows],
            "cursor": page.cursor,
            "is_search_cut": page.is_search_cut,
            "overview": _overview_document(self._store.overview(query)) if has_overview else None,
        }


def turn_query(pairs: Sequence[tuple[str, str]]) -> TurnQuery:
    """Return what the parameters of a request ask for.

    Raises:
        RefusedError: 400, a parameter is unknown, repeated, or has a value that it cannot have.
    """
    single = _checked(pairs)
    outcomes = [value for name, value in pairs if name == "outcome"]
    texts = {name: single.get(name, "") for name in _EQUAL}
    moments = {name: _nanoseconds(name, single[name]) for name in _MOMENTS if name in single}
    sort = single.get("sort", SORTS[0])
    if sort not in SORTS:
        raise _bad(f"sort is {sort!r}; it must be one of {', '.join(SORTS)}")
    limit = single.get("limit", "100")
    if not (limit.isascii() and limit.isdecimal()) or not 1 <= int(limit) <= MAX_PAGE:
        raise _bad(f"limit is {limit!r}; it must be from 1 to {MAX_PAGE}")
    return TurnQuery(
        session=texts["session"],
        phase=texts["phase"],
        model=texts["model"],
        event=texts["event"],
        text=texts["text"],
        cursor=texts["cursor"],
        min_duration_ns=moments.get("min_ms", 0),
        from_ns=moments.get("from_ms", 0),
        to_ns=moments.get("to_ms"),
        outcomes=tuple(sorted(set(outcomes))),
        attributes=tuple(_attribute(value) for name, value in pairs if name == "attribute"),
        has_plain=_flag(single, "all", default=False),
        sort=sort,
        limit=int(limit),
    )


def row_document(row: TurnRow) -> dict[str, Any]:
    """Return a row as the API serves it."""
    document = asdict(row)
    document["start_ms"] = document.pop("start_ns") / _NS_PER_MS
    document["duration_ms"] = document.pop("duration_ns") / _NS_PER_MS
    return document


def _overview_document(overview: TurnOverview) -> dict[str, Any]:
    document = asdict(overview)
    document["points"] = [
        [start_ns / _NS_PER_MS, duration_ns / _NS_PER_MS, outcome, trace_id]
        for start_ns, duration_ns, outcome, trace_id in overview.points
    ]
    return document


def _checked(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters that stand once, after looking at all of them."""
    single: dict[str, str] = {}
    repeated = 0
    for name, value in pairs:
        if name not in _KNOWN:
            raise _bad(f"{name[:40]!r} is no parameter; there are {', '.join(sorted(_KNOWN))}")
        if len(value) > MAX_CHARACTERS:
            raise _bad(f"{name} has {len(value)} characters; it may have {MAX_CHARACTERS}")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _bad(f"{name} is not Unicode text")
        if name in _REPEATED:
            repeated += 1
        elif name in single:
            raise _bad(f"{name} stands twice")
        else:
            single[name] = value
    if repeated > MAX_REPEATED:
        raise _bad(f"{repeated} outcomes and attributes; there may be {MAX_REPEATED}")
    return single


def _attribute(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise _bad(f"attribute is {text[:80]!r}; it must be key=value")
    return key.strip(), value.strip()


def _nanoseconds(name: str, text: str) -> int:
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not 0 <= milliseconds <= MAX_NANOSECONDS / _NS_PER_MS:
        raise _bad(f"{name} is {text[:40]!r}; it must be a number of milliseconds from 0 up")
    return min(round(milliseconds * _NS_PER_MS), MAX_NANOSECONDS)


def _flag(single: dict[str, str], name: str, *, default: bool) -> bool:
    value = single.get(name, "1" if default else "0")
    if value not in {"0", "1"}:
        raise _bad(f"{name} is {value[:40]!r}; it must be 0 or 1")
    return value == "1"


def _bad(reason: str) -> RefusedError:
    return RefusedError(400, reason)
