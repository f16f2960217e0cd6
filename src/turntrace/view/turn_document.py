"""One turn as the Turn page draws it: what happened when, what was waited for, and the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turntrace import attributes as keys
from turntrace.guard.stage import IS_REMOTE
from turntrace.view.tree import Forest, arrange
from turntrace.view.turn_axis import ticks
from turntrace.view.turn_facts import (
    HTTP,
    MODEL,
    SOCKET,
    STEP,
    Tag,
    facts_of,
    first_chunk_ns,
    first_token_ns,
    number,
    tag_of,
    text,
)
from turntrace.view.turn_path import Interval, PathTree, Piece, critical_path
from turntrace.view.turn_stats import outcome_of, stats, totals_of
from turntrace.view.turn_where import Waited, pinned, segments, where
from turntrace.view.turn_window import axis_of, end_of, total_of
from turntrace.view.turn_wording import duration, one_line, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from turntrace.store.contract import StoredSpan

MAX_ROWS = 10_000
"""Rows in a document; of a larger trace those that come first in the tree."""
MAX_LINKS = 20
MAX_ROW_PIECES = 1000
"""Pieces of the critical path in one row."""
_MIN_SHARE, _MIN_OWN_SHARE = 0.005, 0.02
"""Of the turn: what a span is waited for at least, to be drawn as part of the critical path; and
a step of the app's own, which holds the path together."""
_NOTABLE_SHARE = 0.2
"""Of the turn: a single span that is waited for as long as this is pointed out."""

_IDS = (
    (keys.SESSION_ID, "session"),
    (keys.USER_ID, "user"),
    (keys.ROOM_ID, "room"),
    (keys.REQUEST_ID, "request"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trace:
    """The spans of a trace, in their places."""

    spans: dict[str, StoredSpan]
    """By span id, in the order of their start."""
    forest: Forest
    order: list[str]
    """From the top, each span followed by its children."""
    depths: dict[str, int]
    sizes: dict[str, int]
    """How many spans are below each."""
    tags: dict[str, Tag]
    origin_ns: int
    root: StoredSpan
    """The first span without a parent; else the turn among those at the top, or the first."""
    lost: frozenset[str]
    """Spans whose parent ought to be here: it ran in the same process, or nobody knows where."""

    def time(self, span_id: str) -> Interval:
        """Return when a span ran, since the start of the trace."""
        span = self.spans[span_id]
        start_ns = span.start_ns - self.origin_ns
        return Interval(start_ns, start_ns + max(0, span.end_ns - span.start_ns))


def turn_document(spans: Sequence[StoredSpan], *, unread: int = 0) -> dict[str, Any]:
    """Return what the Turn page draws of a trace, at least one span in any order.

    Never fails, whatever the spans say: circles are cut, orphans stand at the top, and what
    ended before it started took no time. Offsets are nanoseconds since the earliest start; what
    began too long after the turn to be part of it is said to, and is drawn at the axis' end.
    Takes n log n of the number of spans. ``unread`` is how many more the trace has.

    Example:
        >>> document = turn_document(store.trace(trace_id))  # doctest: +SKIP
        >>> [part["words"] for part in document["where"]["parts"]]  # doctest: +SKIP
        ['waiting for the model', 'streaming the answer', 'SELECT style_catalog', ...]
    """
    trace = _place(spans)
    is_running = bool(trace.lost) and trace.root.span_id in trace.forest.orphans
    window = _window(trace, is_running=is_running)
    waited = {span_id: _waited(trace, span_id) for span_id in trace.order}
    path = critical_path(_path_tree(trace), window)
    parts = segments(path, waited)
    outcome = outcome_of([trace.root, *trace.spans.values()])
    totals = totals_of(trace.spans, trace.tags, trace.forest.children, trace.order)
    models = _models(trace)
    axis_ns = axis_of(window, max(trace.time(span_id).end_ns for span_id in trace.order))
    mark = _first_token(trace, axis_ns)
    return {
        "trace_id": trace.root.trace_id,
        "name": one_line(trace.root.name),
        "root_id": trace.root.span_id,
        "is_running": is_running,
        "start_ms": trace.origin_ns / 1e6,
        "last_end_ms": (trace.origin_ns + axis_ns) / 1e6,
        "axis_ns": axis_ns,
        "ticks": ticks(axis_ns),
        "window": window._asdict(),
        "duration": duration(window.end_ns - window.start_ns),
        "total": _total(trace, window, is_running=is_running),
        "outcome": "running" if is_running else outcome.word,
        "outcome_span_id": outcome.span_id,
        "first_token": mark,
        "stats": stats(totals, models),
        "where": where(parts, waited),
        "path": pinned(parts, waited),
        "phase": _bound(trace, keys.TURN_PHASE) or _bound(trace, keys.RENOVATION_PHASE),
        "models": models,
        "ids": [
            {"key": key, "label": label, "value": value}
            for key, label in _IDS
            if (value := _bound(trace, key))
        ],
        "kept_because": text(trace.root.attributes, keys.SAMPLING_REASON),
        "services": list(dict.fromkeys(span.service for span in trace.spans.values())),
        "links": list(_links(trace)),
        "withheld": sum(span.dropped_attributes for span in trace.spans.values()),
        "counts": _counts(trace, unread),
        "rows": _rows(trace, path, mark, Interval(window.end_ns, axis_ns)),
    }


def _place(spans: Sequence[StoredSpan]) -> _Trace:
    latest = {span.span_id: span for span in sorted(spans, key=_begun)}  # of those with one id
    ordered = sorted(latest.values(), key=_begun)
    by_id = {span.span_id: span for span in ordered}
    forest = arrange(ordered)
    order: list[str] = []
    depths = dict.fromkeys(forest.roots, 0)
    waiting = forest.roots[::-1]
    while waiting:
        span_id = waiting.pop()
        order.append(span_id)
        below = forest.children.get(span_id, [])
        depths.update(dict.fromkeys(below, depths[span_id] + 1))
        waiting.extend(reversed(below))
    sizes: dict[str, int] = {}
    for span_id in reversed(order):
        below = forest.children.get(span_id, [])
        sizes[span_id] = len(below) + sum(sizes[child] for child in below)
    whole = [span_id for span_id in forest.roots if span_id not in forest.orphans]
    return _Trace(
        spans=by_id,
        forest=forest,
        order=order,
        depths=depths,
        sizes=sizes,
        tags={span.span_id: tag_of(span.attributes) for span in ordered},
        origin_ns=ordered[0].start_ns,
        root=by_id[whole[0]] if whole else max((by_id[one] for one in forest.roots), key=_weight),
        lost=frozenset(one for one in forest.orphans if not _is_called(by_id[one])),
    )


def _begun(span: StoredSpan) -> tuple[int, str]:
    return span.start_ns, span.span_id


def _is_called(span: StoredSpan) -> bool:
    """Tell whether the parent is in another process, which may send nothing here.

    A turn's parent is, as a rule, also where the span does not say so.
    """
    is_remote = span.flags & IS_REMOTE == IS_REMOTE or keys.TURN_OUTCOME in span.attributes
    return bool(span.parent_span_id) and is_remote


def _weight(span: StoredSpan) -> tuple[int, int, int]:
    """Rank spans at the top, none of which has no parent: a model's turn, a turn, the first."""
    is_turn = keys.TURN_OUTCOME in span.attributes
    return (keys.TURN_MODEL_CALLS in span.attributes, is_turn, -span.start_ns)


def _window(trace: _Trace, *, is_running: bool) -> Interval:
    """Return from when to when the turn lasted; while it runs, all that has arrived.

    From the start of its root: what seems to start earlier has another machine's clock.
    """
    root = trace.time(trace.root.span_id)
    times = [trace.time(span_id) for span_id in trace.order]
    if is_running:
        return Interval(0, max(until for _, until in times))
    start_ns = 0 if trace.root.span_id in trace.forest.orphans else root.start_ns
    return Interval(start_ns, end_of(root, times))


def _total(trace: _Trace, window: Interval, *, is_running: bool) -> dict[str, Any]:
    ended = [one for one, span in trace.spans.items() if keys.TURN_OUTCOME in span.attributes]
    asked = [one for one in ended if number(trace.spans[one].attributes, keys.TURN_MODEL_CALLS)]
    root_id = trace.root.span_id
    turn_id = asked[0] if len(asked) == 1 else root_id if root_id in ended else None
    if turn_id is None or is_running:
        return total_of(window, None, ())
    first = trace.order.index(turn_id)
    below = map(trace.time, trace.order[first + 1 : first + 1 + trace.sizes[turn_id]])
    return total_of(
        window, trace.time(turn_id), [one for one in below if one.start_ns <= window.end_ns]
    )


def _path_tree(trace: _Trace) -> PathTree:
    """Return the spans that can be waited for: a model call owns the wait of its HTTP request."""
    children = {
        span_id: [child for child in below if trace.tags[child] is not HTTP]
        if trace.tags[span_id] is MODEL
        else below
        for span_id, below in trace.forest.children.items()
    }
    times = {span_id: trace.time(span_id) for span_id in trace.order}
    return PathTree(trace.forest.roots, children, times)


def _waited(trace: _Trace, span_id: str) -> Waited:
    tag = trace.tags[span_id]
    return Waited(
        name=trace.spans[span_id].name,
        tag=tag,
        first_chunk_ns=_first_chunk(trace, span_id) if tag is MODEL else None,
        has_children=span_id in trace.forest.children,
    )


def _first_chunk(trace: _Trace, span_id: str) -> int | None:
    """Return when a model call's answer began, since the start of the trace."""
    if trace.tags[span_id] is not MODEL:
        return None
    chunk_ns = first_chunk_ns(trace.spans[span_id].attributes)
    start_ns, end_ns = trace.time(span_id)
    return None if chunk_ns is None else min(start_ns + chunk_ns, end_ns)


def _first_token(trace: _Trace, axis_ns: int) -> dict[str, Any] | None:
    """Return when the first token reached the client, and the row that it is drawn on."""
    for span_id in trace.order:
        token_ns = first_token_ns(trace.spans[span_id].attributes)
        if token_ns is None:
            continue
        moment_ns = trace.time(span_id).start_ns + token_ns
        if moment_ns > axis_ns:
            continue
        at_work = [
            call
            for call in trace.order
            if trace.tags[call] is MODEL
            and trace.time(call).start_ns <= moment_ns <= trace.time(call).end_ns
        ]
        return {
            "offset_ns": moment_ns,
            "amount": duration(moment_ns),
            "after": duration(token_ns),
            "turn_id": span_id,
            "turn_name": one_line(trace.spans[span_id].name),
            "is_since_start": token_ns == moment_ns,
            "row_id": at_work[-1] if at_work else span_id,
        }
    return None


def _models(trace: _Trace) -> list[str]:
    named = (
        text(span.attributes, keys.GEN_AI_REQUEST_MODEL) or text(span.attributes, keys.AI_MODEL)
        for span_id, span in trace.spans.items()
        if trace.tags[span_id] is MODEL
    )
    return list(dict.fromkeys(name for name in named if name))


def _bound(trace: _Trace, key: str) -> str:
    """Return what the first span that knows it says."""
    return next(
        (word for span_id in trace.order if (word := text(trace.spans[span_id].attributes, key))),
        "",
    )


def _links(trace: _Trace) -> Iterator[dict[str, Any]]:
    """Yield the spans of other traces that this trace points at, each once."""
    seen: set[tuple[str, str]] = set()
    for span_id in trace.order:
        for link in trace.spans[span_id].links:
            target = (link.trace_id, link.span_id)
            if target in seen or link.trace_id == trace.root.trace_id:
                continue
            if len(seen) == MAX_LINKS:
                return
            seen.add(target)
            tag = trace.tags[span_id]
            yield {
                "trace_id": link.trace_id,
                "span_id": link.span_id,
                "from_id": span_id,
                "kind": tag.colour,
                "letters": tag.letters,
                "words": "the connection" if tag is SOCKET else "a span of another trace",
            }


def _counts(trace: _Trace, unread: int) -> dict[str, Any]:
    kinds: dict[str, int] = {}
    for tag in trace.tags.values():
        kinds[tag.colour] = kinds.get(tag.colour, 0) + 1
    return {
        "spans": len(trace.order) + unread,
        "errors": sum(span.status_code == "error" for span in trace.spans.values()),
        "orphans": len(trace.lost),
        "called": len(trace.forest.orphans) - len(trace.lost),
        "left_out": max(0, len(trace.order) - MAX_ROWS) + unread,
        "kinds": kinds,
    }


def _rows(
    trace: _Trace, path: Sequence[Piece], mark: dict[str, Any] | None, after: Interval
) -> list[dict[str, Any]]:
    """Return the rows; ``after`` is what the axis has of the time after the turn."""
    pieces: dict[str, list[tuple[int, int]]] = {}
    for piece in path:
        if piece.span_id is not None:
            length_ns = piece.end_ns - piece.start_ns
            pieces.setdefault(piece.span_id, []).append((piece.start_ns, length_ns))
    total_ns = sum(piece.end_ns - piece.start_ns for piece in path)
    rows = []
    for span_id in trace.order[:MAX_ROWS]:
        waited = pieces.get(span_id, [])
        waited_ns = sum(length_ns for _, length_ns in waited)
        tag = trace.tags[span_id]
        row = _row(trace, span_id)
        if row["offset_ns"] > after.start_ns:
            _place_late(row, after)
        row["waited_ns"] = waited_ns
        least = _MIN_OWN_SHARE if tag in {STEP, SOCKET} else _MIN_SHARE
        if waited_ns and waited_ns >= least * total_ns:
            # The longest are kept, in order: of a span with very many children the rest is dust.
            longest = sorted(waited, key=lambda one: -one[1])[:MAX_ROW_PIECES]
            row["path"] = sorted(longest)
        if waited_ns >= _NOTABLE_SHARE * total_ns > 0 and tag is not MODEL:
            row["facts"].insert(0, f"{percent(waited_ns, total_ns)} of the turn")
            row["is_notable"] = True
        row["is_first_token_here"] = mark is not None and mark["row_id"] == span_id
        rows.append(row)
    return rows


def _place_late(row: dict[str, Any], after: Interval) -> None:
    since = duration(row["offset_ns"] - after.start_ns)
    row["facts"].insert(0, f"began {since} after the turn")
    if row["offset_ns"] + row["duration_ns"] > after.end_ns:
        row.update(offset_ns=after.end_ns, duration_ns=0, first_chunk_ns=None)


def _row(trace: _Trace, span_id: str) -> dict[str, Any]:
    span, tag = trace.spans[span_id], trace.tags[span_id]
    start_ns, end_ns = trace.time(span_id)
    parent = trace.spans.get(span.parent_span_id)
    return {
        "id": span_id,
        "parent_id": "" if trace.depths[span_id] == 0 else span.parent_span_id,
        "depth": trace.depths[span_id],
        "size": trace.sizes[span_id],
        "kind": tag.colour,
        "letters": tag.letters,
        "name": one_line(span.name) or "(no name)",
        "offset_ns": start_ns,
        "duration_ns": end_ns - start_ns,
        "duration": duration(end_ns - start_ns),
        "facts": facts_of(span, tag),
        "service": one_line(span.service) if parent and parent.service != span.service else "",
        "is_error": span.status_code == "error",
        "is_orphan": span_id in trace.lost,
        "path": [],
        "is_notable": False,
        "first_chunk_ns": _first_chunk(trace, span_id),
    }
