"""Ways in which what a user typed gets into an exception, its traceback or its class."""

from __future__ import annotations

import asyncio
import contextlib
import json
import types
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pydantic
import sqlalchemy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CANARY = "zq7canary kept secret"
WORD = "zq7canary"


class PaymentFailed(Exception):  # noqa: N818 - as an app may name it
    pass


class _Plan(pydantic.BaseModel):
    rooms: int


class Hostile(Exception):  # noqa: N818 - the same
    """Says what was typed wherever it is asked."""

    def __init__(self) -> None:
        super().__init__(CANARY)
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in {"asked", "__init__"}:
            return super().__getattribute__(name)
        self.asked.append(name)
        raise RuntimeError(CANARY)

    def __str__(self) -> str:
        self.asked.append("__str__")
        return CANARY

    __repr__ = __str__


class Masked(Exception):  # noqa: N818 - the same
    """Has properties where the interpreter has its slots."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return type(CANARY, (Exception,), {})

    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        return ValueError(CANARY)

    __context__ = __traceback__ = __notes__ = __cause__  # type: ignore[assignment]
    __suppress_context__ = False


class _NamedByText(type):
    __module__ = CANARY
    __qualname__ = CANARY

    def __hash__(cls) -> int:
        raise RuntimeError(CANARY)

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError(CANARY)


class _Text(str):
    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError(CANARY)


def _message() -> None:
    raise ValueError(CANARY)


def _notes() -> None:
    error = ValueError()
    error.add_note(CANARY)
    raise error


def _source_line() -> None:
    raise KeyError("zq7canary kept secret")


def _local() -> None:
    typed = CANARY  # noqa: F841 - a local is the point
    _ = 1 // 0


def _cause() -> None:
    raise RuntimeError from ValueError(CANARY)


def _context() -> None:
    try:
        _message()
    except ValueError:
        raise RuntimeError(CANARY)  # noqa: B904 - what was handled is the point


def _while_handling() -> None:
    try:
        _message()
    except ValueError:
        {}[CANARY]


def _group() -> None:
    inner = ExceptionGroup(CANARY, [ValueError(CANARY), OSError(2, CANARY, CANARY)])
    raise BaseExceptionGroup(CANARY, [inner, KeyError(CANARY), asyncio.CancelledError(CANARY)])


def _task_group() -> None:
    async def tool(name: str) -> None:
        await asyncio.sleep(0)
        raise LookupError(name)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tool(CANARY))
            tasks.create_task(tool(CANARY))

    asyncio.run(run())


def _generator() -> None:
    def chunks() -> Iterator[str]:
        yield CANARY
        raise ValueError(CANARY)

    list(chunks())


def _thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int, CANARY).result()


def _database() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select * from lost where a = :a"), {"a": CANARY})
    finally:
        engine.dispose()


def _file_made_from_text() -> None:
    exec(compile("1 / 0", CANARY, "exec"), {})  # noqa: S102 - what a tool of an agent may do


def _module_file_made_from_text() -> None:
    exec(compile("1 / 0", CANARY, "exec"), {"__file__": CANARY})  # noqa: S102 - the same


def _path_made_from_text() -> None:
    exec(compile("1 / 0", f"{WORD}.py", "exec"), {"__file__": __file__})  # noqa: S102 - the same


def _code_made_from_text() -> None:
    exec(f"def {WORD}():\n  1 / 0\n{WORD}()", globals().copy())  # noqa: S102 - the same


def _function_made_from_text() -> None:
    def work() -> None:
        _ = 1 // 0

    code = work.__code__.replace(co_name=CANARY, co_qualname=CANARY)
    types.FunctionType(code, globals())()


def _type_made_from_text() -> None:
    raise type(CANARY, (Exception,), {"__module__": CANARY})


def _module_made_from_text() -> None:
    raise type("Plain", (Exception,), {"__module__": CANARY})


def _module_of_another_type() -> None:
    raise type("Plain", (Exception,), {"__module__": _Text(CANARY)})


def _named_by_its_metaclass() -> None:
    raise _NamedByText("Plain", (Exception,), {})


def _hostile() -> None:
    raise Hostile


def _masked() -> None:
    raise Masked


def _syntax_error() -> None:
    compile(CANARY, CANARY, "exec")


RAISERS: dict[str, Callable[[], object]] = {
    "message": _message,
    "notes": _notes,
    "source line": _source_line,
    "local": _local,
    "cause": _cause,
    "context": _context,
    "while handling": _while_handling,
    "group": _group,
    "task group": _task_group,
    "generator": _generator,
    "thread": _thread,
    "int()": lambda: int(CANARY),
    "json": lambda: json.loads(CANARY),
    "pydantic": lambda: _Plan.model_validate({"rooms": CANARY}),
    "decoding": lambda: CANARY.encode().decode("utf-32"),
    "SQLAlchemy": _database,
    "a file name made from text": _file_made_from_text,
    "a module's file made from text": _module_file_made_from_text,
    "a path made from text": _path_made_from_text,
    "code made from text": _code_made_from_text,
    "a function name made from text": _function_made_from_text,
    "a type name made from text": _type_made_from_text,
    "a module name made from text": _module_made_from_text,
    "a module name of another type": _module_of_another_type,
    "a name from a metaclass": _named_by_its_metaclass,
    "hostile attributes": _hostile,
    "properties over slots": _masked,
    "syntax error": _syntax_error,
}


def caught(work: Callable[[], object]) -> BaseException:
    """Return what ``work`` raises."""
    error: BaseException | None = None
    with contextlib.suppress(Exception):
        try:
            work()
        except BaseException as raised:  # noqa: BLE001 - that is asked for
            error = raised
    assert error is not None
    return error
