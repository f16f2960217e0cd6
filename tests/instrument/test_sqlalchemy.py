"""One span for each statement, and no value in it; under the SQLAlchemy that is imported."""

# ruff: noqa: S608 - statements with canaries in them are what is tested

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from opentelemetry import trace
from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

import turntrace
from turntrace import attributes as keys
from turntrace.conversation import turn
from turntrace.export import otlp
from turntrace.instrument import sqlalchemy as instrumentation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Recorded

CANARY = "canary"
LINE = os.environ.get("TURNTRACE_TEST_SQLALCHEMY", "2.")
"""Which SQLAlchemy these claims are to be made of; `test_sqlalchemy_lines.py` sets it."""


class Base(DeclarativeBase):
    pass


class Style(Base):
    __tablename__ = "styles"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


def memory_engine() -> Engine:
    engine = sa.create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Style), {"id": 1, "name": "japandi"})
    return engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Make an engine before the instrumentation is switched on."""
    made = memory_engine()
    yield made
    made.dispose()


@pytest.fixture(autouse=True)
def switched_on(engine: Engine) -> Iterator[None]:
    turntrace.instrument("sqlalchemy")
    yield
    turntrace.uninstrument()


def app_span(name: str) -> Any:
    return trace.get_tracer("turntrace.test").start_as_current_span(name)


def assert_no_canary(recorded: Recorded) -> None:
    assert recorded.spans
    assert CANARY.encode() not in otlp.encode_request(otlp.Resource({}), recorded.spans).lower()


def test_sqlalchemy_is_the_one_asked_for() -> None:
    assert sa.__version__.startswith(LINE)


def test_statement_is_one_span_below_the_current_one(engine: Engine, recorded: Recorded) -> None:
    with app_span("turn"), engine.connect() as connection:
        connection.execute(sa.select(Style))
    assert recorded.tree() == ["turn", "  SELECT styles"]
    span = recorded.one("SELECT styles")
    assert span.kind == trace.SpanKind.CLIENT.value
    assert span.status_code == 0


def test_statement_is_described_in_both_vocabularies(engine: Engine, recorded: Recorded) -> None:
    with engine.connect() as connection:
        connection.execute(sa.select(Style.id).where(Style.name == CANARY))
    values = dict(recorded.one("SELECT styles").attributes)
    values.pop(keys.SAMPLING_REASON)
    assert values.pop(keys.DB_QUERY_DURATION_MS) >= 0
    text = "SELECT styles.id FROM styles WHERE styles.name = ?"
    assert values == {
        keys.DB_SYSTEM: "sqlite",
        keys.DB_SYSTEM_NAME: "sqlite",
        keys.DB_OPERATION: "SELECT",
        keys.DB_OPERATION_NAME: "SELECT",
        keys.DB_SQL_TABLE: "styles",
        keys.DB_COLLECTION_NAME: "styles",
        keys.DB_QUERY_SUMMARY: "SELECT styles",
        keys.DB_STATEMENT: text,
        keys.DB_QUERY_TEXT: text,
    }


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("INSERT INTO styles (id, name) VALUES (:id, :name)", "INSERT styles"),
        ("UPDATE styles SET name = :name", "UPDATE styles"),
        ("DELETE FROM styles WHERE name = :name AND id = :id", "DELETE styles"),
        ('SELECT * FROM "styles"', "SELECT styles"),
        ("SELECT * FROM main.styles", "SELECT styles"),
        ("  select * from styles", "SELECT styles"),
        ("CREATE TABLE IF NOT EXISTS styles (id INT)", "CREATE styles"),
        ("PRAGMA foreign_keys", "PRAGMA"),
        ("WITH found AS (SELECT id FROM styles) SELECT id FROM found", "WITH styles"),
    ],
)
def test_span_is_named_for_operation_and_first_table(
    engine: Engine, recorded: Recorded, statement: str, name: str
) -> None:
    wanted = {key: value for key, value in (("id", 9), ("name", "x")) if f":{key}" in statement}
    with engine.begin() as connection:
        connection.execute(sa.text(statement), wanted)
    assert recorded.names() == [name]


LEAKS: dict[str, Any] = {
    "a parameter": sa.select(Style).where(Style.name == CANARY),
    "an IN list": sa.select(Style).where(Style.name.in_([CANARY, "canary2"])),
    "a literal in text": sa.text(f"SELECT * FROM styles WHERE name = '{CANARY}'"),
    "a literal before the table": sa.text(f"SELECT '{CANARY} FROM {CANARY}' FROM styles"),
    "an escaped quote": sa.text(f"SELECT 'it''s FROM {CANARY}' FROM styles"),
    "a comment": sa.text(f"/* FROM {CANARY} */ SELECT * FROM styles -- {CANARY}"),
    "a line comment": sa.text(f"-- FROM {CANARY}\nSELECT * FROM styles"),
    "a double-quoted word": sa.text(f'SELECT "{CANARY} FROM {CANARY}"'),
    "an unbalanced double-quoted word": sa.text(f'SELECT "a""b FROM {CANARY}"'),
    "a label": sa.text(f'SELECT id AS "{CANARY}" FROM styles'),
    "a hint": sa.select(Style).prefix_with(f"/* {CANARY} */"),
    "a pragma's value": sa.text(f"PRAGMA foreign_keys = {CANARY}"),
    "literal_column": sa.select(sa.literal_column(f"'{CANARY}'")).select_from(Style),
    "a blob": sa.text(f"SELECT x'{CANARY.encode().hex()}', '{CANARY}' FROM styles"),
}


@pytest.mark.parametrize("statement", LEAKS.values(), ids=LEAKS.keys())
def test_value_is_never_in_the_record(engine: Engine, recorded: Recorded, statement: Any) -> None:
    with engine.connect() as connection:
        connection.execute(statement)
    assert_no_canary(recorded)


def test_literal_binds_are_never_in_the_record(engine: Engine, recorded: Recorded) -> None:
    query = sa.select(Style).where(Style.name == CANARY).where(Style.id == 4111111111111111)
    with engine.connect() as connection:
        rendered = query.compile(engine, compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql(str(rendered))
    assert_no_canary(recorded)
    assert b"4111" not in otlp.encode_request(otlp.Resource({}), recorded.spans)


def test_failed_statement_has_the_error_s_type_and_not_its_text(
    engine: Engine, recorded: Recorded
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(Style), {"id": 2, "name": CANARY})
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.insert(Style), {"id": 3, "name": CANARY})
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text(f"SELECT {CANARY} FROM styles WHERE name = '{CANARY}'"))
    _, constraint, unknown = recorded.spans
    assert constraint.status_code == trace.StatusCode.ERROR.value
    assert constraint.attributes[keys.ERROR_TYPE] == "sqlite3.IntegrityError"
    assert unknown.attributes[keys.ERROR_TYPE] == "sqlite3.OperationalError"
    assert_no_canary(recorded)


def test_failed_statement_has_no_text_for_what_a_user_typed_may_read_like_names(
    engine: Engine, recorded: Recorded
) -> None:
    typed = f"{CANARY} is what I typed"
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.execute(sa.text(f"SELECT id FROM styles WHERE name = {typed}"))
    (span,) = recorded.spans
    assert span.attributes[keys.DB_QUERY_SUMMARY] == "SELECT styles"
    assert not {keys.DB_QUERY_TEXT, keys.DB_STATEMENT} & span.attributes.keys()
    assert_no_canary(recorded)


def test_executemany_is_one_span(engine: Engine, recorded: Recorded) -> None:
    rows = [{"id": number, "name": f"{CANARY} {number}"} for number in range(10, 40)]
    with engine.begin() as connection:
        connection.execute(sa.insert(Style), rows)
        statement = sa.text("UPDATE styles SET name = :name WHERE id = :id")
        connection.execute(statement, rows)
    assert recorded.names() == ["INSERT styles", "UPDATE styles"]
    assert_no_canary(recorded)


def test_insert_of_many_with_returning_is_one_span_a_batch(
    engine: Engine, recorded: Recorded
) -> None:
    rows = [{"id": number, "name": f"{CANARY} {number}"} for number in range(10, 40)]
    with app_span("turn") as root, engine.begin() as connection:
        statement = sa.insert(Style).returning(Style.id)
        result = connection.execution_options(insertmanyvalues_page_size=10).execute(
            statement, rows
        )
        assert len(result.all()) == 30
        assert list(root.local_trace.open_spans) == [root.span_id]
    assert recorded.tree() == ["turn", *["  INSERT styles"] * 3]
    assert_no_canary(recorded)


def test_streamed_result_is_one_ended_span_while_rows_are_read(
    engine: Engine, recorded: Recorded
) -> None:
    with app_span("turn") as root, engine.connect() as connection:
        result = connection.execution_options(yield_per=1).execute(sa.select(Style))
        assert list(root.local_trace.open_spans) == [root.span_id]
        assert len(result.all()) == 1
    assert recorded.tree() == ["turn", "  SELECT styles"]


def test_transaction_leaves_its_statements_as_siblings(engine: Engine, recorded: Recorded) -> None:
    with app_span("turn"), engine.begin() as connection:
        connection.execute(sa.select(Style))
        with connection.begin_nested():
            connection.execute(sa.update(Style).values(name=CANARY))
    assert recorded.tree() == [
        "turn",
        "  SELECT styles",
        "  SAVEPOINT",
        "  UPDATE styles",
        "  RELEASE",
    ]


def test_orm_flush_and_load_are_spans_of_their_statements(
    engine: Engine, recorded: Recorded
) -> None:
    with app_span("turn"), Session(engine) as session:
        session.add(Style(id=5, name=CANARY))
        session.commit()
        assert session.get(Style, 5)
    assert recorded.tree() == ["turn", "  INSERT styles", "  SELECT styles"]
    assert_no_canary(recorded)


def test_engine_made_afterwards_is_traced_too(recorded: Recorded) -> None:
    later = memory_engine()
    assert recorded.names()[-1] == "INSERT styles"
    later.dispose()


class ServedSqlite(SQLiteDialect_pysqlite):
    """SQLite under the address of a server."""

    supports_statement_cache = True

    def create_connect_args(self, url: Any) -> Any:
        return [[":memory:"], {}]


def test_host_and_database_of_a_server_are_named(recorded: Recorded) -> None:
    registry.register("sqlite.served", __name__, "ServedSqlite")
    engine = sa.create_engine(
        f"sqlite+served://user:{CANARY}@db.local:5432/app", poolclass=StaticPool
    )
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT a FROM (SELECT 1 AS a)"))
    engine.dispose()
    values = recorded.spans[0].attributes
    assert values[keys.SERVER_ADDRESS] == "db.local"
    assert values[keys.SERVER_PORT] == 5432
    assert values[keys.DB_NAMESPACE] == "app"
    assert_no_canary(recorded)


def test_turn_counts_statements_and_their_time(engine: Engine, recorded: Recorded) -> None:
    with turn("turn"), engine.connect() as connection:
        connection.execute(sa.select(Style))
        connection.execute(sa.select(Style.id))
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text("SELECT nothing FROM styles"))
    values = recorded.one("turn").attributes
    assert values[keys.TURN_DB_STATEMENTS] == 3
    spent = sum(
        span.attributes[keys.DB_QUERY_DURATION_MS]
        for span in recorded.spans
        if span.name == "SELECT styles"
    )
    assert values[keys.TURN_DB_MS] == pytest.approx(spent, abs=0.003)


async def test_async_engine_keeps_the_context(tmp_path: Path, recorded: Recorded) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'styles.sqlite3'}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    recorded.spans.clear()

    async def use(name: str) -> None:
        with app_span(name):
            async with AsyncSession(engine) as session:
                await session.execute(sa.select(Style))
                async for _ in await session.stream(sa.select(Style.id)):
                    pass

    await asyncio.gather(use("one"), use("two"))
    for name in ("one", "two"):
        assert [span.name for span in recorded.children(name)] == ["SELECT styles"] * 2
    await engine.dispose()


@pytest.mark.usefixtures("driver_threads_end")
async def test_cancelled_statement_leaves_no_open_span(tmp_path: Path, recorded: Recorded) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'styles.sqlite3'}")
    slow = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000)"
        " SELECT max(x) FROM n"
    )
    async with engine.connect() as connection:
        await connection.execute(sa.text("SELECT 1"))
        recorded.spans.clear()
        with turn("turn") as root:
            open_spans = root.local_trace.open_spans  # type: ignore[attr-defined] # a span of ours
            call = asyncio.ensure_future(connection.execute(sa.text(slow)))
            async with asyncio.timeout(10):
                while len(open_spans) < 2:  # noqa: ASYNC110 - a span has no event
                    await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            assert len(open_spans) == 1
    await engine.dispose()
    assert recorded.spans[0].name.startswith("WITH")
    assert recorded.spans[0].status_code == 0


@pytest.mark.skipif(sa.__version__ < "2.1", reason="2.0 tells nobody that the listener refused")
def test_statement_that_another_listener_refuses_leaves_no_open_span(
    engine: Engine, recorded: Recorded
) -> None:
    def refuse(*_: Any) -> None:
        raise LookupError

    event.listen(engine, "before_cursor_execute", refuse)
    with app_span("turn") as root:
        with engine.connect() as connection, pytest.raises(LookupError):
            connection.execute(sa.select(Style))
        assert list(root.local_trace.open_spans) == [root.span_id]


def test_uninstrument_stops_and_instrument_starts_again(engine: Engine, recorded: Recorded) -> None:
    for name, listener in instrumentation._listeners():
        assert event.contains(Engine, name, listener)
    turntrace.uninstrument()
    for name, listener in instrumentation._listeners():
        assert not event.contains(Engine, name, listener)
    with engine.connect() as connection:
        connection.execute(sa.select(Style))
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text("SELECT nothing FROM styles"))
    assert recorded.spans == []
    turntrace.instrument("sqlalchemy")
    with engine.connect() as connection:
        connection.execute(sa.select(Style))
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text("SELECT nothing FROM styles"))
    assert recorded.names() == ["SELECT styles"] * 2
