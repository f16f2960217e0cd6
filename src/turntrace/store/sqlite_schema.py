"""The file of a SQLite store: opened, recognised, brought to the present schema, explained."""

from __future__ import annotations

import logging
import os
import sqlite3
from importlib import resources
from typing import TYPE_CHECKING

from turntrace.errors import StoreError
from turntrace.store.sqlite_turn_write import TurnWriter

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("turntrace")

SCHEMA_VERSION = 2
APPLICATION_ID = 0x5454_5243
"""Marks the file as ours ("TTRC"), so that no other program's database is taken for a store."""

BUSY_TIMEOUT_SECONDS = 5.0

DAMAGED = "the file is damaged. Move it away to start afresh, or choose another with --store PATH"
_CHOOSE_ANOTHER = "Choose another file with --store PATH"


def connect(path: Path) -> sqlite3.Connection:
    """Connect to a file that is there; one that was deleted meanwhile is not made anew, empty."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return the writer's connection to a file that has our schema."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(
            f"cannot open the store {path}: {error.strerror}. Choose another with --store PATH"
        ) from error
    connection = connect(path)
    try:
        version = _version(connection, path)
        _make_private(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version != SCHEMA_VERSION:
            _upgrade(connection, path)
        elif TurnWriter(connection).misses_any():
            connection.execute("BEGIN IMMEDIATE")
            _put_missing(connection, path)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        raise explained(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    try:
        path.chmod(0o600)
    except OSError as error:
        raise StoreError(
            f"cannot keep others from reading the store {path}: {error.strerror}. It belongs to"
            f" another user. {_CHOOSE_ANOTHER}"
        ) from error


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return a store's version, 0 for an empty file; refuse the rest before changing anything."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return 0
    if owner != APPLICATION_ID:
        raise StoreError(
            f"{path} is the database of another program, not a turntrace store. {_CHOOSE_ANOTHER}"
        )
    if not 1 <= version <= SCHEMA_VERSION:
        raise StoreError(
            f"the store {path} has schema version {version}, this turntrace knows"
            f" {SCHEMA_VERSION}. Upgrade turntrace, or choose another file with --store PATH"
        )
    return version


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a file to the present version in one transaction, keeping what it holds."""
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection, path)  # another process may have been faster
    if version < 1:
        _run(connection, "sqlite.sql")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    if version < SCHEMA_VERSION:
        if version:
            logger.warning("upgrading the store %s: large ones take some seconds", path)
        _run(connection, "sqlite_turns.sql")
        _put_missing(connection, path)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _put_missing(connection: sqlite3.Connection, path: Path) -> None:
    if unreadable := TurnWriter(connection).put_missing():
        logger.warning(
            "%d traces of the store %s cannot be read and are not listed: the file is damaged in"
            " part. To be rid of them, choose another with --store PATH",
            unreadable,
            path,
        )


def _run(connection: sqlite3.Connection, name: str) -> None:
    schema = resources.files("turntrace.store") / "schema" / name
    for statement in schema.read_text(encoding="utf-8").split(";\n"):
        connection.execute(statement)


def explained(path: Path, error: sqlite3.Error) -> StoreError:
    """Return what SQLite said as an error that also says what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not a turntrace store ({error}). {_CHOOSE_ANOTHER}")
    if code == sqlite3.SQLITE_CORRUPT:
        advice = DAMAGED
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
