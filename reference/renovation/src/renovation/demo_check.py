"""What the trace of a first message must hold: said in words where something is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Span = dict[str, Any]

_MODEL_FACTS = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "ai.cost.estimated_usd",
    "gen_ai.response.time_to_first_chunk",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """So many spans of one kind, each below a parent of another."""

    what: str
    """The start of the span's name, or the whole of it."""

    parent: str
    """The same of its parent; empty for the root."""

    at_least: int = 1

    facts: tuple[str, ...] = ()
    """Attributes that each of them must carry."""


_TURN = "socket.io chat:user_message"
_SQL = ("SELECT", "INSERT", "UPDATE", "DELETE")

FIRST_MESSAGE = (
    Expected(what="first message", parent=""),
    Expected(what="POST 127.0.0.1", parent="first message"),
    Expected(what="POST /api/sessions", parent="POST 127.0.0.1", facts=("http.route",)),
    Expected(what="socket.io emit chat:user_message", parent="first message"),
    Expected(
        what=_TURN,
        parent="socket.io emit chat:user_message",
        facts=("session.id", "turntrace.turn.outcome", "turntrace.turn.tokens_emitted"),
    ),
    Expected(what="SELECT renovation_sessions", parent=_TURN),
    Expected(what="SELECT chat_messages", parent=_TURN),
    Expected(what="INSERT chat_messages", parent=_TURN, at_least=2),
    Expected(what="invoke_agent renovation", parent=_TURN, facts=("ai.react_loop.iterations",)),
    Expected(what="node agent", parent="invoke_agent renovation", at_least=2),
    Expected(what="node tools", parent="invoke_agent renovation"),
    Expected(what="chat gemini-", parent="node agent", at_least=2, facts=_MODEL_FACTS),
    Expected(what="execute_tool get_style_examples", parent="node tools"),
    Expected(what="SELECT style_catalog", parent="execute_tool get_style_examples"),
    Expected(what="POST ", parent="chat gemini-", at_least=2),
)


def missing(spans: Sequence[Span], expected: Sequence[Expected] = FIRST_MESSAGE) -> list[str]:
    """Return what the trace lacks, a sentence each; an empty list if it is whole."""
    by_id = {span["span_id"]: span for span in spans}
    problems = [problem for want in expected for problem in _problems(want, spans, by_id.get)]
    problems.extend(
        f"{span['name']}: its parent {span['parent_span_id']} is not in the trace"
        for span in spans
        if span["parent_span_id"] and span["parent_span_id"] not in by_id
    )
    statements = sum(span["name"].startswith(_SQL) for span in spans)
    if statements < 5:  # noqa: PLR2004 - what the scripted conversation needs
        problems.append(f"{statements} database spans, expected at least 5")
    return problems


def _problems(
    want: Expected, spans: Sequence[Span], find: Callable[[str], Span | None]
) -> list[str]:
    found = [
        span
        for span in spans
        if _matches(span["name"], want.what) and _has_parent(span, want.parent, find)
    ]
    place = f"below {want.parent!r}" if want.parent else "as the root"
    if len(found) < want.at_least:
        return [f"{len(found)} spans {want.what!r} {place}, expected at least {want.at_least}"]
    return [
        f"{span['name']}: no {fact}"
        for span in found
        for fact in want.facts
        if fact not in span["attributes"]
    ]


def _matches(name: str, pattern: str) -> bool:
    """Compare whole names; a pattern that ends in ``-`` or a space matches the start of one."""
    return name.startswith(pattern) if pattern[-1:] in ("-", " ") else name == pattern


def _has_parent(span: Span, pattern: str, find: Callable[[str], Span | None]) -> bool:
    parent_id = span["parent_span_id"]
    if not pattern:
        return not parent_id
    parent = find(parent_id)
    return parent is not None and _matches(parent["name"], pattern)
