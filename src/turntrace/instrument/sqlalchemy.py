"""One CLIENT span per statement that SQLAlchemy executes, 2.0 and 2.1, sync and async."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from turntrace import attributes as keys
from turntrace.failsafe import Guarded
from turntrace.record.failure import failed
from turntrace.record.turn_summary import current_turn
from turntrace.statements import MAX_LENGTH, without_literals

SCOPE = "turntrace.sqlalchemy"

_OPEN = "_turntrace_span"
_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
_MAX_REMEMBERED = 8192

_MAYBE_VALUE = re.compile(r"['$#\\]|--|/\*")
_FIRST_WORD = re.compile(r"\s*([A-Za-z]+)")
_TABLE = re.compile(
    r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
    r"(?:[\"`\[]?\w+[\"`\]]?\.){0,2}[\"`\[]?([A-Za-z_]\w*)",
    re.IGNORECASE | re.ASCII,
)
# EXTRACT(year FROM created), IS DISTINCT FROM name: a FROM that names no table.
_NO_TABLE_FOLLOWS = re.compile(
    r"(?:\b(?:EXTRACT|TRIM|SUBSTRING|OVERLAY)\s*\([^()]*|\bDISTINCT\s+)\Z",
    re.IGNORECASE | re.ASCII,
)
_OPERATIONS = frozenset(
    {
        "ALTER",
        "ANALYZE",
        "BEGIN",
        "CALL",
        "COMMIT",
        "COPY",
        "CREATE",
        "DELETE",
        "DROP",
        "EXECUTE",
        "EXPLAIN",
        "GRANT",
        "INSERT",
        "LOCK",
        "MERGE",
        "PRAGMA",
        "RELEASE",
        "REPLACE",
        "REVOKE",
        "ROLLBACK",
        "SAVEPOINT",
        "SELECT",
        "SET",
        "SHOW",
        "TRUNCATE",
        "UPDATE",
        "VACUUM",
        "VALUES",
        "WITH",
    }
)


class Statement(NamedTuple):
    """What a span says of a statement."""

    name: str
    attributes: dict[str, Any]
    text: dict[str, Any]
    """The statement itself; only once the database has taken it."""


def describe(text: str, system: str) -> Statement:
    """Return name and attributes of a statement; cached, statements of an app are few."""
    if len(text) > _MAX_REMEMBERED:
        return _described(text, system)
    return _remembered(text, system)


def _described(text: str, system: str) -> Statement:
    shown = without_literals(text, system)
    readable = text if shown is None else shown
    word = _FIRST_WORD.match(readable)
    operation = word.group(1).upper() if word else ""
    if operation not in _OPERATIONS:
        operation = "SQL"
    table = _table(readable, is_clean=shown is not None) if operation != "PRAGMA" else ""
    summary = f"{operation} {table}" if table else operation
    values: dict[str, Any] = {
        keys.DB_SYSTEM_NAME: _SYSTEMS.get(system, system),
        keys.DB_SYSTEM: system,
        keys.DB_QUERY_SUMMARY: summary,
    }
    if operation != "SQL":
        values[keys.DB_OPERATION_NAME] = values[keys.DB_OPERATION] = operation
    if table:
        values[keys.DB_COLLECTION_NAME] = values[keys.DB_SQL_TABLE] = table
    return Statement(
        summary,
        values,
        {} if shown is None else {keys.DB_QUERY_TEXT: shown, keys.DB_STATEMENT: shown},
    )


_remembered = lru_cache(maxsize=512)(_described)
"""At most 512 statements of 8 KB; a longer one is described anew."""


def _table(text: str, *, is_clean: bool) -> str:
    """Return the first table named, in a statement with literals before the first of them."""
    value = None if is_clean else _MAYBE_VALUE.search(text)
    end = min(value.start() if value else len(text), MAX_LENGTH)
    for found in _TABLE.finditer(text, 0, end):
        before = text[: found.start()]
        is_quoted = before.count('"') % 2 or before.count("`") % 2
        if is_quoted or before.count("[") != before.count("]"):
            return ""
        if not _NO_TABLE_FOLLOWS.search(before[-100:]):
            return found.group(1)
    return ""


def _before(
    connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    if context is None:
        return
    with Guarded("the start of an SQL span"):
        described = describe(statement, connection.dialect.name)
        span = trace.get_tracer(SCOPE).start_span(
            described.name, None, SpanKind.CLIENT, described.attributes
        )
        url = connection.engine.url
        if url.host:
            span.set_attribute(keys.SERVER_ADDRESS, url.host)
            if url.port:
                span.set_attribute(keys.SERVER_PORT, url.port)
        if url.database and url.host:
            span.set_attribute(keys.DB_NAMESPACE, url.database)
        setattr(context, _OPEN, (span, described.text, time.perf_counter()))


def _after(
    _connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    _end(context, None)


def _error(exception_context: Any) -> None:
    _end(exception_context.execution_context, exception_context.original_exception)


def _end(context: Any, error: BaseException | None) -> None:
    opened = getattr(context, _OPEN, None)
    if opened is None:
        return
    with Guarded("the end of an SQL span"):
        delattr(context, _OPEN)
        span, text, started = opened
        milliseconds = (time.perf_counter() - started) * 1000
        turn = current_turn()
        if turn is not None:
            turn.used_database(milliseconds)
        span.set_attribute(keys.DB_QUERY_DURATION_MS, round(milliseconds, 3))
        if error is None:
            # What a user typed, pasted without quotes, reads like names: it does not get here.
            span.set_attributes(text)
        elif isinstance(error, Exception):
            failed(span, error)
        span.end()


class _SqlalchemyInstrumentation:
    """Listens on the ``Engine`` class: engines made before and after are both covered."""

    def instrument(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        for name, listener in _listeners():
            event.listen(Engine, name, listener)

    def uninstrument(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        for name, listener in _listeners():
            event.remove(Engine, name, listener)


def _listeners() -> tuple[tuple[str, Any], ...]:
    return (
        ("before_cursor_execute", _before),
        ("after_cursor_execute", _after),
        ("handle_error", _error),
    )


INSTRUMENTATION = _SqlalchemyInstrumentation()
