"""The summary of a turn: the row of numbers over its waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from turntrace import attributes as keys
from turntrace.view.turn_facts import KEY_VALUE, MODEL, SQL, TOOL, Tag, number, text
from turntrace.view.turn_wording import Amount, count, dollars, duration, percent, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from turntrace.store.contract import StoredSpan

_WORST_FIRST = ("crashed", "error", "interrupted", "client_disconnected", "cancelled")
_OK = "ok"


class Outcome(NamedTuple):
    """How a turn ended."""

    word: str
    """As recorded; ``running`` if the turn is not over, empty for a trace that is no turn."""
    span_id: str | None = None
    """The span that says so."""


class Totals(NamedTuple):
    """What was used, by all of a trace; None where nobody said."""

    input_tokens: float | None
    output_tokens: float | None
    cached_tokens: float | None
    reasoning_tokens: float | None
    cost_usd: float | None
    iterations: float | None
    tool_calls: float | None
    model_calls: float | None
    database_ms: float | None
    database_statements: float | None


def outcome_of(spans: Sequence[StoredSpan]) -> Outcome:
    """Return the worst outcome that any turn of a trace had.

    A trace may hold several: the client's action, and on the server each event it caused.
    """
    ended = [(text(span.attributes, keys.TURN_OUTCOME), span) for span in spans]
    ended = [(word, span) for word, span in ended if word]
    for wanted in _WORST_FIRST:
        for word, span in ended:
            if word == wanted:
                return Outcome(word, span.span_id)
    for word, span in ended:
        if word != _OK:
            return Outcome(word, span.span_id)
    return Outcome(_OK, ended[0][1].span_id) if ended else Outcome("")


def totals_of(
    spans: Mapping[str, StoredSpan],
    tags: Mapping[str, Tag],
    children: Mapping[str, Sequence[str]],
    top_down: Sequence[str],
) -> Totals:
    """Sum what was used, each thing once: a summary above stands for what it sums up.

    Where a span says less than the spans below it together, those are believed: its summary was
    made before the last of them ended.

    Args:
        spans: by span id.
        tags: the kind of each.
        children: span ids by their parent's.
        top_down: every span id once, parents before their children.
    """
    tops: dict[str, list[float | None]] = {}
    for span_id in reversed(top_down):
        sums = _sum([tops.pop(child) for child in children.get(span_id, ())])
        own = _own(spans[span_id], tags[span_id])
        tops[span_id] = [_most(*pair) for pair in zip(own, sums, strict=True)]
    return Totals(*_sum(tops.values()))


def stats(totals: Totals, models: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the page shows of the totals; what nobody said is left out."""
    found = [
        _stat("Tokens in", totals.input_tokens, _cached(totals)),
        _stat("Tokens out", totals.output_tokens, _reasoning(totals)),
        _cost(totals),
        _stat("Iterations", totals.iterations, _model_calls(totals, models)),
        _stat("Tools", totals.tool_calls, "", "call" if totals.tool_calls == 1 else "calls"),
        _database(totals),
    ]
    return [stat for stat in found if stat is not None]


def _sum(rows: Iterable[list[float | None]]) -> list[float | None]:
    sums: list[float | None] = [None] * len(Totals._fields)
    for row in rows:
        sums = [_plus(*pair) for pair in zip(sums, row, strict=True)]
    return sums


def _own(span: StoredSpan, tag: Tag) -> list[float | None]:
    """Return what a span itself says: its summary if it is a turn, else what it is."""
    facts = span.attributes
    is_statement = tag in {SQL, KEY_VALUE}
    length_ms = max(0.0, (span.end_ns - span.start_ns) / 1e6)
    return [
        number(
            facts,
            keys.TURN_INPUT_TOKENS,
            keys.GEN_AI_USAGE_INPUT_TOKENS,
            keys.AI_USAGE_PROMPT_TOKENS,
        ),
        number(
            facts,
            keys.TURN_OUTPUT_TOKENS,
            keys.GEN_AI_USAGE_OUTPUT_TOKENS,
            keys.AI_USAGE_COMPLETION_TOKENS,
        ),
        number(facts, keys.GEN_AI_USAGE_CACHE_READ),
        number(facts, keys.GEN_AI_USAGE_REASONING),
        number(facts, keys.TURN_COST_USD, keys.AI_COST_ESTIMATED_USD),
        number(facts, keys.TURN_ITERATIONS, keys.AI_REACT_LOOP_ITERATIONS),
        1.0 if tag is TOOL else number(facts, keys.TURN_TOOL_CALLS, keys.AI_TOOL_CALLS_COUNT),
        1.0 if tag is MODEL else number(facts, keys.TURN_MODEL_CALLS),
        length_ms if is_statement else number(facts, keys.TURN_DB_MS),
        1.0 if is_statement else number(facts, keys.TURN_DB_STATEMENTS),
    ]


def _plus(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else one + other


def _most(own: float | None, below: float | None) -> float | None:
    return below if own is None else own if below is None else max(own, below)


def _stat(label: str, value: float | None, note: str, unit: str = "") -> dict[str, Any] | None:
    if value is None:
        return None
    return {"label": label, "value": Amount(count(value), unit), "note": note}


def _cached(totals: Totals) -> str:
    if not totals.cached_tokens:
        return ""
    share = percent(totals.cached_tokens, totals.input_tokens or 0)
    return f"{count(totals.cached_tokens)} cached, {share}"


def _reasoning(totals: Totals) -> str:
    if not totals.reasoning_tokens:
        return ""
    return f"{count(totals.reasoning_tokens)} of them reasoning"


def _cost(totals: Totals) -> dict[str, Any] | None:
    if totals.cost_usd is None:
        return None
    return {"label": "Cost", "value": Amount(dollars(totals.cost_usd)), "note": "estimated"}


def _model_calls(totals: Totals, models: Sequence[str]) -> str:
    calls = plural(int(totals.model_calls), "model call") if totals.model_calls else ""
    return f"{calls}, {plural(len(models), 'model')}" if len(models) > 1 else calls


def _database(totals: Totals) -> dict[str, Any] | None:
    if totals.database_ms is None:
        return None
    statements = plural(int(totals.database_statements or 0), "statement")
    return {"label": "Database", "value": duration(totals.database_ms * 1e6), "note": statements}
