"""Keeps the rows of turns in step with the spans, inside the writer's transaction."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from turntrace.store.sqlite_rows import KINDS, STATUSES, from_json
from turntrace.store.turn_rows import AnySpan, SpanFacts, is_turn_root, rows_of
from turntrace.store.turns import MAX_FOLLOWED, RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from turntrace.store.turns import TurnRow

COLUMNS = (
    "trace_id",
    "span_id",
    "is_turn",
    "outcome",
    "name",
    "event",
    "service",
    "session",
    "phase",
    "model",
    "error_type",
    "start_ns",
    "duration_ns",
    "cost_usd",
    "first_token_ms",
    "input_tokens",
    "output_tokens",
    "iterations",
    "tool_calls",
    "model_calls",
)
"""The order of a row, when written and when read: the fields of ``TurnRow``."""

_INSERT = f"REPLACE INTO turns ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - the names are ours
_FORGET = "DELETE FROM turns WHERE trace_id = ?"
_FORGET_UNFINISHED = "DELETE FROM turns WHERE trace_id = ? AND span_id = x''"
_IS_RUNNING = "SELECT 1 FROM turns WHERE trace_id = ? AND span_id = x'' AND outcome = ?"
_HAS_SPAN = "SELECT 1 FROM spans WHERE trace_id = ? AND span_id = ?"
# As ``turn_rows`` tells which spans wait for a parent of their own process.
_WAITED_FOR = (
    "SELECT parent_span_id FROM spans AS child WHERE trace_id = ? AND parent_span_id != x''"
    " AND CASE WHEN flags & 0x100 THEN NOT flags & 0x200 ELSE kind NOT IN (?, ?) END"
    " AND NOT EXISTS (SELECT 1 FROM spans AS parent"
    " WHERE parent.trace_id = child.trace_id AND parent.span_id = child.parent_span_id) LIMIT 1"
)
_ROWLESS = (
    "SELECT trace_id FROM traces WHERE NOT EXISTS"
    " (SELECT 1 FROM turns WHERE turns.trace_id = traces.trace_id)"
)
_FACTS = (
    "SELECT trace_id, span_id, parent_span_id, flags, name, kind, start_ns, end_ns, status_code,"
    " spans.attributes, service FROM spans JOIN resources ON resources.id = resource_id"
)
_OF_ONE_TRACE = f"{_FACTS} WHERE trace_id = ?"
_MAX_REMEMBERED = 1_000
"""Very large traces of which it is remembered what they wait for."""
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, sqlite3.OperationalError)
_REMOTE_KINDS = (KINDS.index("server"), KINDS.index("consumer"))


class TurnWriter:
    """Writes rows through the connection of the span writer."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waited_for: dict[bytes, bytes] = {}

    def put_new(self, spans: Iterable[AnySpan]) -> None:
        """Add the rows of a trace that has only these spans; of the same one the last wins."""
        self._insert(rows_of(list({span.span_id: span for span in spans}.values())))

    def put_grown(self, trace_id: bytes, added: Sequence[AnySpan], span_count: int) -> None:
        """Make the rows of a trace anew after spans were added to it or changed."""
        execute = self._connection.execute
        if span_count <= MAX_FOLLOWED:
            execute(_FORGET, (trace_id,))
            self._insert(rows_of(list(_facts(execute(_OF_ONE_TRACE, (trace_id,))))))
        elif any(is_turn_root(span) for span in added):
            # Reading all of it again at every batch would cost the square of its size.
            execute(_FORGET_UNFINISHED, (trace_id,))
            rows = rows_of(list({span.span_id: span for span in added}.values()))
            # Of a part of a trace nobody can tell whose parent is missing.
            self._insert([row for row in rows if row.span_id])
        elif execute(_IS_RUNNING, (trace_id, RUNNING)).fetchone() and not self._waits(trace_id):
            execute(_FORGET, (trace_id,))
            self._insert(rows_of(list(_facts(execute(_OF_ONE_TRACE, (trace_id,))))))

    def misses_any(self) -> bool:
        """Tell whether any trace has no row."""
        return self._connection.execute(f"{_ROWLESS} LIMIT 1").fetchone() is not None

    def put_missing(self) -> int:
        """Make the rows of the traces without any; return how many could not be read.

        Those are the traces of an older file, and those that an older turntrace wrote since.
        """
        execute = self._connection.execute
        unreadable = 0
        for (trace_id,) in execute(_ROWLESS).fetchall():
            try:
                rows = rows_of(list(_facts(execute(_OF_ONE_TRACE, (trace_id,)))))
            except _UNREADABLE as error:
                if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) != sqlite3.SQLITE_ERROR:
                    raise  # the file and not the span
                unreadable += 1
            else:
                self._insert(rows)
        return unreadable

    def _waits(self, trace_id: bytes) -> bool:
        """Tell whether a span of a very large trace waits for its parent."""
        execute = self._connection.execute
        parent = self._waited_for.pop(trace_id, None)
        if parent is None or execute(_HAS_SPAN, (trace_id, parent)).fetchone():
            found = execute(_WAITED_FOR, (trace_id, *_REMOTE_KINDS)).fetchone()
            parent = None if found is None else found[0]
        if parent is None:
            return False
        # It is looked for again only once this one has come.
        if len(self._waited_for) >= _MAX_REMEMBERED:
            self._waited_for.clear()
        self._waited_for[trace_id] = parent
        return True

    def _insert(self, rows: list[TurnRow]) -> None:
        self._connection.executemany(_INSERT, map(_to_row, rows))


def _facts(rows: Iterable[tuple[Any, ...]]) -> Iterator[SpanFacts]:
    for trace_id, span_id, parent, flags, name, kind, start, end, status, found, service in rows:
        yield SpanFacts(
            trace_id.hex(),
            span_id.hex(),
            parent.hex(),
            flags,
            name,
            KINDS[kind],
            start,
            end,
            STATUSES[status],
            from_json(found),
            service,
        )


def _to_row(row: TurnRow) -> tuple[object, ...]:
    values = [getattr(row, column) for column in COLUMNS]
    values[0], values[1] = bytes.fromhex(row.trace_id), bytes.fromhex(row.span_id)
    return tuple(values)
