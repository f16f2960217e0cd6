"""One batch of spans into SQLite, in one transaction, with the rows of their traces and turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from turntrace.store.sqlite_rows import COLUMNS, ERROR, to_json, to_row
from turntrace.store.sqlite_turn_write import TurnWriter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from turntrace.store.contract import StoredSpan

_MAX_KNOWN = 10_000
"""Resources and scopes remembered by number; a service restart makes a new resource."""

_INSERT = (
    f"INSERT INTO spans ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - the names are ours
    " ON CONFLICT (trace_id, span_id) DO NOTHING"
)
# Its number is new too: by the last number of a trace readers know whether it is as it was.
_REPLACE = (
    "UPDATE spans SET id = (SELECT max(id) + 1 FROM spans),"  # noqa: S608 - the names are ours
    f" {', '.join(f'{column} = ?' for column in COLUMNS)}"
    " WHERE trace_id = ? AND span_id = ?"
)
_JUDGED = (
    "SELECT parent_span_id, start_ns, end_ns, status_code, name, resource_id"
    " FROM spans WHERE trace_id = ? AND span_id = ?"
)
_SUMMARY = (
    "SELECT start_ns, end_ns, span_count, error_count, root_rank, root_start_ns, root_name, service"
    " FROM traces WHERE trace_id = ?"
)
_RECOUNT = (
    "SELECT min(start_ns), max(end_ns), count(*), sum(status_code = ?)"
    " FROM spans WHERE trace_id = ?"
)
_ROOT = (
    "SELECT parent_span_id != x'', start_ns, name, service"
    " FROM spans JOIN resources ON resources.id = resource_id WHERE trace_id = ?"
    " ORDER BY 1, start_ns, span_id LIMIT 1"
)


class Summary(NamedTuple):
    """The row of a trace in ``traces``, in the order of its columns after the id."""

    start_ns: int
    end_ns: int
    span_count: int
    error_count: int
    root_rank: int
    root_start_ns: int
    root_name: str
    service: str

    def joined(self, other: Summary) -> Summary:
        """Return the summary of the spans of both."""
        root = min(self, other, key=lambda one: (one.root_rank, one.root_start_ns))
        return Summary(
            min(self.start_ns, other.start_ns),
            max(self.end_ns, other.end_ns),
            self.span_count + other.span_count,
            self.error_count + other.error_count,
            root.root_rank,
            root.root_start_ns,
            root.root_name,
            root.service,
        )


class SpanWriter:
    """Writes batches through one connection that nobody else uses meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._resources: dict[tuple[str, str], int] = {}
        self._scopes: dict[tuple[str, str], int] = {}
        self._turns = TurnWriter(connection)

    def write(self, spans: Sequence[StoredSpan]) -> None:
        """Store all spans or, if anything is raised, none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._write(spans)
            self._connection.execute("COMMIT")
        except BaseException:
            self._resources.clear()
            self._scopes.clear()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _write(self, spans: Sequence[StoredSpan]) -> None:
        execute = self._connection.execute
        added: dict[bytes, Summary] = {}
        changed: dict[bytes, bool] = {}
        spans_of: dict[bytes, list[StoredSpan]] = {}
        resource_ids: dict[tuple[int, str], int] = {}  # by identity: the batch keeps it alive
        for span in spans:
            key = (id(span.resource), span.service)
            resource_id = resource_ids.get(key)
            if resource_id is None:
                resource_id = resource_ids[key] = self._resource_id(span)
            row = to_row(span, resource_id, self._scope_id(span))
            trace_id = cast("bytes", row[0])
            spans_of.setdefault(trace_id, []).append(span)
            if execute(_INSERT, row).rowcount:
                alone = _alone(span)
                known = added.get(trace_id)
                added[trace_id] = alone if known is None else known.joined(alone)
            else:
                changed[trace_id] = self._replace(row) or changed.get(trace_id, False)
        for trace_id, spans_here in spans_of.items():
            if changed.get(trace_id):
                before, after = None, self._recount(trace_id)
            else:
                before, after = self._extend(trace_id, added.get(trace_id))
            if before is None and trace_id not in changed:
                self._turns.put_new(spans_here)
            else:
                self._turns.put_grown(trace_id, spans_here, after.span_count)

    def _replace(self, row: tuple[object, ...]) -> bool:
        """Replace a stored span; True if the summary of its trace may have changed."""
        cell = dict(zip(COLUMNS, row, strict=True))
        key = (cell["trace_id"], cell["span_id"])
        before = self._connection.execute(_JUDGED, key).fetchone()
        self._connection.execute(_REPLACE, (*row, *key))
        judged = ("parent_span_id", "start_ns", "end_ns", "status_code", "name", "resource_id")
        return bool(tuple(cell[column] for column in judged) != before)

    def _extend(self, trace_id: bytes, added: Summary | None) -> tuple[Summary | None, Summary]:
        """Return the summary before and after what was added."""
        row = self._connection.execute(_SUMMARY, (trace_id,)).fetchone()
        before = None if row is None else Summary(*row)
        after = added if before is None else before if added is None else before.joined(added)
        assert after is not None  # noqa: S101 - a span that was replaced has a trace
        if added is not None:
            self._put(trace_id, after)
        return before, after

    def _recount(self, trace_id: bytes) -> Summary:
        counts = self._connection.execute(_RECOUNT, (ERROR, trace_id)).fetchone()
        root = self._connection.execute(_ROOT, (trace_id,)).fetchone()
        summary = Summary(*counts, *root)
        self._put(trace_id, summary)
        return summary

    def _put(self, trace_id: bytes, summary: Summary) -> None:
        self._connection.execute(
            "REPLACE INTO traces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (trace_id, *summary)
        )

    def _resource_id(self, span: StoredSpan) -> int:
        key = (span.service, to_json(dict(sorted(span.resource.items()))))
        return self._number(self._resources, "resources", "service, attributes", key)

    def _scope_id(self, span: StoredSpan) -> int:
        key = (span.scope_name, span.scope_version)
        return self._number(self._scopes, "scopes", "name, version", key)

    def _number(
        self, known: dict[tuple[str, str], int], table: str, columns: str, key: tuple[str, str]
    ) -> int:
        """Return the number of a row that is stored once and referred to, made if missing."""
        number = known.get(key)
        if number is None:
            execute = self._connection.execute
            execute(f"INSERT INTO {table} ({columns}) VALUES (?, ?) ON CONFLICT DO NOTHING", key)  # noqa: S608 - the names are ours
            found = execute(f"SELECT id FROM {table} WHERE ({columns}) = (?, ?)", key)  # noqa: S608 - the names are ours
            number = int(found.fetchone()[0])
            if len(known) >= _MAX_KNOWN:
                known.clear()
            known[key] = number
        return number


def _alone(span: StoredSpan) -> Summary:
    """Return the summary of a trace that has only this span."""
    return Summary(
        span.start_ns,
        span.end_ns,
        1,
        int(span.status_code == "error"),
        int(bool(span.parent_span_id)),
        span.start_ns,
        span.name,
        span.service,
    )
