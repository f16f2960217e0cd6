"""No value of any shape, in any literal syntax of any dialect, is left in a statement."""

# ruff: noqa: S608 - statements with canaries in them are what is tested

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turntrace.statements import MAX_LENGTH, without_literals

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "Canary"
DIGITS = "4111111111111111"

# What quoting, comments and escapes are made of, before and after the canary.
ODDITIES = st.text(
    st.sampled_from("'\"`\\$;-/*#@:?%()[]{}, \n\r\t.eEnxUq0_\u2019\u2028\u00e9\U0001f600"),
    max_size=12,
)
VALUES = st.builds(lambda before, after: before + CANARY + after, ODDITIES, ODDITIES)


def quoted(text: str, quote: str = "'") -> str:
    return quote + text.replace(quote, quote * 2) + quote


def escaped(text: str, quote: str = "'") -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


def escaped_and_doubled(text: str, quote: str = "'") -> str:
    return quoted(text.replace("\\", "\\\\"), quote)


def dollars(text: str) -> str:
    text = text.replace("$", "")
    return f"$${text}$$"


def tagged(text: str) -> str:
    text = text.replace("$tag$", "")
    return f"$tag${text.rstrip('$')}$tag$"


def hexadecimal(text: str) -> str:
    return text.encode("utf-8", "replace").hex()


# Each writes a value as a literal that the dialect reads as this value.
SURE: dict[str, list[Callable[[str], str]]] = {
    "postgresql": [
        lambda text: "E" + escaped(text),
        lambda text: "e" + escaped_and_doubled(text),
        lambda text: "U&" + escaped_and_doubled(text),
        lambda text: quoted(text.replace("\\", "")),
        lambda text: "N" + quoted(text.replace("\\", "")),
        lambda text: quoted(text.replace("\\", "/")) + "\n" + quoted(text.replace("\\", "/")),
        lambda text: f"x'{hexadecimal(text)}'",
        dollars,
        tagged,
    ],
    "mysql": [
        escaped_and_doubled,
        lambda text: escaped_and_doubled(text, '"'),
        lambda text: "_utf8mb4" + escaped_and_doubled(text),
        lambda text: "N" + escaped_and_doubled(text),
        lambda text: "0x" + hexadecimal(text),
        lambda text: f"X'{hexadecimal(text)}'",
        lambda text: escaped_and_doubled(text) + " " + escaped_and_doubled(text, '"'),
    ],
    "sqlite": [
        quoted,
        lambda text: quoted(f"{text} !", '"'),
        lambda text: f"x'{hexadecimal(text)}'",
    ],
    "mssql": [quoted, lambda text: "N" + quoted(text), lambda text: "0x" + hexadecimal(text)],
    "oracle": [quoted, lambda text: "n" + quoted(text)],
}
# A reader that does not know the server's settings may take these for something else.
UNSURE: dict[str, list[Callable[[str], str]]] = {
    "postgresql": [quoted, lambda text: quoted(text) + "\n" + quoted(text)],
    "mysql": [escaped, quoted, lambda text: escaped(text, '"'), lambda text: quoted(text, '"')],
    "sqlite": [],
    "mssql": [lambda text: quoted(text, '"')],
    "oracle": [lambda text: f"q'[{text}]'", lambda text: f"nq'!{text}!'"],
}

# What a statement reads like with {} for each literal, and what is to be left of it.
TEMPLATES = [
    (
        "SELECT a, {} AS b FROM t WHERE c = {} AND d LIKE {}",
        "SELECT a, ? AS b FROM t WHERE c = ? AND d LIKE ?",
    ),
    (
        "SELECT a FROM t JOIN u ON a = b WHERE c IN ({}, {},{})",
        "SELECT a FROM t JOIN u ON a = b WHERE c IN (?)",
    ),
    ("SELECT f({}, a, {}) FROM t", "SELECT f(?, a, ?) FROM t"),
    ("INSERT INTO t (a, b) VALUES ({}, {}), ({}, NULL)", "INSERT INTO t (a, b) VALUES (?)"),
    ("INSERT INTO t (a, b) VALUES ({}, %(b)s)", "INSERT INTO t (a, b) VALUES (?, %(b)s)"),
    (
        "UPDATE t SET a={}, b = :b WHERE c={} OR d = %s",
        "UPDATE t SET a=?, b = :b WHERE c=? OR d = %s",
    ),
    ("DELETE FROM t WHERE a = ({}) or b<>{}", "DELETE FROM t WHERE a = (?) or b<>?"),
    ("WITH x AS (SELECT {} AS a) SELECT a FROM x", "WITH x AS (SELECT ? AS a) SELECT a FROM x"),
    (
        "SELECT a FROM t WHERE b = {} ; DELETE FROM u WHERE c = {}",
        "SELECT a FROM t WHERE b = ? ; DELETE FROM u WHERE c = ?",
    ),
    ("CREATE TABLE t (a TEXT DEFAULT {} NOT NULL)", "CREATE TABLE t (a TEXT DEFAULT ? NOT NULL)"),
]


def without_canary(text: str | None) -> bool:
    return text is None or not (
        CANARY.lower() in text.lower() or DIGITS in text or hexadecimal(CANARY) in text.lower()
    )


def filled(data: st.DataObject, template: str, quotings: list[Callable[[str], str]]) -> str:
    """Return the template with a value for each gap."""
    parts = template.split("{}")
    text = parts[0]
    for part in parts[1:]:
        text += data.draw(st.sampled_from(quotings))(data.draw(VALUES)) + part
    return text


@pytest.mark.parametrize("system", SURE)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_every_literal_is_gone_and_everything_else_is_left(
    system: str, data: st.DataObject
) -> None:
    template, left = data.draw(st.sampled_from(TEMPLATES))
    numbers: list[Callable[[str], str]] = [lambda _: DIGITS, lambda _: f"{DIGITS}.5e-7"]
    statement = filled(data, template, SURE[system] + numbers)
    assert without_literals(statement, system) == left


@pytest.mark.parametrize("system", SURE)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_literal_that_can_be_read_in_two_ways_is_gone_with_whatever_way_is_right(
    system: str, data: st.DataObject
) -> None:
    template, _ = data.draw(st.sampled_from(TEMPLATES))
    text = without_literals(filled(data, template, SURE[system] + UNSURE[system]), system)
    assert without_canary(text)


@pytest.mark.parametrize("system", SURE)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_comment_is_left(system: str, data: st.DataObject) -> None:
    template, left = data.draw(st.sampled_from(TEMPLATES))
    words = re.split("( )", template.replace("{}", "'x'"))
    place = data.draw(st.sampled_from([i for i, word in enumerate(words) if word == " "]))
    is_block = data.draw(st.booleans())
    body = re.sub("[*]" if is_block else "[\n\r\u2028]", "", data.draw(VALUES))
    words[place] = f" /* {body} */ " if is_block else f" -- {body}\n"
    assert without_literals("".join(words), system) == left


FRAGMENTS = st.sampled_from(
    [
        *"'\"`\\$;-/*#@:?%()[]{}, \n\r\t.=\0\u2019\u00a0\u00e9\ud800",
        *("SELECT ", " FROM ", "INSERT INTO ", " VALUES (", " IN (", "t", "a.", "E'", "U&'", "N'"),
        *("x'", "_utf8'", "$$", "$t$", "--", "/*", "*/", "/*!", "''", '""', " AS ", " DEFAULT "),
        *(
            "1",
            ".5",
            "1e-",
            "?1",
            "$1",
            ":1",
            ":a",
            "@a",
            "%s",
            "%(a)s",
            "NULL",
            "::text",
            "ARRAY[",
        ),
        *("DISTINCT FROM ", "trim(", "q'[", "DATE'", "EXEC ", "; ", "COMMIT", "CREATE TABLE "),
    ]
)
GARBAGE = st.lists(st.one_of(FRAGMENTS, st.text(max_size=4)), max_size=40).map("".join)


@pytest.mark.parametrize("system", SURE)
@settings(max_examples=300, deadline=None)
@given(garbage=GARBAGE, is_query=st.booleans())
def test_whatever_is_stripped_is_plain_bounded_and_stays_as_it_is(
    system: str, garbage: str, *, is_query: bool
) -> None:
    text = without_literals("SELECT " + garbage if is_query else garbage, system)
    if text is None:
        return
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= MAX_LENGTH
    assert not re.search(r"['\\]|--|/\*|\*/|  ", text)
    for found in re.findall(r'"([^"]*)"|`([^`]*)`', text):
        assert re.fullmatch(r"\w{1,63}", "".join(found))
    assert not re.search(r"(?<![\w$?:@])\d", text)
    assert without_literals(text, system) == text


@pytest.mark.parametrize("system", SURE)
@settings(max_examples=150, deadline=None)
@given(garbage=GARBAGE, data=st.data())
def test_no_literal_between_garbage_is_left_unless_the_garbage_took_its_quote(
    system: str, garbage: str, data: st.DataObject
) -> None:
    # Without a quote of its own the garbage cannot begin a text, so the literal's is the first.
    garbage = re.sub(r"['\"`\[$\\#]|--|/\*|\w+(?=\Z)|U&|@", "", garbage)
    literal = data.draw(st.sampled_from(SURE[system]))(data.draw(VALUES))
    assert without_canary(without_literals(f"SELECT {garbage} {literal} FROM t", system))


def words_of_sqlite() -> st.SearchStrategy[str | bytes | int | float | None]:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
    return st.one_of(
        text,
        VALUES,
        st.binary(max_size=20),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
    )


@settings(max_examples=250, deadline=None)
@given(values=st.tuples(words_of_sqlite(), words_of_sqlite(), words_of_sqlite()))
def test_what_sqlite_writes_as_a_literal_is_gone_and_sqlite_reads_what_is_left(
    values: tuple[str | bytes | float | None, ...],
) -> None:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE t (a, b)")
        one, two, three = (
            connection.execute("SELECT quote(?)", (v,)).fetchone()[0] for v in values
        )
        statement = f"SELECT a, {one} AS x FROM t WHERE b = {two} AND a IN ({two}, {three})"
        connection.execute(statement)
        text = without_literals(statement, "sqlite")
        assert text is not None
        signless = re.sub(r"-\?", "?", text)
        assert signless == "SELECT a, ? AS x FROM t WHERE b = ? AND a IN (?)"
        connection.execute(f"EXPLAIN {text}", (1, 2, 3))
    finally:
        connection.close()


@settings(max_examples=250, deadline=None)
@given(pieces=st.lists(FRAGMENTS, max_size=8).map("".join), value=VALUES)
def test_no_text_that_sqlite_finds_in_a_statement_is_left(pieces: str, value: str) -> None:
    """Real SQLite says what the value of an expression is: if it is the canary, it is not left."""
    connection = sqlite3.connect(":memory:")
    try:
        statement = f"SELECT {quoted(value)} {pieces}"
        try:
            rows = connection.execute(statement, {"a": 1}).fetchall()
        except (sqlite3.Error, sqlite3.Warning, ValueError, UnicodeEncodeError):
            return
        assert rows
        assert without_canary(without_literals(statement, "sqlite"))
    finally:
        connection.close()
