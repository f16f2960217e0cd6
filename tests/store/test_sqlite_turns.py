"""What only the SQLite store promises about turns: older files, and answers through an index."""

from __future__ import annotations

import errno
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


@pytest.mark.parametrize("damage", ["'{'", "CAST(x'7bff7d' AS TEXT)", "'1'"])
def test_span_that_cannot_be_read_costs_the_upgrade_its_own_trace_only(
    path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    turns = [make_span(trace_id=make_trace_id(), attributes=ENDED) for _ in range(3)]
    store = SqliteStore(path)
    store.write(turns).result(WAIT_SECONDS)
    store.close()
    _make_older(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE spans SET attributes = {damage} WHERE id = 2")  # noqa: S608 - our own values
    upgraded = SqliteStore(path)
    listed = {row.trace_id for row in upgraded.turns(TurnQuery()).rows}
    upgraded.close()
    assert listed == {turns[0].trace_id, turns[2].trace_id}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("upgrading the store")
    assert said[1].startswith("1 traces of the store")


def test_new_file_is_not_said_to_be_upgraded(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    SqliteStore(path).close()
    SqliteStore(path).close()
    assert caplog.records == []


def test_turn_written_by_an_older_process_after_the_upgrade_is_listed_at_the_next_opening(
    path: Path,
) -> None:
    store = SqliteStore(path)
    store.write([make_span(attributes=ENDED), make_span(trace_id=make_trace_id())]).result(
        WAIT_SECONDS
    )
    before = store.turns(TurnQuery(has_plain=True)).rows
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM turns")
    store = SqliteStore(path)
    assert store.turns(TurnQuery(has_plain=True)).rows == before
    store.close()


def test_totals_that_are_too_large_together_are_told_all_the_same(path: Path) -> None:
    store = SqliteStore(path)
    store.write(
        [
            make_span(attributes={**ENDED, "turntrace.turn.input_tokens": 10**15})
            for _ in range(10_000)
        ]
    ).result(WAIT_SECONDS)
    assert store.overview(TurnQuery()).input_tokens == 2**63 - 1
    store.close()


def test_file_of_another_user_is_refused_with_a_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    with pytest.raises(StoreError, match="another user"):
        SqliteStore(path)


def test_upgrade_that_fails_leaves_the_older_file_as_it_was(path: Path) -> None:
    store = SqliteStore(path)
    store.write([make_span(attributes=ENDED)]).result(WAIT_SECONDS)
    store.close()
    _make_older(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE turns (id INTEGER PRIMARY KEY)")
    with pytest.raises(StoreError, match="failed"):
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
