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
    """Return the rows of a trace, given at least one of its spans, each span once."""
    ordered = sorted(spans, key=_in_order)
    shared = _Shared(ordered)
    turns = [_turn(span, shared) for span in ordered if is_turn_root(span)]
    return turns or [_trace(ordered, shared)]


def is_pending(spans: Iterable[AnySpan]) -> bool:
    """Tell whether a span names a parent in its own process that is not here."""
    known = {span.span_id for span in spans}
    return any(
        span.parent_span_id and span.parent_span_id not in known and not _has_remote_parent(span)
        for span in spans
    )


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


def _turn(root: AnySpan, shared: _Shared) -> TurnRow:
    found = root.attributes
    outcome = _text(found, keys.TURN_OUTCOME) or "unknown"
    own_error = _text(found, keys.ERROR_TYPE)
    return TurnRow(
        trace_id=root.trace_id,
        span_id=root.span_id,
        is_turn=True,
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


def _trace(ordered: Sequence[AnySpan], shared: _Shared) -> TurnRow:
    is_running = is_pending(ordered)
    head = next((span for span in ordered if not span.parent_span_id), ordered[0])
    ended = "error" if head.status_code == "error" else "ok"
    outcome = RUNNING if is_running else ended
    start_ns = ordered[0].start_ns
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
