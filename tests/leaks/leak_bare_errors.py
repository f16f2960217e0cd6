"""Bare probes: what exceptions, statuses and statements hold."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from langchain_core.tools import StructuredTool
from leak_rows import bare_probe
from opentelemetry.trace import Status, StatusCode
from pydantic import BaseModel
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

if TYPE_CHECKING:
    from leak_bare_rig import Bare
    from leak_rows import Bait


class _ToldError(Exception):
    """An exception of the app."""


@bare_probe("exception: message")
def _message(bare: Bare, bait: Bait) -> None:
    bare.fail(ValueError(bait.phrase))
    bare.fail(_ToldError(bait.word))
    span = bare.tracer.start_span("work")
    # As contrib instrumentations do, without record_exception.
    span.add_event(
        "exception",
        {"exception.type": "ValueError", "exception.message": bait.phrase},
    )
    span.set_attribute("exception.message", bait.word)
    span.set_attribute("error.message", bait.phrase)
    span.set_attribute("error.type", bait.phrase)
    span.end()


@bare_probe("exception: __notes__")
def _notes(bare: Bare, bait: Bait) -> None:
    error = ValueError()
    error.add_note(bait.phrase)
    error.add_note(bait.word)
    bare.fail(error)


@bare_probe("exception: __cause__ and __context__")
def _chained(bare: Bare, bait: Bait) -> None:
    error = ValueError()
    error.__cause__ = KeyError(bait.phrase)
    error.__cause__.__context__ = LookupError(bait.word)
    bare.fail(error)


@bare_probe("exception: group")
def _group(bare: Bare, bait: Bait) -> None:
    inner = ExceptionGroup(bait.word, [TypeError(bait.phrase)])
    bare.fail(ExceptionGroup(bait.phrase, [ValueError(bait.word), inner]))


@bare_probe("exception: pydantic input_value")
def _pydantic(bare: Bare, bait: Bait) -> None:
    class Order(BaseModel):
        count: int

    for given in (bait.word, bait.phrase):
        try:
            Order.model_validate({"count": given})
        except ValueError as error:
            bare.fail(error)
            # Their text is a list of errors with the input in it, and some put it on spans.
            bare.tracer.start_span(
                "work", attributes={"validation.errors": json.dumps(error.errors())}
            ).end()  # type: ignore[attr-defined]


@bare_probe("exception: json and int() errors")
def _parsed(bare: Bare, bait: Bait) -> None:
    for parse, given in ((int, bait.word), (float, bait.phrase), ({}.__getitem__, bait.word)):
        try:
            parse(given)
        except (ValueError, KeyError) as error:
            bare.fail(error)
    try:
        json.loads(bait.phrase)
    except json.JSONDecodeError as error:
        bare.fail(error)
        bare.tracer.start_span("work", attributes={"json.document": error.doc}).end()


@bare_probe("exception: SQLAlchemy [parameters: ...]")
def _statement_error(bare: Bare, bait: Bait) -> None:
    engine = create_engine("sqlite://")
    with bare.tracer.start_as_current_span("work"), engine.connect() as connection:
        for given in (bait.word, bait.phrase):
            try:
                connection.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": given})
            except OperationalError as error:
                bare.fail(error)
                bare.tracer.start_span("work", attributes={"error.text": str(error)}).end()
    engine.dispose()


@bare_probe("exception: source line in a stack trace")
def _source_line(bare: Bare, bait: Bait) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "generated.py"
        file.write_text(
            f"def answer():\n    raise ValueError(len({bait.phrase!r}))  # {bait.word}\n"
        )
        names: dict[str, Any] = {}
        exec(compile(file.read_text(), str(file), "exec"), names)  # noqa: S102 - code made from text
        try:
            names["answer"]()
        except ValueError as error:
            bare.fail(error)
    stack = f'File "app.py", line 1, in answer\n    say({bait.phrase!r})\nValueError: {bait.word}'
    bare.tracer.start_span(
        "work", attributes={"exception.stacktrace": stack, "code.stacktrace": stack}
    ).end()


@bare_probe("exception: raised in a tool, a node, a model call")
def _raised_below(bare: Bare, bait: Bait) -> None:
    def look_up(query: str) -> str:
        raise ValueError(f"nothing for {query}")

    tool = StructuredTool.from_function(look_up, description="Look up.")
    for name, given in (("execute_tool look_up", bait.phrase), ("node tools", bait.word)):
        try:
            with bare.tracer.start_as_current_span(name):
                tool.invoke({"query": given})
        except ValueError as error:
            bare.fail(error)


@bare_probe("status description")
def _status(bare: Bare, bait: Bait) -> None:
    for given in (bait.word, bait.phrase):
        span = bare.tracer.start_span("work")
        span.set_status(StatusCode.ERROR, given)
        span.end()
        span = bare.tracer.start_span("work")
        span.set_status(Status(StatusCode.ERROR, given))
        span.end()


@bare_probe("sql: literals in the statement")
def _literals(bare: Bare, bait: Bait) -> None:
    engine = create_engine("sqlite://")
    with bare.tracer.start_as_current_span("work"), engine.connect() as connection:
        for value in (bait.word, bait.phrase):
            statement = f"SELECT * FROM sqlite_master WHERE name = '{value}' -- {value}"  # noqa: S608 - as careless apps do
            connection.execute(text(statement))
            quoted = f'SELECT "{value}" FROM `{value}` WHERE a = $x${value}$x$'  # noqa: S608 - the same
            for system in ("sqlite", "postgresql", "mysql"):
                for query in (statement, quoted):
                    bare.tracer.start_span(
                        "work",
                        attributes={
                            "db.system": system,
                            "db.system.name": system,
                            "db.statement": query
                            if query is statement or " " in value
                            else statement,
                            "db.query.text": query
                            if query is statement or " " in value
                            else statement,
                        },
                    ).end()
            bare.tracer.start_span(statement).end()
    engine.dispose()


@bare_probe("sql: parameters")
def _parameters(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "db.statement.parameters": repr((value,)),
                "db.query.parameters": [value],
                "db.operation.parameter.name": value,
                "db.query.parameter.name": value,
            },
        ).end()


@bare_probe("sql: constraint errors")
def _constraint(bare: Bare, bait: Bait) -> None:
    engine = create_engine("sqlite://")
    with bare.tracer.start_as_current_span("work"), engine.connect() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT UNIQUE)"))
        for value in (bait.word, bait.phrase):
            insert = text("INSERT INTO notes VALUES (:note)"), {"note": value}
            connection.execute(*insert)
            try:
                connection.execute(*insert)
            except IntegrityError as error:
                bare.fail(error)
                bare.fail(ValueError(f"DETAIL:  Key (note)=({value}) already exists."))
    engine.dispose()


@bare_probe("ai: provider's error body")
def _provider_error(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        body = {"error": {"code": 400, "message": f"Blocked: {value}", "status": "INVALID"}}
        bare.fail(RuntimeError(f"400 INVALID_ARGUMENT. {body}"))
        bare.tracer.start_span(
            "work",
            attributes={
                "error.body": json.dumps(body),
                "gen_ai.error.message": value,
                "error.type": str(body),
            },
        ).end()
