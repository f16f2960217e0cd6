"""SQL statements without their literals: what a database was asked, never with which values."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

MAX_LENGTH = 2048
"""Characters of a statement without its literals, at most."""

MAX_READ = 1_048_576
"""Characters of a statement; a longer one is not looked at."""

_MAX_REMEMBERED = 8192
_MAX_WORD = 64
_MAX_PARTS = 2048
_CUT = " ..."

# Stands for a literal until the text is whole: a statement that holds it is refused.
_VALUE = "\0"

# A reading that is doubtful must fail: what follows a quoted text directly is no SQL that anybody
# writes, but what is left of a text whose own quotes were not escaped.
_ENDS = r"(?![\w'\"`$])"
_WORD = r"(?![uU]&['\"])[^\W\d\u02b0-\u02ff][^\W\u02b0-\u02ff]*+(?!['$])"
_TYPED = r"(?i:date|time|timestamp|interval)(?=')"
_NUMBER = r"\.?\d(?:[eE][+-](?=\d)|[\w.])*+(?!['\"`$])"
_SIGNS = r"[=<>!+%|&^~.,()?;]|\*(?!/)|-(?!-)|/(?!\*)"

# Rows of placeholders are one token: an INSERT has thousands of them.
_ID = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_MARK = rf"(?:\?(?!\d)|%s|%\({_ID}\)s|:{_ID})(?![\w(:'\"$])"
_MARK_OR_NUMBERED = rf"(?:{_MARK}|(?:\?|%s|%\({_ID}\)s|\$\d{{1,5}})(?:::{_ID})?+(?![\w(:'\"$]))"

# Possessive throughout, so that no statement takes more than linear time.
_PLAIN = r"'(?:[^']++|'')*+'"
_EITHER_WAY = r"'(?:[^'\\]++|''|\\[^'])*+'"  # same end whether or not a backslash escapes
_ESCAPED = r"'(?:[^'\\]++|''|\\.)*+'"
_DOUBLE = r'"(?:[^"]++|"")*+"'
_DOUBLE_EITHER_WAY = r'"(?:[^"\\]++|""|\\[^"])*+"'
_BACKTICK = r"`(?:[^`]++|``)*+`"

# Databases do not agree which characters but a line feed end a line.
_LINE = r"[^\n\r\v\f\x85\u2028\u2029]*+(?=\r?\n|\Z)"
_DASHES = rf"--{_LINE}"
_FLAT_BODY = r"(?:[^*/]++|\*(?!/)|/(?!\*))*+"
_COMMENT = rf"/\*{_FLAT_BODY}\*/"
_NESTED = rf"/\*(?:[^*/]++|\*(?!/)|/(?!\*)|{_COMMENT})*+\*/"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class _Dialect(NamedTuple):
    """How a database reads a statement."""

    tokens: re.Pattern[str]
    is_double_a_name: bool = True
    is_default_a_text: bool = False


def _tokens(
    *, comments: str, literals: str, names: str, signs: str, mark: str = _MARK
) -> re.Pattern[str]:
    """Return what finds the tokens of a dialect, one after the other; ``odd`` fits nothing else."""
    return re.compile(
        rf"(?P<space>(?:[ \t\n\r\f\v]++|{comments})++)"
        rf"|(?P<word>{_TYPED}|{_WORD})"
        rf"|(?P<literal>(?:{literals}){_ENDS}|{_NUMBER})"
        rf"|{names}"
        rf"|(?P<sign>{mark}(?:(?:, ?|\), ?\(){mark})++|{signs}|{_SIGNS})"
        r"|(?P<odd>.)",
        re.DOTALL,
    )


_POSTGRESQL = _Dialect(
    _tokens(
        comments=f"{_DASHES}|{_NESTED}",
        literals=rf"[eE]{_ESCAPED}|[uU]&(?:{_EITHER_WAY}|{_DOUBLE})|[bBnNxX]?{_EITHER_WAY}"
        r"|(?>\$(?P<tag>(?:[^\W\d]\w*+)?+)\$.*?\$(?P=tag)\$)",
        names=rf"(?P<name>{_DOUBLE}{_ENDS})",
        signs=r"\$\d{1,5}(?![\w'\"$])|[\[\]@#:]",
        mark=_MARK_OR_NUMBERED,
    )
)
_MYSQL = _Dialect(
    _tokens(
        comments=rf"(?:--(?=[ \t\n\r\f\v]|\Z)|\#){_LINE}|/\*(?!M?!){_FLAT_BODY}\*/"
        r"|/\*M?![\w\s(),]*+\*/",  # MySQL runs what stands in these
        literals=rf"(?:[bBnNxX]|_[A-Za-z0-9]{{1,32}})?{_EITHER_WAY}|@++(?:{_EITHER_WAY}|{_DOUBLE_EITHER_WAY}|{_BACKTICK}|[\w.]*+)",
        names=rf"(?P<double>{_DOUBLE_EITHER_WAY}{_ENDS})|(?P<name>{_BACKTICK}{_ENDS})",
        signs=":",
    ),
    is_double_a_name=False,
)
_SQLITE = _Dialect(
    _tokens(
        comments=f"{_DASHES}|{_COMMENT}",
        literals=f"[xX]?{_PLAIN}",
        names=rf"(?P<double>{_DOUBLE}{_ENDS})|(?P<name>(?:{_BACKTICK}|\[[^\]]*+\]){_ENDS})",
        # A variable may go on with ::name and (anything): that is not looked at.
        signs=rf"[?:]\d{{1,5}}(?!\w)|[$@:]{_ID}(?![\w(:'\"$])",
    ),
    is_double_a_name=False,
    is_default_a_text=True,
)
_SQL_SERVER = _Dialect(
    _tokens(
        comments=f"{_DASHES}|{_NESTED}",
        literals=rf"[nN]?{_PLAIN}|\$[\w.]*+",
        names=rf"(?P<double>{_DOUBLE}{_ENDS})|(?P<name>\[(?:[^\]]++|\]\])*+\]{_ENDS})",
        signs=r"[@#:]",
    ),
    is_double_a_name=False,
)
_ORACLE = _Dialect(
    _tokens(
        comments=f"{_DASHES}|{_COMMENT}",
        literals=f"[nN]?{_PLAIN}",
        names=rf"(?P<name>{_DOUBLE}{_ENDS})",
        signs=r":\d{1,5}(?!\w)|[@:]",
    )
)

_DIALECTS = {
    "postgresql": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": _SQLITE,
    "microsoft.sql_server": _SQL_SERVER,
    "mssql": _SQL_SERVER,
    "oracle.db": _ORACLE,
    "oracle": _ORACLE,
}

# In these every bare word is a keyword or a name. SET, PRAGMA, CALL, CREATE USER take values so.
_QUERIES = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE", "REPLACE", "VALUES", "TRUNCATE"}
)
_DEFINITIONS = frozenset({"CREATE", "ALTER", "DROP"})
_DEFINED = frozenset({"TABLE", "INDEX", "VIEW"})
_DEFINED_AS = frozenset(
    {"OR", "REPLACE", "GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "MATERIALIZED"}
    | {"UNIQUE", "FULLTEXT", "CLUSTERED", "NONCLUSTERED"}
)
_TRANSACTIONS = frozenset({"BEGIN", "START", "COMMIT", "END"})
_SAVEPOINTS = frozenset({"SAVEPOINT", "SAVE", "RELEASE", "ROLLBACK"})  # one name may follow
_OF_TRANSACTIONS = (
    _TRANSACTIONS
    | _SAVEPOINTS
    | {"TRANSACTION", "TRAN", "WORK", "TO", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", "AND", "CHAIN"}
    | {"ISOLATION", "LEVEL", "READ", "WRITE", "ONLY", "COMMITTED", "UNCOMMITTED", "REPEATABLE"}
    | {"SERIALIZABLE", "NO"}
)
_NEVER = frozenset({"EXEC", "EXECUTE", "IDENTIFIED"})  # words that take words as values

_NAME_FOLLOWS = frozenset({".", "INTO", "JOIN", "UPDATE", "TABLE", "EXISTS"})
_CONSTANTS = frozenset(
    {"NULL", "TRUE", "FALSE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "VALUES"}
)

_ADJACENT = re.compile(r"\0(?: ?\0)++")
_ITEM = r"(?:[+-]?\0(?:::\w++)?+|(?i:NULL|TRUE|FALSE|DEFAULT)\b)"
_ITEMS = rf" ?{_ITEM}(?: ?, ?{_ITEM})*+ ?"
_ROW = rf"\({_ITEMS}(?:\)|\Z)"
_LISTS = re.compile(rf"(?i:\b(IN|VALUES?) ?{_ROW}(?: ?, ?{_ROW})*+|\b(ARRAY) ?\[{_ITEMS}(?:\]|\Z))")


class _Token(NamedTuple):
    """A part of a statement, ready to leave: a literal is already ``_VALUE``."""

    kind: str
    text: str
    is_spaced: bool


def without_literals(statement: str, system: str) -> str | None:
    """Return ``statement`` with ``?`` for every literal, or None where that is not certain.

    Comments are gone, white space is one blank, ``IN`` lists and ``VALUES`` rows of literals are
    one ``(?)``; placeholders stay. The text is ASCII, has no quoted text but plain names, and is
    cut between two tokens, marked by ``...``, at `MAX_LENGTH` characters. Applied to its own
    result it changes nothing. Takes time linear in the length; never raises.

    None for: a system whose SQL is not known here, a quoted text or comment without an end or
    with two possible ends, statements whose bare words may be values (``SET``, ``PRAGMA``,
    ``CALL``, ``CREATE USER``, ``COPY``, ...), more than `MAX_READ` characters.

    What is promised is about literals. A text pasted into a statement without any quotes reads
    like names and may stay; whoever calls this knows whether the database took the statement,
    and withholds the text if it failed.

    Args:
        statement: What was sent to the database, with or without placeholders.
        system: OpenTelemetry's ``db.system.name``, or the older ``db.system``.

    Example:
        >>> without_literals("SELECT name FROM users WHERE id IN (1, 2) -- Eve", "postgresql")
        'SELECT name FROM users WHERE id IN (?)'
    """
    if len(statement) > _MAX_REMEMBERED or system not in _DIALECTS:
        return _stripped(statement, system)
    return _remembered(statement, system)


def _stripped(statement: str, system: str) -> str | None:
    dialect = _DIALECTS.get(system)
    if dialect is None or len(statement) > MAX_READ or _VALUE in statement:
        return None
    tokens = _read(statement, dialect.tokens)
    if not tokens or not all(map(_is_known, _split(tokens))):
        return None
    if not dialect.is_double_a_name:
        tokens = _without_doubtful(tokens, is_default_a_text=dialect.is_default_a_text)
    parts = [f" {token.text}" if token.is_spaced else token.text for token in tokens]
    text = _ADJACENT.sub(_VALUE, "".join(parts).strip())
    text = _LISTS.sub(_one_item, text).replace(_VALUE, "?")
    return _cut(text, is_whole=len(tokens) < _MAX_PARTS) or None


_remembered = lru_cache(maxsize=512)(_stripped)
"""At most 512 statements of 8 KB."""


def _read(statement: str, pattern: re.Pattern[str]) -> list[_Token] | None:
    """Return the tokens of a statement, the first ones of a long one; None where one is odd."""
    tokens: list[_Token] = []
    is_spaced = False
    for found in pattern.finditer(statement):
        kind = found.lastgroup or ""
        if kind == "space":
            is_spaced = True
            continue
        if kind == "odd":
            return None
        text = found.group()
        if kind == "literal" or not _can_leave(kind, text):
            kind, text = "literal", _VALUE
        tokens.append(_Token(kind, text, is_spaced))
        is_spaced = False
        if len(tokens) >= _MAX_PARTS:
            break
    return tokens


def _can_leave(kind: str, text: str) -> bool:
    if kind == "sign":
        return True
    if kind == "word":
        return text.isascii() and len(text) <= _MAX_WORD
    return _NAME.fullmatch(text, 1, len(text) - 1) is not None


def _split(tokens: list[_Token]) -> list[list[_Token]]:
    """Return the statements that stand between semicolons."""
    statements: list[list[_Token]] = [[]]
    for token in tokens:
        if token.text == ";":
            statements.append([])
        else:
            statements[-1].append(token)
    return statements


def _is_known(statement: list[_Token]) -> bool:
    """Tell whether every bare word of a statement is a keyword or a name."""
    first = next((token for token in statement if token.text != "("), None)
    if first is None:
        return not statement
    words = [token.text.upper() for token in statement if token.kind == "word"]
    if first.kind != "word" or not _NEVER.isdisjoint(words):
        return False
    operation = words[0]
    if operation in _QUERIES:
        return True
    if operation in _DEFINITIONS:
        return next((word for word in words[1:] if word not in _DEFINED_AS), "") in _DEFINED
    names = sum(word not in _OF_TRANSACTIONS for word in words)
    return names <= (operation in _SAVEPOINTS) and operation in _TRANSACTIONS | _SAVEPOINTS


def _without_doubtful(tokens: list[_Token], *, is_default_a_text: bool) -> list[_Token]:
    """Return the tokens with literals for what is double-quoted and not certain to be a name."""
    certain: list[_Token] = []
    opened: list[str] = []  # the first word of each open parenthesis
    before = previous = ""
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        text = token.text.upper()
        if token.kind == "double":
            is_name = previous in _NAME_FOLLOWS or (following is not None and following.text == ".")
            is_clause = not opened or opened[-1] in _QUERIES
            is_name = is_name or (previous == "FROM" and before != "DISTINCT" and is_clause)
        else:
            is_name = True
        if is_default_a_text and previous == "DEFAULT" and token.kind == "word":
            is_name = text in _CONSTANTS
        certain.append(token if is_name else _Token("literal", _VALUE, token.is_spaced))
        if text == "(":
            opened.append("")
        elif text == ")" and opened:
            opened.pop()
        elif token.kind == "word" and opened and not opened[-1]:
            opened[-1] = text
        before, previous = previous, text
    return certain


def _one_item(found: re.Match[str]) -> str:
    values, array = found.groups()
    return f"{array}[{_VALUE}]" if array else f"{values} ({_VALUE})"


def _cut(text: str, *, is_whole: bool) -> str:
    """Return the text, or as much of it as may leave; no token holds a blank or a comma."""
    if is_whole and len(text) <= MAX_LENGTH:
        return text
    limit = MAX_LENGTH - len(_CUT) + 1
    end = len(text)
    if end >= limit:
        end = max(text.rfind(" ", 0, limit), text.rfind(",", 0, limit))
    return text[:end].rstrip() + _CUT if end > 0 else ""
