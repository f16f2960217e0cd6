"""OpenTelemetry's own hooks for SQLAlchemy: which kind of database was asked leaves, no statement.

Run by `test_third_party_sqlalchemy.py`, in a process that has the versions these hooks ask for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy.ext.asyncio
from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy.exc import DBAPIError
from two_sides import CANARY

import turntrace
from turntrace import attributes as keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from two_sides import TwoSides

    Ask = Callable[[Path], Awaitable[None]]

SCOPE = "opentelemetry.instrumentation.sqlalchemy"
ASKED = {
    place: f"{CANARY}_{place}"
    for place in ("literal", "parameter", "verb", "error", "identifier", "comment")
}
EVERYTHING = {"OTEL_SEMCONV_STABILITY_OPT_IN": "database/dup,http/dup"}
COMMENTED = {
    "enable_commenter": True,
    "enable_attribute_commenter": True,
    "commenter_options": {"db_driver": True, "opentelemetry_values": True},
}
BY_DEFAULT = {"literal", "verb", "error", "identifier"}
# Written by an app that pastes what a user typed into its SQL.
STATEMENTS: list[tuple[str, dict[str, str]]] = [
    ("CREATE TABLE notes (text TEXT UNIQUE, CHECK (text <> 'bad'))", {}),
    (f"INSERT INTO notes VALUES ('{ASKED['literal']}')", {}),  # noqa: S608 - see above
    ("INSERT INTO notes VALUES (:text)", {"text": ASKED["parameter"]}),
    (f"SELECT text FROM notes WHERE text = '{ASKED['literal']}'", {}),  # noqa: S608 - see above
    # These fail: a constraint, a text that is no statement, and two that the error repeats.
    ("INSERT INTO notes VALUES (:text)", {"text": ASKED["parameter"]}),
    (f"{ASKED['verb']} is what somebody typed", {}),
    (f"SELECT * FROM {ASKED['error']}", {}),  # noqa: S608 - see above
    (f'SELECT "x"."{ASKED["identifier"]}" FROM notes', {}),  # noqa: S608 - see above
]
FAILING = 4


async def sync(folder: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{folder}/notes.db")
    for statement, parameters in STATEMENTS:
        with contextlib.suppress(DBAPIError), engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement), parameters)
    engine.dispose()


async def asynchronous(folder: Path) -> None:
    # By its module: what was imported before the hooks came is not hooked.
    engine = sqlalchemy.ext.asyncio.create_async_engine(f"sqlite+aiosqlite:///{folder}/notes.db")
    for statement, parameters in STATEMENTS:
        with contextlib.suppress(DBAPIError):
            async with engine.begin() as connection:
                await connection.execute(sqlalchemy.text(statement), parameters)
    await engine.dispose()


@pytest.fixture(params=[sync, asynchronous], ids=lambda ask: ask.__name__)
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


AS: dict[str, tuple[dict[str, str], dict[str, Any], set[str]]] = {
    "by default": ({}, {}, BY_DEFAULT),
    "in both conventions": (EVERYTHING, {}, BY_DEFAULT),
    "with comments in the statement": (EVERYTHING, COMMENTED, BY_DEFAULT | {"comment"}),
}


@pytest.fixture
def switched_on(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, both_sides: TwoSides
) -> Iterator[set[str]]:
    """Switch the instrumentation on; the value is what it captures."""
    settings, options, captures = AS[request.param]
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    SQLAlchemyInstrumentor().instrument(tracer_provider=both_sides.provider, **options)
    yield captures
    if SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
        SQLAlchemyInstrumentor().uninstrument()


@pytest.fixture
def comment() -> Iterator[None]:
    """Put a value of the request into the context, from where the commenter takes it."""
    values = {"controller": ASKED["comment"]}
    token = attach(set_value("SQLCOMMENTER_ORM_TAGS_AND_VALUES", values, get_current()))
    yield
    detach(token)


def each(*names: str) -> Any:
    return pytest.mark.parametrize("switched_on", names or list(AS), indirect=True)


@each()
async def test_no_literal_parameter_or_error_leaves(
    switched_on: set[str], comment: None, ask: Ask, tmp_path: Path, both_sides: TwoSides
) -> None:
    with turntrace.turn("statements"):
        await ask(tmp_path)
    assert both_sides.leaked() == []


@each()
async def test_without_the_guard_all_that_it_captures_would_leave(
    switched_on: set[str], comment: None, ask: Ask, tmp_path: Path, both_sides: TwoSides
) -> None:
    await ask(tmp_path)
    assert both_sides.captured(ASKED) == switched_on


@each()
async def test_that_the_database_was_asked_leaves_below_the_turn(
    switched_on: set[str], ask: Ask, tmp_path: Path, both_sides: TwoSides
) -> None:
    with turntrace.turn("statements"):
        await ask(tmp_path)
    (turn,) = both_sides.of("turntrace.conversation")
    calls = both_sides.of(SCOPE)
    asked = [call for call in calls if both_sides.recorded_name(call) != "connect"]
    assert len(asked) == len(STATEMENTS)
    for call in calls:
        assert both_sides.parent(call) == turn
        assert call.kind == SpanKind.CLIENT.value
        assert call.attributes[keys.DB_SYSTEM] == "sqlite"
        assert call.status_description == ""
    failed = [call for call in asked if call.status_code == StatusCode.ERROR.value]
    assert failed == asked[-FAILING:]


@each("by default", "in both conventions")
def test_its_names_and_operations_leave(switched_on: set[str], both_sides: TwoSides) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    engine.dispose()
    assert [span.name for span in both_sides.of(SCOPE)] == ["connect", "SELECT"]
    assert both_sides.of(SCOPE)[1].attributes[keys.DB_OPERATION] == "SELECT"


@each("in both conventions")
async def test_of_today_s_conventions_the_system_leaves(
    switched_on: set[str], ask: Ask, tmp_path: Path, both_sides: TwoSides
) -> None:
    await ask(tmp_path)
    for call in both_sides.of(SCOPE):
        assert call.attributes[keys.DB_SYSTEM_NAME] == "sqlite"


@each("by default")
async def test_switched_off_it_makes_no_spans(
    switched_on: set[str], ask: Ask, tmp_path: Path, both_sides: TwoSides
) -> None:
    SQLAlchemyInstrumentor().uninstrument()
    await ask(tmp_path)
    assert both_sides.unguarded == []
