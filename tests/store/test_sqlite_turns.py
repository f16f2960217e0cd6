"""What only the SQLite store promises about turns: older files, and answers through an index."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from stored_spans import TRACE_ID, make_span, make_trace_id

from turntrace.errors import StoreError
from turntrace.store.sqlite import SqliteStore
from turntrace.store.sqlite_schema import SCHEMA_VERSION
from turntrace.store.sqlite_turns import _SORT_KEYS
from turntrace.store.turns import TurnQuery

if TYPE_CHECKING:
    from pathlib import Path

WAIT_SECONDS = 10
ENDED = {"turntrace.turn.outcome": "ok", "socket.event": "chat"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "view.sqlite"


def _make_older(path: Path) -> None:
    """Make a file what it was before there were rows of turns."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE turns")
        connection.execute("PRAGMA user_version = 1")


def test_older_file_is_upgraded_and_keeps_what_it_holds(path: Path) -> None:
    turn = make_span(attributes=ENDED)
    running = make_span(trace_id=make_trace_id(), parent_span_id="00000000000000ff")
    plain = make_span(trace_id=make_trace_id())
    store = SqliteStore(path)
    store.write([turn, running, plain]).result(WAIT_SECONDS)
    before = store.turns(TurnQuery(has_plain=True)).rows
    store.close()
    _make_older(path)

    upgraded = SqliteStore(path)
    assert upgraded.turns(TurnQuery(has_plain=True)).rows == before
    assert {row.outcome for row in before if row.is_turn} == {"ok", "running"}
    assert upgraded.trace(TRACE_ID) == [turn]
    assert len(upgraded.recent(10)) == 3
    upgraded.write([make_span(trace_id=make_trace_id(), attributes=ENDED)]).result(WAIT_SECONDS)
    assert upgraded.overview(TurnQuery()).turns == 3
    upgraded.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_upgrade_that_fails_leaves_the_older_file_as_it_was(path: Path) -> None:
    store = SqliteStore(path)
    store.write([make_span(attributes=ENDED)]).result(WAIT_SECONDS)
    store.close()
    _make_older(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE spans SET attributes = '{'")
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM spans").fetchone() == (1,)


@pytest.mark.parametrize("sort", _SORT_KEYS)
def test_every_order_of_turns_reads_no_more_than_its_page(path: Path, sort: str) -> None:
    SqliteStore(path).close()
    key = _SORT_KEYS[sort]
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT * FROM turns WHERE is_turn = 1"  # noqa: S608 - our own keys
            f" AND ({key}, trace_id, span_id) < (1, x'', x'')"
            f" ORDER BY {key} DESC, trace_id DESC, span_id DESC LIMIT 100"
        ).fetchall()
    steps = [step[3] for step in plan]
    assert len(steps) == 1, steps
    assert f"turns_{sort}" in steps[0]
