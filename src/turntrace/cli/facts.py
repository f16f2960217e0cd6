"""What a span is and what is worth saying beside its bar, read from its attributes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from turntrace import attributes as keys
from turntrace.cli.cleaning import clean
from turntrace.cli.wording import duration
from turntrace.guard.exceptions import is_safe_stack
from turntrace.type_names import WITHHELD
from turntrace.view import turn_facts
from turntrace.view.turn_wording import count, dollars

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUIET_OUTCOMES = frozenset({"ok", "error"})
"""Outcomes that need no word: the first is the rule, the second is said by the error itself."""


class Tag(NamedTuple):
    """The kind of a span in the page's language: letters first, then a colour."""

    letters: str
    colour: str


HTTP = Tag("HTTP", "bright_blue")
SOCKET = Tag("SOCK", "blue")
MODEL = Tag("AI", "magenta")
TOOL = Tag("TOOL", "cyan")
SQL = Tag("SQL", "yellow")
KEY_VALUE = Tag("KV", "yellow")
JOB = Tag("JOB", "green")
STEP = Tag("STEP", "bright_black")

_TAGS = {
    turn_facts.HTTP: HTTP,
    turn_facts.SOCKET: SOCKET,
    turn_facts.MODEL: MODEL,
    turn_facts.TOOL: TOOL,
    turn_facts.SQL: SQL,
    turn_facts.KEY_VALUE: KEY_VALUE,
    turn_facts.JOB: JOB,
    turn_facts.STEP: STEP,
}
"""The page's tags in the colours of a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and money; None where nobody said."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    cost_usd: float | None = None

    def __bool__(self) -> bool:
        return self != _NO_USAGE

    def plus(self, other: Usage) -> Usage:
        """Return the sum, where None adds nothing."""
        return Usage(
            input_tokens=_sum(self.input_tokens, other.input_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            cost_usd=_sum(self.cost_usd, other.cost_usd),
        )

    def words(self) -> list[str]:
        """Say it: ``8,282→364 tok`` and ``$0.00201``."""
        said = []
        if self.input_tokens is not None or self.output_tokens is not None:
            said.append(f"{count(self.input_tokens or 0)}→{count(self.output_tokens or 0)} tok")
        if self.cost_usd is not None:
            said.append(dollars(self.cost_usd))
        return said


_NO_USAGE = Usage()


def tag_of(span: Mapping[str, Any]) -> Tag:
    """Return the kind of a span; the most telling layer wins."""
    return _TAGS[turn_facts.tag_of(span["attributes"])]


def usage_of(span: Mapping[str, Any]) -> Usage:
    """Return what a span itself says it used."""
    return Usage(
        input_tokens=_number(span, keys.GEN_AI_USAGE_INPUT_TOKENS, keys.AI_USAGE_PROMPT_TOKENS),
        output_tokens=_number(
            span, keys.GEN_AI_USAGE_OUTPUT_TOKENS, keys.AI_USAGE_COMPLETION_TOKENS
        ),
        cost_usd=_number(span, keys.AI_COST_ESTIMATED_USD),
    )


def first_chunk_ns(span: Mapping[str, Any]) -> int | None:
    """Return how long after its start a model call's answer began, in nanoseconds."""
    return turn_facts.first_chunk_ns(span["attributes"])


def first_token_ns(span: Mapping[str, Any]) -> int | None:
    """Return how long after a turn's start its client got the first token, in nanoseconds."""
    return turn_facts.first_token_ns(span["attributes"])


def facts_of(span: Mapping[str, Any], *, parent_service: str | None) -> list[str]:
    """Return what stands beside the bar, the most telling first.

    Quiet when all is well, and never what the name says already.
    """
    said: list[str] = []
    if span["status"]["code"] == "error":
        said.append(_error(span))
        if place := _place(span):
            said.append(place)
    outcome = _text(span, keys.TURN_OUTCOME)
    if outcome and (outcome not in _QUIET_OUTCOMES or not said):
        said.append(outcome)
    if (first_token := first_token_ns(span)) is not None:
        said.append(f"first token {duration(first_token)}")
    tag = tag_of(span)
    if tag is MODEL:
        said += usage_of(span).words()
        first_chunk = first_chunk_ns(span)
        if first_chunk is not None:
            said.append(f"first {duration(first_chunk)}")
    said += [
        word
        for key in (
            keys.GEN_AI_TOOL_NAME,
            keys.GEN_AI_REQUEST_MODEL if tag is MODEL else keys.AI_TOOL_NAME,
            keys.DB_QUERY_SUMMARY,
            keys.DB_COLLECTION_NAME,
            keys.HTTP_RESPONSE_STATUS_CODE,
        )
        if (word := _text(span, key)) and word not in clean(span["name"]) and word not in said
    ]
    if parent_service is not None and parent_service != span["service"]:
        said.append(f"in {clean(span['service'])}")
    if span["is_orphan"]:
        said.append("parent not here")
    return said


def _error(span: Mapping[str, Any]) -> str:
    kind = _text(span, keys.ERROR_TYPE)
    for event in span["events"]:
        kind = kind or clean(str(event["attributes"].get(keys.EXCEPTION_TYPE, "")))
    return f"error {kind.rpartition('.')[2]}".rstrip()


def _place(span: Mapping[str, Any]) -> str:
    """Return where in the app a span's exception passed last: ``stock.py:61``."""
    for event in span["events"]:
        stack = event["attributes"].get(keys.EXCEPTION_STACKTRACE)
        place = _innermost(stack) if is_safe_stack(stack) else ""
        if place and WITHHELD not in place:
            folder, _, file = place.rpartition("/")
            is_package = folder and file.startswith("__init__.")
            return f"{folder.rpartition('/')[2]}/{file}" if is_package else file
    return ""


def _innermost(stack: str) -> str:
    """Return the innermost frame of the app that a stack of ours names first.

    A stack begins with the frame in which it ended, which may be one of a library: of Python's,
    or of the one that the exception's type is from; then the next frame is the app's.
    """
    kind, *lines = stack.split("\n")
    places = []
    for line in lines[:2]:
        place, is_frame, _ = line.removeprefix("  ").partition(" in ")
        if not is_frame or place.startswith(" "):
            break
        places.append(place)
    if len(places) < 2:  # noqa: PLR2004 - one frame is all there is to say
        return "".join(places)
    library, caller = map(_package, places)
    is_foreign = library in sys.stdlib_module_names or library == kind.partition(".")[0]
    return places[1] if is_foreign and caller != library else places[0]


def _package(place: str) -> str:
    return place.partition("/")[0].partition(".py")[0]


def _text(span: Mapping[str, Any], key: str) -> str:
    value = span["attributes"].get(key)
    return "" if value is None else clean(str(value))


def _number(span: Mapping[str, Any], *names: str) -> float | None:
    return turn_facts.number(span["attributes"], *names)


def _sum(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else one + other
