"""What only the SQLite store promises: its file, and what it says when the file is unusable."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from stored_spans import TRACE_ID, make_span, make_trace_id

from turntrace.errors import StoreError
from turntrace.store.contract import StoreBusyError
from turntrace.store.sqlite import _RECENT, _TRACE, SqliteStore
from turntrace.store.sqlite_schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

WAIT_SECONDS = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "view.sqlite"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_readable_by_their_owner_only(path: Path) -> None:
    store = SqliteStore(path)
    store.write([make_span()]).result(WAIT_SECONDS)
    store.trace(TRACE_ID)
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert {_mode(file) for file in files} == {0o600}
    assert _mode(path.parent) == 0o700
    store.close()


def test_store_that_others_could_read_is_closed_to_them(path: Path) -> None:
    SqliteStore(path).close()
    path.chmod(0o644)
    SqliteStore(path).close()
    assert _mode(path) == 0o600


def test_closing_leaves_one_file(path: Path) -> None:
    store = SqliteStore(path)
    store.write([make_span()]).result(WAIT_SECONDS)
    store.trace(TRACE_ID)
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["view.sqlite"]


@pytest.mark.parametrize("times", [1, 2, 20, 200])
def test_file_that_is_no_database_is_refused_unchanged_and_not_to_be_moved(
    path: Path, times: int
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"import this  # somebody's program" * times)
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"not a turntrace store.*another.*--store") as raised:
        SqliteStore(path)
    assert "Move" not in str(raised.value)
    assert (path.read_bytes(), _mode(path)) == (before, 0o644)


def test_damaged_pages_are_an_error_with_advice(path: Path) -> None:
    store = SqliteStore(path)
    store.write([make_span(trace_id=make_trace_id()) for _ in range(2000)]).result(WAIT_SECONDS)
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*Move it away.*--store"):
        _read_all(path)


def _read_all(path: Path) -> None:
    store = SqliteStore(path)
    try:
        for summary in store.recent(5000):
            store.trace(summary.trace_id)
    finally:
        store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE spans SET attributes = '{'",
        "UPDATE spans SET kind = 99",
        "UPDATE spans SET trace_id = trace_id, events = '[1]'",
        "DELETE FROM resources",
        "UPDATE scopes SET id = 99",
        "UPDATE spans SET name = CAST(x'ff' AS TEXT)",
        "DROP TABLE spans",
    ],
)
def test_damaged_rows_are_an_error(path: Path, damage: str) -> None:
    store = SqliteStore(path)
    store.write([make_span()]).result(WAIT_SECONDS)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(damage)
    connection.close()
    with pytest.raises(StoreError, match=r"the store .* failed"):
        store.trace(TRACE_ID)
    store.close()


def test_store_deleted_while_open_is_an_error_and_not_made_anew(path: Path) -> None:
    store = SqliteStore(path)
    path.unlink()
    with pytest.raises(StoreError, match="check the file"):
        store.trace(TRACE_ID)
    assert not path.exists()
    store.close()


def test_path_may_hold_characters_of_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=ro#%20.sqlite"
    store = SqliteStore(path)
    store.write([make_span()]).result(WAIT_SECONDS)
    assert len(store.trace(TRACE_ID)) == 1
    assert path.exists()
    store.close()


def test_store_of_a_newer_turntrace_is_refused_unchanged(path: Path) -> None:
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"version {SCHEMA_VERSION + 1}.*Upgrade turntrace"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_database_of_another_program_is_refused_unchanged(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (id)")
    connection.close()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(path)
    assert path.read_bytes() == before
    assert _mode(path) == 0o644


def test_path_that_cannot_be_made_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot open the store .*--store PATH"):
        SqliteStore(tmp_path / "file" / "view.sqlite")


def test_write_refuses_at_once_while_too_much_waits(path: Path) -> None:
    store = SqliteStore(path, max_pending_spans=10)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    waiting = store.write([make_span() for _ in range(8)])
    with pytest.raises(StoreBusyError, match=r"8 spans wait.*try again"):
        store.write([make_span() for _ in range(3)])
    also_waiting = store.write([make_span() for _ in range(2)])
    blocker.execute("ROLLBACK")
    blocker.close()
    waiting.result(WAIT_SECONDS)
    also_waiting.result(WAIT_SECONDS)
    store.write([make_span() for _ in range(10)]).result(WAIT_SECONDS)
    assert len(store.trace(TRACE_ID)) == 20
    store.close()


def test_batch_larger_than_the_queue_is_taken_alone(path: Path) -> None:
    store = SqliteStore(path, max_pending_spans=10)
    store.write([make_span() for _ in range(30)]).result(WAIT_SECONDS)
    assert len(store.trace(TRACE_ID)) == 30
    store.close()


def test_cancelled_write_writes_nothing(path: Path) -> None:
    store = SqliteStore(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    first = store.write([make_span(name="first")])
    second = store.write([make_span(name="second")])
    assert second.cancel()
    blocker.execute("ROLLBACK")
    blocker.close()
    first.result(WAIT_SECONDS)
    store.close()
    reopened = SqliteStore(path)
    assert [span.name for span in reopened.trace(TRACE_ID)] == ["first"]
    reopened.close()


def test_writer_thread_ends_with_the_store(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    assert not store._thread.is_alive()


@pytest.mark.parametrize("query", [_TRACE, _RECENT])
def test_every_named_query_finds_its_rows_through_an_index(path: Path, query: str) -> None:
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", (b"",)).fetchall()
    first = plan[0][3]
    assert "USING INDEX" in first or "USING COVERING INDEX" in first, plan
