"""The spans of one trace, as far as they have arrived, become its rows among the turns."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from turntrace import attributes as keys
from turntrace.store.contract import StoredSpan
from turntrace.store.turns import RUNNING, TurnRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from turntrace.store.contract import Attributes, SpanKindWord, StatusWord

MAX_TEXT = 200
"""Characters kept of a name or value; the span itself keeps them all."""
MAX_COUNT = 10**15
MAX_COST_USD = 10**9

_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200
_SOCKETIO = "socket.io "
_PHASE = (keys.TURN_PHASE, keys.RENOVATION_PHASE)
_MODEL = (keys.GEN_AI_REQUEST_MODEL, keys.AI_MODEL)
_SHARED = frozenset({keys.SESSION_ID, keys.ERROR_TYPE, *_PHASE, *_MODEL})

_in_order = attrgetter("start_ns", "span_id")


class SpanFacts(NamedTuple):
    """What a row needs of a span; the names are those of ``StoredSpan``."""

    trace_id: str
    span_id: str
    parent_span_id: str
    flags: int
    name: str
    kind: SpanKindWord
    start_ns: int
    end_ns: int
    status_code: StatusWord
    attributes: Attributes
    service: str


AnySpan: TypeAlias = StoredSpan | SpanFacts


def is_turn_root(span: AnySpan) -> bool:
    """Tell whether a span is the root of a turn that ended."""
    return keys.TURN_OUTCOME in span.attributes


def rows_of(spans: Sequence[AnySpan]) -> list[TurnRow]:
    """Return the rows of a trace, given at least one of its spans, each span once.

    Where a model was asked, that is the turn of the trace: what the user's client did around it,
    and the events before it, are not listed beside it as turns.
    """
    ordered = sorted(spans, key=_in_order)
    shared = _Shared(ordered)
    roots = [span for span in ordered if is_turn_root(span)]
    asked = [span for span in roots if _count(span.attributes, keys.TURN_MODEL_CALLS)]
    rows = [_turn(span, shared, is_turn=not asked or span in asked) for span in roots]
    # What an ended turn lost on the way does not make it run again; what began later may.
    ended_ns = max((span.end_ns for span in roots), default=-1)
    waiting = [span for span in _waiting(ordered) if span.start_ns > ended_ns]
    if waiting or not rows:
        rows.append(_trace(ordered, waiting, shared))
    return rows


def _waiting(ordered: Iterable[AnySpan]) -> list[AnySpan]:
    """Return the spans that name a parent in their own process that is not here."""
    known = {span.span_id for span in ordered}
    return [
        span
        for span in ordered
        if span.parent_span_id
        and span.parent_span_id not in known
        and not is_turn_root(span)
        and not _has_remote_parent(span)
    ]


class _Shared:
    """What every span of a trace may say about all of it: the earliest that says it is believed."""

    def __init__(self, ordered: Iterable[AnySpan]) -> None:
        self.session = self.phase = self.model = self.error_type = ""
        for span in ordered:
            found = span.attributes
            if _SHARED.isdisjoint(found):
                continue
            self.session = self.session or _text(found, keys.SESSION_ID)
            self.phase = self.phase or _text(found, *_PHASE)
            self.model = self.model or _text(found, *_MODEL)
            self.error_type = self.error_type or _text(found, keys.ERROR_TYPE)


def _turn(root: AnySpan, shared: _Shared, *, is_turn: bool) -> TurnRow:
    found = root.attributes
    outcome = _text(found, keys.TURN_OUTCOME) or "unknown"
    own_error = _text(found, keys.ERROR_TYPE)
    return TurnRow(
        trace_id=root.trace_id,
        span_id=root.span_id,
        is_turn=is_turn,
        outcome=outcome,
        name=root.name[:MAX_TEXT],
        event=_event(root),
        service=root.service[:MAX_TEXT],
        session=_text(found, keys.SESSION_ID) or shared.session,
        phase=_text(found, *_PHASE) or shared.phase,
        model=shared.model,
        error_type=own_error or (shared.error_type if outcome == "error" else ""),
        start_ns=root.start_ns,
        duration_ns=root.end_ns - root.start_ns,
        cost_usd=_number(found, keys.TURN_COST_USD, MAX_COST_USD),
        first_token_ms=_number(found, keys.TURN_FIRST_TOKEN_MS, MAX_COUNT),
        input_tokens=_count(found, keys.TURN_INPUT_TOKENS),
        output_tokens=_count(found, keys.TURN_OUTPUT_TOKENS),
        iterations=_count(found, keys.TURN_ITERATIONS),
        tool_calls=_count(found, keys.TURN_TOOL_CALLS),
        model_calls=_count(found, keys.TURN_MODEL_CALLS),
    )


def _trace(ordered: Sequence[AnySpan], waiting: Sequence[AnySpan], shared: _Shared) -> TurnRow:
    """Return the row of a turn that runs, or of a trace without one."""
    is_running = bool(waiting)
    if is_running:
        head = waiting[0]
    else:
        head = next((span for span in ordered if not span.parent_span_id), ordered[0])
    ended = "error" if head.status_code == "error" else "ok"
    outcome = RUNNING if is_running else ended
    start_ns = head.start_ns if is_running else ordered[0].start_ns
    return TurnRow(
        trace_id=head.trace_id,
        span_id="",
        is_turn=is_running,
        outcome=outcome,
        name=head.name[:MAX_TEXT],
        event=_event(head),
        service=head.service[:MAX_TEXT],
        session=shared.session,
        phase=shared.phase,
        model=shared.model,
        error_type=shared.error_type if outcome == "error" else "",
        start_ns=start_ns,
        duration_ns=max(span.end_ns for span in ordered) - start_ns,
    )


def _has_remote_parent(span: AnySpan) -> bool:
    """Tell whether the parent is elsewhere: it may never come. Unsaid, the kind decides."""
    if span.flags & _HAS_IS_REMOTE:
        return bool(span.flags & _IS_REMOTE)
    return span.kind in {"server", "consumer"}


def _event(span: AnySpan) -> str:
    return (
        _text(span.attributes, keys.SOCKET_EVENT)
        or span.name.removeprefix(_SOCKETIO)[:MAX_TEXT]
        or "(no name)"
    )


def _text(attributes: Attributes, *names: str) -> str:
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str | int | float) and value != "":
            return str(value)[:MAX_TEXT]
    return ""


def _number(attributes: Attributes, name: str, most: int) -> float | None:
    value = attributes.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return float(value)


def _count(attributes: Attributes, name: str) -> int | None:
    number = _number(attributes, name, MAX_COUNT)
    return None if number is None else int(number)
