"""The named queries about turns, as SQL; every text of the reader is a parameter."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from turntrace.store.contract import MAX_NANOSECONDS
from turntrace.store.sqlite_rows import to_json
from turntrace.store.sqlite_turn_write import COLUMNS
from turntrace.store.turns import (
    MAX_CHOICES,
    MAX_CHOSEN_FROM,
    MAX_COUNTED,
    MAX_PAGE,
    MAX_PLAIN,
    MAX_POINTS,
    MAX_SEARCHED,
    Choice,
    CursorError,
    TurnOverview,
    TurnPage,
    TurnQuery,
    TurnRow,
    TurnSort,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_SORT_KEYS = {
    "newest": "start_ns",
    "slowest": "duration_ns",
    "dearest": "coalesce(cost_usd, -1)",
}
_CHUNK = 500
"""Rows whose spans are searched by one statement."""
_MAX_TOTAL = 2**63 - 1

_HAS_NAME = (
    "EXISTS (SELECT 1 FROM spans WHERE spans.trace_id = turns.trace_id"
    " AND instr(lower(spans.name), ?))"
)
_IS_PAIR = (
    "pair.key = ? AND pair.type NOT IN ('array', 'object', 'null') AND"
    " CASE pair.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
    " ELSE CAST(pair.value AS TEXT) END = ?"
)
# The cheap search for the key's text spares most documents from being parsed.
_HAS_ATTRIBUTE = (
    "EXISTS (SELECT 1 FROM spans WHERE spans.trace_id = turns.trace_id AND ("  # noqa: S608 - the conditions are ours
    " instr(spans.attributes, ?) AND EXISTS"
    f" (SELECT 1 FROM json_each(spans.attributes) AS pair WHERE {_IS_PAIR})"
    " OR resource_id IN"
    " (SELECT resources.id FROM resources, json_each(resources.attributes) AS pair"
    f" WHERE instr(resources.attributes, ?) AND {_IS_PAIR})))"
)
# ``total``, a float: ``sum`` of integers fails where they are too large together.
_TOTALS = (
    "SELECT outcome, count(*), total(cost_usd), total(input_tokens), total(output_tokens)"
    " FROM turns{where} GROUP BY outcome"
)
_SESSIONS = "SELECT count(DISTINCT session) FROM turns{where}"
_POINTS = (
    "SELECT start_ns, duration_ns, outcome, trace_id FROM turns{where}"
    " ORDER BY start_ns DESC LIMIT ?"
)
_NTH_NEWEST = "SELECT start_ns FROM turns{where} ORDER BY start_ns DESC LIMIT 1 OFFSET ?"
_PLAIN = "SELECT count(*) FROM (SELECT 1 FROM turns WHERE is_turn = 0 LIMIT ?)"
CHOICES = ("session", "phase", "model", "event")
"""The columns that filters choose a value of."""


class _Conditions:
    """The WHERE clause of a query, without its search."""

    def __init__(self, query: TurnQuery, *, has_outcomes: bool = True) -> None:
        self.sql: list[str] = [] if query.has_plain else ["is_turn = 1"]
        self.values: list[Any] = []
        for column in ("session", "phase", "model", "event"):
            if value := getattr(query, column):
                self.add(f"{column} = ?", value)
        if query.session:
            self.sql.append("session != ''")
        if query.outcomes and has_outcomes:
            self.add(f"outcome IN ({', '.join('?' * len(query.outcomes))})", *query.outcomes)
        if query.min_duration_ns:
            self.add("duration_ns >= ?", query.min_duration_ns)
        if query.from_ns:
            self.add("start_ns >= ?", query.from_ns)
        if query.to_ns is not None:
            self.add("start_ns < ?", query.to_ns)
        if query.trace_ids is not None:
            ids = [bytes.fromhex(trace_id) for trace_id in query.trace_ids[:MAX_PAGE]]
            self.add(f"trace_id IN ({', '.join('?' * len(ids))})", *ids)

    def add(self, condition: str, *values: object) -> None:
        """Ask for one thing more."""
        self.sql.append(condition)
        self.values.extend(values)

    def where(self) -> str:
        """Return the clause."""
        return f" WHERE {' AND '.join(self.sql)}" if self.sql else ""


def read_turns(connection: sqlite3.Connection, query: TurnQuery) -> TurnPage:
    """Answer ``TurnReader.turns``."""
    limit = max(0, min(query.limit, MAX_PAGE))
    conditions = _Conditions(query)
    if query.cursor:
        key = _SORT_KEYS[query.sort]
        conditions.add(
            f"({key}, trace_id, span_id) < (?, ?, ?)", *_position(query.cursor, query.sort)
        )
    if query.has_search:
        return _searched_page(connection, query, conditions, limit)
    rows = _ordered(connection, conditions, query.sort, limit + 1)
    cursor = _cursor(rows[limit - 1], query.sort) if 0 < limit < len(rows) else ""
    return TurnPage(rows=[_from_row(row) for row in rows[:limit]], cursor=cursor)


def read_overview(connection: sqlite3.Connection, query: TurnQuery) -> TurnOverview:
    """Answer ``TurnReader.overview``."""
    conditions = _Conditions(query, has_outcomes=False)
    if query.has_search:
        searched = list(_search(connection, query, conditions, "newest"))
        is_cut = len(searched) == MAX_SEARCHED
        ids = [row[-1] for row, is_match in searched if is_match]
        conditions.add("id IN (SELECT value FROM json_each(?))", to_json(ids))
    else:
        is_cut = _cut(connection, query, conditions)
    where = conditions.where()
    by_outcome = {
        outcome: totals
        for outcome, *totals in connection.execute(_TOTALS.format(where=where), conditions.values)
    }
    if query.outcomes:
        conditions.add(f"outcome IN ({', '.join('?' * len(query.outcomes))})", *query.outcomes)
    where, values = conditions.where(), conditions.values
    chosen = query.outcomes or by_outcome
    count, cost_usd, input_tokens, output_tokens = (
        sum(totals[place] for outcome, totals in by_outcome.items() if outcome in chosen)
        for place in range(4)
    )
    points = connection.execute(_POINTS.format(where=where), (*values, MAX_POINTS))
    conditions.add("session != ''")
    sessions = connection.execute(_SESSIONS.format(where=conditions.where()), values)
    return TurnOverview(
        turns=count,
        sessions=sessions.fetchone()[0],
        cost_usd=float(cost_usd),
        input_tokens=min(int(input_tokens), _MAX_TOTAL),
        output_tokens=min(int(output_tokens), _MAX_TOTAL),
        is_cut=is_cut,
        outcomes={outcome: totals[0] for outcome, totals in by_outcome.items()},
        choices=_choices(connection, where, values),
        points=[(start, length, outcome, found.hex()) for start, length, outcome, found in points],
        plain=connection.execute(_PLAIN, (MAX_PLAIN,)).fetchone()[0],
    )


def _cut(connection: sqlite3.Connection, query: TurnQuery, conditions: _Conditions) -> bool:
    """Leave out all but the newest rows of the store; False if there are no others."""
    which = "" if query.has_plain else " WHERE is_turn = 1"
    oldest = connection.execute(_NTH_NEWEST.format(where=which), (MAX_COUNTED,)).fetchone()
    if oldest is None:
        return False
    conditions.add("start_ns > ?", oldest[0])
    return not query.from_ns or query.from_ns <= oldest[0]


def _searched_page(
    connection: sqlite3.Connection, query: TurnQuery, conditions: _Conditions, limit: int
) -> TurnPage:
    rows: list[TurnRow] = []
    last: tuple[Any, ...] = ()
    searched = 0
    for row, is_match in _search(connection, query, conditions, query.sort):
        if is_match:
            if len(rows) == limit:
                return TurnPage(rows=rows, cursor=_cursor(last, query.sort) if last else "")
            rows.append(_from_row(row))
        last = row
        searched += 1
    is_cut = searched == MAX_SEARCHED
    return TurnPage(
        rows=rows, cursor=_cursor(last, query.sort) if is_cut else "", is_search_cut=is_cut
    )


def _search(
    connection: sqlite3.Connection, query: TurnQuery, conditions: _Conditions, sort: TurnSort
) -> Iterator[tuple[tuple[Any, ...], bool]]:
    """Yield at most ``MAX_SEARCHED`` rows in order, and whether their spans match."""
    candidates = _ordered(connection, conditions, sort, MAX_SEARCHED)
    wanted, values = _search_sql(query)
    statement = f"SELECT id FROM turns WHERE id IN (SELECT value FROM json_each(?)) AND {wanted}"  # noqa: S608 - the conditions are ours
    for start in range(0, len(candidates), _CHUNK):
        chunk = candidates[start : start + _CHUNK]
        ids = to_json([row[-1] for row in chunk])
        matching = {found for (found,) in connection.execute(statement, (ids, *values))}
        for row in chunk:
            yield row, row[-1] in matching


def _search_sql(query: TurnQuery) -> tuple[str, list[str]]:
    sql: list[str] = []
    values: list[str] = []
    if query.text:
        sql.append(_HAS_NAME)
        values.append(_ascii_lower(query.text))
    for key, value in query.attributes:
        sql.append(_HAS_ATTRIBUTE)
        values.extend((to_json(key), key, value) * 2)
    return " AND ".join(sql), values


def _ascii_lower(text: str) -> str:
    """Do as SQLite's ``lower``, which leaves all but ASCII as it is."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def _ordered(
    connection: sqlite3.Connection, conditions: _Conditions, sort: TurnSort, limit: int
) -> list[tuple[Any, ...]]:
    """Return rows in the order of ``COLUMNS``, with their number last."""
    statement = (
        f"SELECT {', '.join(COLUMNS)}, id FROM turns{conditions.where()}"  # noqa: S608 - names and conditions are ours
        f" ORDER BY {_SORT_KEYS[sort]} DESC, trace_id DESC, span_id DESC LIMIT ?"
    )
    return connection.execute(statement, (*conditions.values, limit)).fetchall()


def _choices(
    connection: sqlite3.Connection, where: str, conditions: list[Any]
) -> dict[str, list[Choice]]:
    """Return what the filters could be set to."""
    statement = (
        f"SELECT {', '.join(CHOICES)} FROM turns{where}"  # noqa: S608 - names and conditions are ours
        " ORDER BY start_ns DESC LIMIT ?"
    )
    rows = connection.execute(statement, (*conditions, MAX_CHOSEN_FROM)).fetchall()
    choices: dict[str, list[Choice]] = {}
    # SQLite would sort the rows once for each column.
    for column, values in zip(CHOICES, zip(*rows, strict=True) if rows else (), strict=False):
        counts = Counter(values)
        del counts[""]
        choices[column] = [
            Choice(value=value, count=count) for value, count in counts.most_common(MAX_CHOICES)
        ]
    return {column: choices.get(column, []) for column in CHOICES}


def _cursor(row: tuple[Any, ...], sort: TurnSort) -> str:
    cell = dict(zip(COLUMNS, row, strict=False))
    cost_usd = -1 if cell["cost_usd"] is None else cell["cost_usd"]
    value = {"newest": cell["start_ns"], "slowest": cell["duration_ns"], "dearest": cost_usd}[sort]
    document = [sort, value, cell["trace_id"].hex(), cell["span_id"].hex()]
    return base64.urlsafe_b64encode(msgspec.json.encode(document)).decode().rstrip("=")


def _position(cursor: str, sort: TurnSort) -> tuple[float, bytes, bytes]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        document = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        made_by, value, trace_id, span_id = msgspec.convert(
            document, tuple[str, int | float, str, str], strict=True
        )
        is_fit = made_by == sort and abs(value) <= MAX_NANOSECONDS
        position = (value, bytes.fromhex(trace_id), bytes.fromhex(span_id))
    except (ValueError, binascii.Error, msgspec.ValidationError) as error:
        raise CursorError(f"the cursor {cursor[:40]!r} was not made by this store") from error
    if not is_fit:
        raise CursorError(f"the cursor {cursor[:40]!r} belongs to another sort order")
    return position


def _from_row(row: tuple[Any, ...]) -> TurnRow:
    cell = dict(zip(COLUMNS, row, strict=False))
    cell["trace_id"], cell["span_id"] = cell["trace_id"].hex(), cell["span_id"].hex()
    cell["is_turn"] = bool(cell["is_turn"])
    return TurnRow(**cell)
