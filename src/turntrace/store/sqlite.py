"""The default store: one SQLite file, one writer thread, any number of readers."""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
from concurrent.futures import Future
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

from turntrace.errors import StoreError
from turntrace.store.contract import StoreBusyError, StoredSpan, TraceSummary
from turntrace.store.sqlite_rows import COLUMNS, from_json, from_row
from turntrace.store.sqlite_write import SpanWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCHEMA_VERSION = 1
APPLICATION_ID = 0x5454_5243
"""Marks the file as ours ("TTRC"), so that no other program's database is taken for a store."""

BUSY_TIMEOUT_SECONDS = 5.0
MAX_PENDING_SPANS = 100_000
MAX_IDLE_READERS = 4
TRACE_ID_HEX_DIGITS = 32

_DAMAGED = "the file is damaged. Move it away to start afresh, or choose another with --store PATH"
_CHOOSE_ANOTHER = "Choose another file with --store PATH"

_RESOURCE_ID = COLUMNS.index("resource_id")
_SCOPE_ID = COLUMNS.index("scope_id")

_Batch: TypeAlias = "tuple[Sequence[StoredSpan], Future[None]]"

_TRACE = f"SELECT {', '.join(COLUMNS)} FROM spans WHERE trace_id = ? ORDER BY start_ns, span_id"  # noqa: S608 - the names are ours
_RECENT = (
    "SELECT trace_id, root_name, service, start_ns, end_ns - start_ns, span_count, error_count"
    " FROM traces ORDER BY start_ns DESC, trace_id LIMIT ?"
)


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
        self._connection = _open(path)
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

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """See ``TraceReader.trace``."""
        key = _trace_key(trace_id)
        if key is None:
            return []
        with self._reading() as connection:
            rows = connection.execute(_TRACE, (key,)).fetchall()
            resource_rows = _named(connection, "resources", {row[_RESOURCE_ID] for row in rows})
            scopes = _named(connection, "scopes", {row[_SCOPE_ID] for row in rows})
        try:
            known = {
                number: (service, from_json(attributes))
                for number, (service, attributes) in resource_rows.items()
            }
            return [from_row(row, known, scopes) for row in rows]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"the store {self.path} failed ({error!r}): {_DAMAGED}") from error

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
            return _explained(self.path, error)
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
                connection = _connect(self.path)
                connection.execute("PRAGMA query_only = 1")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
                connection = None
            raise _explained(self.path, error) from error
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


def _trace_key(trace_id: str) -> bytes | None:
    if len(trace_id) != TRACE_ID_HEX_DIGITS:
        return None
    try:
        return bytes.fromhex(trace_id)
    except ValueError:
        return None


def _named(
    connection: sqlite3.Connection, table: str, numbers: set[int]
) -> dict[int, tuple[Any, Any]]:
    """Return the rows of ``resources`` or ``scopes`` by their number."""
    query = f"SELECT * FROM {table} WHERE id = ?"  # noqa: S608 - the name is ours
    rows = [row for number in numbers for row in connection.execute(query, (number,))]
    return {row[0]: (row[1], row[2]) for row in rows}


def _connect(path: Path) -> sqlite3.Connection:
    """Connect to a file that is there; one that was deleted meanwhile is not made anew, empty."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _open(path: Path) -> sqlite3.Connection:
    """Return the writer's connection to a file that has our schema."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(
            f"cannot open the store {path}: {error.strerror}. Choose another with --store PATH"
        ) from error
    connection = _connect(path)
    try:
        has_schema = _has_schema(connection, path)
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if not has_schema:
            _make_schema(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _explained(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _has_schema(connection: sqlite3.Connection, path: Path) -> bool:
    """Tell a store from an empty file; refuse everything else, before anything is changed."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return False
    if owner != APPLICATION_ID:
        raise StoreError(
            f"{path} is the database of another program, not a turntrace store. {_CHOOSE_ANOTHER}"
        )
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the store {path} has schema version {version}, this turntrace knows"
            f" {SCHEMA_VERSION}. Upgrade turntrace, or choose another file with --store PATH"
        )
    return True


def _make_schema(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if not _has_schema(connection, path):  # another process may have been faster
        schema = resources.files("turntrace.store") / "schema" / "sqlite.sql"
        for statement in schema.read_text(encoding="utf-8").split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _explained(path: Path, error: sqlite3.Error) -> StoreError:
    """Return what SQLite said as an error that also says what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not a turntrace store ({error}). {_CHOOSE_ANOTHER}")
    if code == sqlite3.SQLITE_CORRUPT:
        advice = _DAMAGED
    elif code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        advice = (
            f"another process held it for more than {BUSY_TIMEOUT_SECONDS:g} s;"
            " end that process, or try again"
        )
    elif code == sqlite3.SQLITE_FULL:
        advice = "the disk is full. Free some space; nothing of this batch was stored"
    else:
        advice = "check the file and its directory, or choose another with --store PATH"
    return StoreError(f"the store {path} failed ({error}): {advice}")
