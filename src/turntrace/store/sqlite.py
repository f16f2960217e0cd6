"""The default store: one SQLite file, one writer thread, any number of readers."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias

from turntrace.errors import StoreError
from turntrace.store.contract import StoreBusyError, StoredSpan, TraceExtent, TraceSummary
from turntrace.store.sqlite_rows import COLUMNS, from_json, from_row
from turntrace.store.sqlite_schema import DAMAGED, connect, explained, open_for_writing
from turntrace.store.sqlite_turns import read_overview, read_turns
from turntrace.store.sqlite_write import SpanWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from turntrace.store.turns import TurnOverview, TurnPage, TurnQuery

MAX_PENDING_SPANS = 100_000
MAX_IDLE_READERS = 4
TRACE_ID_HEX_DIGITS = 32
SPAN_ID_HEX_DIGITS = 16

_RESOURCE_ID = COLUMNS.index("resource_id")
_SCOPE_ID = COLUMNS.index("scope_id")

_Batch: TypeAlias = "tuple[Sequence[StoredSpan], Future[None]]"

_TRACE = f"SELECT {', '.join(COLUMNS)} FROM spans WHERE trace_id = ? ORDER BY start_ns, span_id"  # noqa: S608 - the names are ours
# The rows that are left out are sorted without their documents.
_FIRST_OF_TRACE = (
    f"SELECT {', '.join(COLUMNS)} FROM spans WHERE id IN"  # noqa: S608 - the names are ours
    " (SELECT id FROM spans WHERE trace_id = ? ORDER BY start_ns, span_id LIMIT ?)"
    " ORDER BY start_ns, span_id"
)
_SPAN = f"SELECT {', '.join(COLUMNS)} FROM spans WHERE trace_id = ? AND span_id = ?"  # noqa: S608 - the names are ours
_EXTENT = (
    "SELECT start_ns, span_count, (SELECT max(id) FROM spans WHERE trace_id = ?)"
    " FROM traces WHERE trace_id = ?"
)
_RECENT = (
    "SELECT trace_id, root_name, service, start_ns, end_ns - start_ns, span_count, error_count"
    " FROM traces ORDER BY start_ns DESC, trace_id LIMIT ?"
)
_HAS_TRACE = "SELECT 1 FROM traces WHERE trace_id = ?"


class SqliteStore:
    """A ``TraceStore`` in one file (and SQLite's two beside it), readable by its owner only.

    Several processes may have the same file open. Writes are flushed to the system at once and
    to the disk at checkpoints: they survive a killed process, not always a power cut.

    Args:
        path: the file; it and its directory are made if missing.
        max_pending_spans: how many spans may wait for the writer before ``write`` refuses.

    Raises:
        StoreError: the file cannot be opened, is damaged, or was made by a newer turntrace.
    """

    def __init__(self, path: Path, *, max_pending_spans: int = MAX_PENDING_SPANS) -> None:
        self.path = path
        self._max_pending_spans = max_pending_spans
        self._pending_spans = 0
        self._is_closed = False
        self._lock = threading.Lock()
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._idle_readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._connection = open_for_writing(path)
        self._thread = threading.Thread(
            target=self._write_batches, name="turntrace-store-writer", daemon=True
        )
        self._thread.start()

    def write(self, spans: Sequence[StoredSpan]) -> Future[None]:
        """See ``TraceWriter.write``."""
        future: Future[None] = Future()
        with self._lock:
            if self._is_closed:
                raise StoreError(f"the store {self.path} is closed")
            if self._pending_spans and self._pending_spans + len(spans) > self._max_pending_spans:
                raise StoreBusyError(
                    f"{self._pending_spans} spans wait to be written to {self.path},"
                    f" {len(spans)} more would exceed {self._max_pending_spans}: try again later"
                )
            self._pending_spans += len(spans)
            self._batches.put((spans, future))
        return future

    def trace(self, trace_id: str, limit: int | None = None) -> list[StoredSpan]:
        """See ``TraceReader.trace``."""
        key = _key(trace_id, TRACE_ID_HEX_DIGITS)
        if key is None:
            return []
        if limit is None:
            return self._spans(_TRACE, (key,))
        return self._spans(_FIRST_OF_TRACE, (key, max(0, limit)))

    def span(self, trace_id: str, span_id: str) -> StoredSpan | None:
        """See ``TraceReader.span``."""
        key = (_key(trace_id, TRACE_ID_HEX_DIGITS), _key(span_id, SPAN_ID_HEX_DIGITS))
        if None in key:
            return None
        found = self._spans(_SPAN, key)
        return found[0] if found else None

    def extent(self, trace_id: str) -> TraceExtent | None:
        """See ``TraceReader.extent``."""
        key = _key(trace_id, TRACE_ID_HEX_DIGITS)
        if key is None:
            return None
        with self._reading() as connection:
            row = connection.execute(_EXTENT, (key, key)).fetchone()
        if row is None:
            return None
        start_ns, span_count, last = row
        return TraceExtent(start_ns=start_ns, span_count=span_count, version=f"{span_count}-{last}")

    def _spans(self, statement: str, values: tuple[Any, ...]) -> list[StoredSpan]:
        with self._reading() as connection:
            rows = connection.execute(statement, values).fetchall()
            resource_rows = _named(connection, "resources", {row[_RESOURCE_ID] for row in rows})
            scopes = _named(connection, "scopes", {row[_SCOPE_ID] for row in rows})
        try:
            known = {
                number: (service, from_json(attributes))
                for number, (service, attributes) in resource_rows.items()
            }
            return [from_row(row, known, scopes) for row in rows]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"the store {self.path} failed ({error!r}): {DAMAGED}") from error

    def recent(self, limit: int) -> list[TraceSummary]:
        """See ``TraceReader.recent``."""
        with self._reading() as connection:
            rows = connection.execute(_RECENT, (max(0, limit),)).fetchall()
        return [
            TraceSummary(
                trace_id=trace_id.hex(),
                root_name=root_name,
                service=service,
                start_ns=start_ns,
                duration_ns=duration_ns,
                span_count=span_count,
                error_count=error_count,
            )
            for trace_id, root_name, service, start_ns, duration_ns, span_count, error_count in rows
        ]

    def has_trace(self, trace_id: str) -> bool:
        """See ``TurnReader.has_trace``."""
        key = _key(trace_id, TRACE_ID_HEX_DIGITS)
        if key is None:
            return False
        with self._reading() as connection:
            return connection.execute(_HAS_TRACE, (key,)).fetchone() is not None

    def turns(self, query: TurnQuery) -> TurnPage:
        """See ``TurnReader.turns``."""
        with self._reading() as connection:
            return read_turns(connection, query)

    def overview(self, query: TurnQuery) -> TurnOverview:
        """See ``TurnReader.overview``."""
        with self._reading() as connection:
            return read_overview(connection, query)

    def close(self) -> None:
        """See ``TraceWriter.close``."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._batches.put(None)
        self._thread.join()
        self._close_idle_readers()
        self._connection.close()

    def _write_batches(self) -> None:
        """Run in the writer thread until ``close``."""
        writer = SpanWriter(self._connection)
        while (batch := self._batches.get()) is not None:
            spans, future = batch
            if future.set_running_or_notify_cancel():
                error = self._write_batch(writer, spans)
                with self._lock:
                    self._pending_spans -= len(spans)
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
            else:
                with self._lock:
                    self._pending_spans -= len(spans)

    def _write_batch(self, writer: SpanWriter, spans: Sequence[StoredSpan]) -> Exception | None:
        try:
            writer.write(spans)
        except sqlite3.Error as error:
            return explained(self.path, error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive any batch
            return error
        return None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a reading connection, inside one snapshot of the store."""
        if self._is_closed:
            raise StoreError(f"the store {self.path} is closed")
        connection = None
        try:
            try:
                connection = self._idle_readers.get_nowait()
            except queue.Empty:
                connection = connect(self.path)
                connection.execute("PRAGMA query_only = 1")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
                connection = None
            raise explained(self.path, error) from error
        finally:
            if connection is not None:
                self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._idle_readers.qsize() < MAX_IDLE_READERS and not connection.in_transaction:
            self._idle_readers.put(connection)
        else:
            connection.close()
        if self._is_closed:
            self._close_idle_readers()

    def _close_idle_readers(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle_readers.get_nowait().close()


def _key(text: str, digits: int) -> bytes | None:
    if len(text) != digits:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _named(
    connection: sqlite3.Connection, table: str, numbers: set[int]
) -> dict[int, tuple[Any, Any]]:
    """Return the rows of ``resources`` or ``scopes`` by their number."""
    query = f"SELECT * FROM {table} WHERE id = ?"  # noqa: S608 - the name is ours
    rows = [row for number in numbers for row in connection.execute(query, (number,))]
    return {row[0]: (row[1], row[2]) for row in rows}
