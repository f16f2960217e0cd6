"""What is left of a statement without its literals, dialect by dialect."""

# ruff: noqa: S608 - statements with canaries in them are what is tested

from __future__ import annotations

import time

import pytest

from turntrace import statements
from turntrace.statements import MAX_LENGTH, MAX_READ, without_literals

EVERY = ("postgresql", "mysql", "mariadb", "sqlite", "microsoft.sql_server", "oracle.db")


@pytest.mark.parametrize("system", [*EVERY, "mssql", "oracle"])
@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = ?"),
        ("SELECT a FROM t WHERE b = 'it''s'", "SELECT a FROM t WHERE b = ?"),
        ("SELECT a FROM t WHERE b = '' AND c = ''''", "SELECT a FROM t WHERE b = ? AND c = ?"),
        ("SELECT a FROM t WHERE b='x'AND c=1", None),
        ("SELECT 'a' 'b'\n 'c' FROM t", "SELECT ? FROM t"),
        ("SELECT a FROM t LIMIT 10 OFFSET 20", "SELECT a FROM t LIMIT ? OFFSET ?"),
        ("SELECT 1e5, .5, 0x1F, 1_000, 1.5e-3, 7.", "SELECT ?, ?, ?, ?, ?, ?"),
        ("SELECT a-1, -2, a - -3 FROM t1", "SELECT a-?, -?, a - -? FROM t1"),
        ("SELECT a FROM t WHERE b IN (1, 'x',NULL , -3)", "SELECT a FROM t WHERE b IN (?)"),
        ("SELECT a FROM t WHERE b IN (1, a)", "SELECT a FROM t WHERE b IN (?, a)"),
        ("SELECT f(1, 2) FROM t", "SELECT f(?, ?) FROM t"),
        ("insert into t values (1, 'a'), (2, 'b'),(3,DEFAULT)", "insert into t values (?)"),
        ("INSERT INTO t VALUES (1, a), (2, 3)", "INSERT INTO t VALUES (?, a), (?, ?)"),
        ("SELECT\n\ta ,\r\n b\n  FROM  t ", "SELECT a , b FROM t"),
        ("/* x */SELECT/**/a -- it's\nFROM t -- end", "SELECT a FROM t"),
        (
            "SELECT a FROM t WHERE b = %s AND c = %(c)s",
            "SELECT a FROM t WHERE b = %s AND c = %(c)s",
        ),
        (
            "SELECT a FROM t WHERE b = ? AND c IN (?, ?)",
            "SELECT a FROM t WHERE b = ? AND c IN (?, ?)",
        ),
        ("SELECT a FROM t WHERE b = :b", "SELECT a FROM t WHERE b = :b"),
        ("SELECT DATE '2020-01-01', INTERVAL'1' DAY", "SELECT DATE ?, INTERVAL? DAY"),
        ("SELECT TRUE, NULL FROM t", "SELECT TRUE, NULL FROM t"),
        ("UPDATE t SET a = 'x', b = b + 1", "UPDATE t SET a = ?, b = b + ?"),
        ("(SELECT 1) UNION (SELECT 2)", "(SELECT ?) UNION (SELECT ?)"),
        ("SELECT 1; DELETE FROM t;", "SELECT ?; DELETE FROM t;"),
        ("SELECT 'straße' FROM straße", "SELECT ? FROM ?"),
        ("CREATE UNIQUE INDEX i ON t (a)", "CREATE UNIQUE INDEX i ON t (a)"),
        ("CREATE TABLE t (a VARCHAR(80) DEFAULT 'x')", "CREATE TABLE t (a VARCHAR(?) DEFAULT ?)"),
        ("BEGIN", "BEGIN"),
        ("ROLLBACK TO SAVEPOINT sp_1", "ROLLBACK TO SAVEPOINT sp_1"),
    ],
)
def test_what_every_dialect_reads_alike_is_stripped_alike(
    system: str, statement: str, left: str | None
) -> None:
    assert without_literals(statement, system) == left


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        (r"SELECT E'it\'s', e'\\', E'a''b'", "SELECT ?, ?, ?"),
        (r"SELECT 'C:\dir', 'a\\'", "SELECT ?, ?"),
        (
            r"SELECT U&'\0041' UESCAPE '!', U&" + '"d\\0061ta" FROM t',
            "SELECT ? UESCAPE ?, ? FROM t",
        ),
        ("SELECT B'01', x'1F', N'a'", "SELECT ?, ?, ?"),
        ("SELECT $$it's$$, $t$ a $$ b $t$, $1", "SELECT ?, ?, $1"),
        ("SELECT /* a /* b */ it's */ 1", "SELECT ?"),
        (
            "SELECT 'x'::text, '{1,2}'::int[], a::varchar(9)",
            "SELECT ?::text, ?::int[], a::varchar(?)",
        ),
        ("SELECT ARRAY['a', 'b'], a[1:2] FROM t", "SELECT ARRAY[?], a[?:?] FROM t"),
        ("SELECT a->>'k', a#>'{b}', a @> '{}' FROM t", "SELECT a->>?, a#>?, a @> ? FROM t"),
        ("SELECT a ? 'k', a ?| ARRAY['k'] FROM t", "SELECT a ? ?, a ?| ARRAY[?] FROM t"),
        ("SELECT a FROM t WHERE b IN ('x'::text, 'y'::text)", "SELECT a FROM t WHERE b IN (?)"),
        (
            'SELECT "User"."id" AS "userId" FROM "User"',
            'SELECT "User"."id" AS "userId" FROM "User"',
        ),
        ('SELECT "what is it?" FROM "a b"', "SELECT ? FROM ?"),
        ("SELECT a FROM t WHERE b = ANY ('{a,b}')", "SELECT a FROM t WHERE b = ANY (?)"),
    ],
)
def test_postgresql_is_read_as_postgresql_reads_it(statement: str, left: str) -> None:
    assert without_literals(statement, "postgresql") == left


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("SELECT 'a\\' FROM t", "SELECT ? FROM t"),
        ("SELECT x'00ff', X'00' FROM t", "SELECT ?, ? FROM t"),
        ("SELECT ?1, @a, $a, :a, :1 FROM t", "SELECT ?1, @a, $a, :a, :1 FROM t"),
        ("SELECT [a], `b`, [a b] FROM [t]", "SELECT [a], `b`, ? FROM [t]"),
        ('SELECT "a" FROM t WHERE b = "c" AND "d" = 1', "SELECT ? FROM t WHERE b = ? AND ? = ?"),
        ('SELECT "t"."a", t."b" FROM "t"', 'SELECT "t"."a", t."b" FROM "t"'),
        ('SELECT a AS "b" FROM t JOIN "u" ON a', 'SELECT a AS ? FROM t JOIN "u" ON a'),
        ('SELECT a IS DISTINCT FROM "b" FROM t', "SELECT a IS DISTINCT FROM ? FROM t"),
        ('SELECT trim("a" FROM "b") FROM t', "SELECT trim(? FROM ?) FROM t"),
        ('SELECT a FROM (SELECT b FROM "t")', 'SELECT a FROM (SELECT b FROM "t")'),
        ('INSERT INTO "t" VALUES ("a b")', 'INSERT INTO "t" VALUES (?)'),
        ('CREATE TABLE IF NOT EXISTS "t" (a)', 'CREATE TABLE IF NOT EXISTS "t" (a)'),
        ("CREATE TABLE t (a DEFAULT hello)", "CREATE TABLE t (a DEFAULT ?)"),
        (
            "CREATE TABLE t (a DEFAULT CURRENT_TIMESTAMP)",
            "CREATE TABLE t (a DEFAULT CURRENT_TIMESTAMP)",
        ),
    ],
)
def test_sqlite_is_read_as_sqlite_reads_it(statement: str, left: str) -> None:
    assert without_literals(statement, "sqlite") == left


@pytest.mark.parametrize("system", ["mysql", "mariadb"])
@pytest.mark.parametrize(
    ("statement", "left"),
    [
        (r"SELECT 'a\nb', 'a\\', '\"' FROM t", "SELECT ?, ?, ? FROM t"),
        (r'SELECT "a", "it' + "'" + 's", "a""b", "\\n"', "SELECT ?, ?, ?, ?"),
        ("SELECT _utf8mb4'a', N'a', 0xFF, x'FF', b'01'", "SELECT ?, ?, ?, ?, ?"),
        ("SELECT a # it's\nFROM t", "SELECT a FROM t"),
        ("SELECT /*! STRAIGHT_JOIN */ /*+ NO_ICP(t) */ a FROM t", "SELECT a FROM t"),
        ("SELECT `a`.`b` FROM `t` WHERE `c d` = 1", "SELECT `a`.`b` FROM `t` WHERE ? = ?"),
        ("SELECT @a, @@global.b, @'c' FROM t", "SELECT ?, ?, ? FROM t"),
        ("SELECT 5 -- 3\n FROM t", "SELECT ? FROM t"),
        ("SELECT a->>'$.b', c <=> 'd' FROM t", "SELECT a->>?, c <=> ? FROM t"),
    ],
)
def test_mysql_is_read_as_mysql_reads_it(system: str, statement: str, left: str) -> None:
    assert without_literals(statement, system) == left


@pytest.mark.parametrize(
    ("statement", "system", "left"),
    [
        ("SELECT [a], [b c], [d]]e] FROM #t", "mssql", "SELECT [a], ?, ? FROM #t"),
        ("SELECT N'a', @p1, $12.50, 0xFF, @@IDENTITY", "mssql", "SELECT ?, @p1, ?, ?, @@IDENTITY"),
        ('SELECT "a" FROM "t" WHERE b = "c"', "mssql", 'SELECT ? FROM "t" WHERE b = ?'),
        ("SELECT /* a /* b */ c */ 1", "mssql", "SELECT ?"),
        ("SELECT :1, :name, N'a' FROM t@link", "oracle", "SELECT :1, :name, ? FROM t@link"),
        ('SELECT "A" FROM "T"', "oracle", 'SELECT "A" FROM "T"'),
    ],
)
def test_sql_server_and_oracle_are_read_as_they_read(
    statement: str, system: str, left: str
) -> None:
    assert without_literals(statement, system) == left


@pytest.mark.parametrize("system", EVERY)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a",
        'SELECT "a',
        "SELECT a /* b",
        "SELECT a */ b",
        "SELECT 'it's fine' FROM t",
        "SELECT O'Brien AND 'x' FROM t",
        "SELECT 'a'b",
        "SELECT q'[a]'",
        "SELECT a$$b c$$",
        "SELECT \u2018a b\u2019",
        "SELECT \u02bca b c\u02bc",
        "SELECT a\u00a0b",
        "SELECT \ud800 FROM t",
        "SELECT a \x00 b",
        "SELECT a \\ b",
        "SELECT 'a' -- b\rFROM 'c'",
        "SELECT 1a'b'",
        "",
        "-- only this",
        "'a' SELECT",
        "?",
    ],
)
def test_a_statement_that_nobody_can_be_sure_of_has_no_text(system: str, statement: str) -> None:
    assert without_literals(statement, system) is None


@pytest.mark.parametrize(
    ("statement", "system"),
    [
        (r"SELECT 'a\' FROM b, 'c'", "postgresql"),
        (r"SELECT 'it\'s'", "mysql"),
        (r'SELECT "a\"b"', "mysql"),
        ("SELECT 5--3, 'a'\n", "mysql"),
        ("SELECT /*! 'a' */ b", "mysql"),
        ("SELECT /* a /* b */ c */ 1", "sqlite"),
        ("SELECT $a::b(c d) FROM t", "sqlite"),
        ("SELECT :a('), ' b ', :c(') FROM t", "sqlite"),
        ("SELECT @a('), ' b ', @c(') FROM t", "sqlite"),
        ("SELECT $$a$$b$$ FROM t", "postgresql"),
        ("SELECT $t$ a $u$", "postgresql"),
    ],
)
def test_a_text_with_two_possible_ends_has_no_text(statement: str, system: str) -> None:
    assert without_literals(statement, system) is None


@pytest.mark.parametrize("system", EVERY)
@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA key = canary",
        "SET password = canary",
        "SET ROLE canary",
        "CREATE USER canary IDENTIFIED BY canary",
        "ALTER ROLE canary PASSWORD 'canary'",
        "CREATE VIRTUAL TABLE t USING fts5(canary)",
        "CREATE FUNCTION f() RETURNS int AS $$ canary $$",
        "COPY t FROM STDIN",
        "NOTIFY canary, 'canary'",
        "LISTEN canary",
        "COMMENT ON TABLE t IS 'canary'",
        "EXECUTE canary(canary)",
        "EXEC sp_who canary",
        "INSERT INTO t EXEC sp_who canary",
        "CALL greet(canary)",
        "DO $$ canary $$",
        "GRANT SELECT ON t TO canary",
        "EXPLAIN SELECT canary",
        "BEGIN canary",
        "COMMIT PREPARED canary",
        "SAVEPOINT canary canary",
        "SELECT 1; SET password = canary",
        "SELECT 1;; PRAGMA key = canary",
        "canary is no SQL at all",
    ],
)
def test_a_statement_whose_words_may_be_values_has_no_text(system: str, statement: str) -> None:
    assert without_literals(statement, system) is None


@pytest.mark.parametrize("system", ["redis", "mongodb", "", "PostgreSQL", "other_sql"])
def test_a_system_whose_sql_is_not_known_has_no_text(system: str) -> None:
    assert without_literals("SELECT 1", system) is None


def test_a_long_statement_is_cut_between_two_tokens() -> None:
    text = without_literals("SELECT " + ", ".join(f"column_{i}" for i in range(900)), "sqlite")
    assert text is not None
    assert MAX_LENGTH - 20 < len(text) <= MAX_LENGTH
    assert text.endswith(" ...")
    assert set(text.removesuffix(" ...").split("SELECT ")[1].rstrip(",").split(", ")) <= {
        f"column_{i}" for i in range(900)
    }
    assert without_literals(text, "sqlite") == text


def test_a_long_list_of_literals_is_short() -> None:
    rows = ", ".join(f"({number}, 'it''s {number}', NULL)" for number in range(200))
    text = without_literals(f"INSERT INTO t (a, b, c) VALUES {rows} RETURNING a", "postgresql")
    assert text == "INSERT INTO t (a, b, c) VALUES (?) RETURNING a"


@pytest.mark.parametrize("mark", ["?", "%s", "%(a_1)s", ":a_1", "$1", "$1::UUID"])
def test_many_rows_of_placeholders_stay_as_they_are_as_far_as_there_is_room(mark: str) -> None:
    statement = "INSERT INTO t (a, b) VALUES " + ", ".join([f"({mark}, {mark})"] * 3000)
    text = without_literals(statement, "postgresql")
    assert text is not None
    assert statement.startswith(text.removesuffix(" ..."))
    assert MAX_LENGTH - 20 < len(text) <= MAX_LENGTH


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("SELECT ?, $12", "SELECT ?, ?"),
        ("SELECT ?, ?5, 5 FROM t", "SELECT ?, ??, ? FROM t"),
        ("SELECT %s, %s5", "SELECT %s, %s5"),
        ("SELECT %s, 'a', %s", "SELECT %s, ?, %s"),
    ],
)
def test_a_literal_among_placeholders_is_no_placeholder(statement: str, left: str) -> None:
    assert without_literals(statement, "mssql") == left


def test_a_list_too_long_to_be_read_is_cut_and_short() -> None:
    rows = ", ".join(f"({number}, 'it''s {number}')" for number in range(20_000))
    text = without_literals(f"INSERT INTO t (a, b) VALUES {rows}", "postgresql")
    assert text is not None
    assert text.startswith("INSERT INTO t (a, b) VALUES (?)")
    assert text.endswith(" ...")
    assert without_literals(text, "postgresql") == text


def test_a_statement_too_long_to_be_looked_at_has_no_text() -> None:
    assert without_literals("SELECT '" + "a" * (MAX_READ - 9) + "'", "sqlite") == "SELECT ?"
    assert without_literals("SELECT '" + "a" * (MAX_READ - 8) + "'", "sqlite") is None


def test_what_is_remembered_is_bounded() -> None:
    statements._remembered.cache_clear()
    for number in range(600):
        without_literals(f"SELECT a{number}", "sqlite")
        without_literals(f"SELECT '{'a' * 9000}', b{number}", "sqlite")
    assert statements._remembered.cache_info().currsize == 512
    assert statements._remembered.cache_info().misses == 600


HOSTILE = {
    "quotes": "''",
    "open quote": "'a",
    "quotes and blanks": "'' ",
    "backslashes": "'\\\\",
    "odd backslashes": "E'\\",
    "double quotes": '""',
    "backticks": "``",
    "brackets": "[",
    "comments": "/**/",
    "open comments": "/*",
    "open comments and stars": "/* *",
    "dashes": "--\n",
    "carriage returns": "--\r",
    "dollars": "$",
    "tags": "$a",
    "open tag": "$a$ $a",
    "words": "a ",
    "one word": "a",
    "digits": "1",
    "exponents": "1e+",
    "blanks": " ",
    "lists": "IN (1, ",
    "rows": "VALUES (1),",
    "values": "(NULL, 1), ",
    "opened": "(",
    "froms": 'FROM "a" ',
    "semicolons": "; SELECT 1 ",
    "dots": ".",
    "letters": "\u00e9",
}


@pytest.mark.parametrize("system", ["postgresql", "mysql", "sqlite", "mssql"])
@pytest.mark.parametrize("part", HOSTILE.values(), ids=HOSTILE.keys())
def test_time_grows_no_faster_than_the_statement(system: str, part: str) -> None:
    def seconds(length: int) -> float:
        text = ("SELECT " + part * length)[:length]
        took = []
        for _ in range(3):
            started = time.thread_time()
            without_literals(text, system)
            took.append(time.thread_time() - started)
        return min(took)

    # Eight times the text: 64 times the time, were it quadratic. What is done in a blink may grow.
    assert seconds(MAX_READ // 2) < 24 * max(seconds(MAX_READ // 16), 0.002)
