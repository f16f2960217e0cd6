"""What a span is and what is worth saying beside its bar, read from its attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turntrace import attributes as keys
from turntrace.view.turn_wording import count, dollars, one_line

if TYPE_CHECKING:
    from turntrace.store.contract import Attributes, StoredSpan

_MODEL_CALLS = frozenset({"chat", "generate_content", "text_completion", "embeddings"})
_KEY_VALUE_STORES = frozenset({"redis", "valkey", "memcached"})
_QUIET_OUTCOMES = frozenset({"ok", "error"})
"""Outcomes that need no word: the first is the rule, the second is said by the error itself."""

_MAX_NUMBER = 1e18
"""More tokens, dollars or milliseconds than this are a mistake, and are not shown."""
_MAX_TIME_NS = 2**63


class Tag(NamedTuple):
    """The kind of a span in the page's language: letters first, then a colour."""

    letters: str
    colour: str
    """The value of ``data-kind``, which ``base.css`` gives a colour."""


HTTP = Tag("HTTP", "http")
SOCKET = Tag("SOCK", "socket")
MODEL = Tag("AI", "ai")
TOOL = Tag("TOOL", "tool")
SQL = Tag("SQL", "db")
KEY_VALUE = Tag("KV", "db")
JOB = Tag("JOB", "job")
STEP = Tag("STEP", "internal")


def tag_of(facts: Attributes) -> Tag:
    """Return the kind of the span that has these attributes; the most telling layer wins."""
    operation = text(facts, keys.GEN_AI_OPERATION_NAME)
    system = text(facts, keys.DB_SYSTEM_NAME) or text(facts, keys.DB_SYSTEM)
    messaging = text(facts, keys.MESSAGING_SYSTEM)
    if operation == "execute_tool" or keys.GEN_AI_TOOL_NAME in facts or keys.AI_TOOL_NAME in facts:
        tag = TOOL
    elif operation in _MODEL_CALLS or (not operation and keys.AI_MODEL in facts):
        tag = MODEL
    elif operation:
        tag = STEP
    elif system:
        tag = KEY_VALUE if system in _KEY_VALUE_STORES else SQL
    elif messaging == keys.SOCKETIO_SYSTEM or keys.SOCKET_EVENT in facts:
        tag = SOCKET
    elif messaging:
        tag = JOB
    elif keys.HTTP_REQUEST_METHOD in facts or keys.HTTP_METHOD in facts:
        tag = HTTP
    else:
        tag = STEP
    return tag


def first_chunk_ns(facts: Attributes) -> int | None:
    """Return how long after its start a model call's answer began, in nanoseconds."""
    seconds = number(facts, keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    if seconds is not None:
        return _moment(seconds, 1e9)
    return _moment(number(facts, keys.AI_STREAM_FIRST_TOKEN_MS), 1e6)


def first_token_ns(facts: Attributes) -> int | None:
    """Return how long after a turn's start its client got the first token, in nanoseconds."""
    return _moment(number(facts, keys.TURN_FIRST_TOKEN_MS), 1e6)


def facts_of(span: StoredSpan, tag: Tag) -> list[str]:
    """Return what stands beside the bar, the most telling first; quiet when all is well.

    Says nothing that the name says already.
    """
    facts = span.attributes
    said: list[str] = []
    if span.status_code == "error":
        said.append(error_of(span))
    outcome = text(facts, keys.TURN_OUTCOME)
    if outcome and outcome not in _QUIET_OUTCOMES:
        said.append(outcome.replace("_", " "))
    if tag is MODEL:
        said += _usage(facts)
    told = (
        keys.GEN_AI_TOOL_NAME,
        keys.GEN_AI_REQUEST_MODEL if tag is MODEL else keys.AI_TOOL_NAME,
        keys.DB_QUERY_SUMMARY,
        keys.DB_COLLECTION_NAME,
        keys.HTTP_RESPONSE_STATUS_CODE,
    )
    words = [word for key in told if (word := text(facts, key)) and word not in span.name]
    return said + [word for word in dict.fromkeys(words) if word not in said]


def error_of(span: StoredSpan) -> str:
    """Say that a span failed, and of what type the failure was."""
    kind = exception_type(span)
    return f"error {kind.rpartition('.')[2]}".rstrip()


def exception_type(span: StoredSpan) -> str:
    """Return the qualified type of a span's failure, empty if it has none."""
    kind = text(span.attributes, keys.ERROR_TYPE)
    for event in span.events:
        kind = kind or text(event.attributes, keys.EXCEPTION_TYPE)
    return kind


def text(facts: Attributes, key: str) -> str:
    """Return an attribute on one line; empty if it is not there."""
    value = facts.get(key)
    return "" if value is None else one_line(str(value))


def number(facts: Attributes, *names: str) -> float | None:
    """Return the first of the attributes that is a number from zero to what has a meaning."""
    for name in names:
        value = facts.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 <= value <= _MAX_NUMBER:
            return float(value)
    return None


def _usage(facts: Attributes) -> list[str]:
    into = number(facts, keys.GEN_AI_USAGE_INPUT_TOKENS, keys.AI_USAGE_PROMPT_TOKENS)
    out = number(facts, keys.GEN_AI_USAGE_OUTPUT_TOKENS, keys.AI_USAGE_COMPLETION_TOKENS)
    cost = number(facts, keys.AI_COST_ESTIMATED_USD)
    said = []
    if into is not None or out is not None:
        said.append(f"{count(into or 0)} → {count(out or 0)} tokens")
    if cost is not None:
        said.append(dollars(cost))
    return said


def _moment(amount: float | None, unit_ns: float) -> int | None:
    """Return a time in nanoseconds; None for one that no span can have, in centuries from now."""
    if amount is None or amount * unit_ns > _MAX_TIME_NS:
        return None
    return int(amount * unit_ns)
