"""Keeps the rows of turns in step with the spans, inside the writer's transaction."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from turntrace.store.sqlite_rows import KINDS, STATUSES, from_json
from turntrace.store.turn_rows import AnySpan, SpanFacts, is_turn_root, rows_of
from turntrace.store.turns import MAX_FOLLOWED

if TYPE_CHECKING:
    import sqlite3
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
_FACTS = (
    "SELECT trace_id, span_id, parent_span_id, flags, name, kind, start_ns, end_ns, status_code,"
    " spans.attributes, service FROM spans JOIN resources ON resources.id = resource_id"
)
_OF_ONE_TRACE = f"{_FACTS} WHERE trace_id = ?"
_OF_EVERY_TRACE = f"{_FACTS} ORDER BY trace_id"


class TurnWriter:
    """Writes rows through the connection of the span writer."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

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

    def put_all(self) -> None:
        """Make the rows of every stored trace."""
        facts = _facts(self._connection.execute(_OF_EVERY_TRACE))
        for _, spans in groupby(facts, key=lambda span: span.trace_id):
            self._insert(rows_of(list(spans)))

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
