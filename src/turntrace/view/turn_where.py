"""Where a turn's time went, in words: the critical path summed up by what was waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from turntrace.view.turn_facts import HTTP, MODEL, STEP, Tag
from turntrace.view.turn_wording import Amount, is_nothing, one_line, shares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from turntrace.view.turn_path import Piece

MAX_PARTS = 5
"""Parts with a name of their own; what remains is "everything else"."""
MAX_PINNED = 1000
"""Pieces in the row that shows the critical path: about as many as there are pixels."""
_MIN_SHARE = 0.02
_MIN_KIND_SHARE = 0.1
"""What the unnamed spans of one kind take together, to be a part of their own."""
_SHORT = {
    "socket": "short Socket.IO events",
    "http": "short HTTP requests",
    "tool": "short tool runs",
    "db": "short database calls",
    "job": "short jobs",
}
_REST = "everything else"


class Waited(NamedTuple):
    """What is known of a span that the turn may have waited for."""

    name: str
    tag: Tag
    first_chunk_ns: int | None
    """When a model call's answer began; None if it is no model call or nobody said."""
    has_children: bool


class Segment(NamedTuple):
    """A piece of the critical path, where a model call's waiting and streaming are two."""

    span_id: str | None
    start_ns: int
    end_ns: int
    is_flow: bool


class _Look(NamedTuple):
    colour: str
    is_flow: bool


class _Label(NamedTuple):
    words: str
    colour: str
    is_flow: bool = False
    is_name: bool = False
    is_gap: bool = False
    """Whether the words are the name of a span, which is set in the font of code."""


def segments(path: Sequence[Piece], spans: Mapping[str, Waited]) -> list[Segment]:
    """Divide the pieces of model calls at their first chunk."""
    divided: list[Segment] = []
    for piece in path:
        chunk_ns = spans[piece.span_id].first_chunk_ns if piece.span_id is not None else None
        if chunk_ns is None or chunk_ns >= piece.end_ns:
            divided.append(Segment(*piece, is_flow=False))
        elif chunk_ns <= piece.start_ns:
            divided.append(Segment(*piece, is_flow=True))
        else:
            divided.append(Segment(piece.span_id, piece.start_ns, chunk_ns, is_flow=False))
            divided.append(Segment(piece.span_id, chunk_ns, piece.end_ns, is_flow=True))
    return divided


def pinned(path: Sequence[Segment], spans: Mapping[str, Waited]) -> list[dict[str, Any]]:
    """Return the pieces of the row that shows the critical path, at most ``MAX_PINNED``.

    If there are more, each of as many slices of the turn shows what most of it was.
    """
    drawn = [
        _pinned(segment.span_id, _look(segment, spans), segment.start_ns, segment.end_ns)
        for segment in path
    ]
    return drawn if len(drawn) <= MAX_PINNED else _sliced(path, spans)


def _sliced(path: Sequence[Segment], spans: Mapping[str, Waited]) -> list[dict[str, Any]]:
    start_ns = path[0].start_ns
    slice_ns = -(-(path[-1].end_ns - start_ns) // MAX_PINNED)
    slices: dict[int, dict[_Look, int]] = {}
    for segment in path:
        look, now = _look(segment, spans), segment.start_ns
        while now < segment.end_ns:
            number = (now - start_ns) // slice_ns
            until = min(segment.end_ns, start_ns + (number + 1) * slice_ns)
            looks = slices.setdefault(number, {})
            looks[look] = looks.get(look, 0) + until - now
            now = until
    sliced: list[dict[str, Any]] = []
    for number, looks in slices.items():
        look = max(looks, key=lambda one: (looks[one], one))
        since = start_ns + number * slice_ns
        until = min(since + slice_ns, path[-1].end_ns)
        if sliced and (sliced[-1]["kind"], sliced[-1]["is_flow"]) == look:
            sliced[-1]["duration_ns"] += until - since
        else:
            sliced.append(_pinned(None, look, since, until))
    return sliced


def where(path: Sequence[Segment], spans: Mapping[str, Waited]) -> dict[str, Any]:
    """Return the total and its parts in words; the numbers shown add up to the one of the total.

    The largest come in the order in which they were first waited for, the rest as one part.
    """
    sums: dict[_Label, int] = {}
    spans_of: dict[_Label, str | None] = {}
    for segment in path:
        label = _label(segment, spans)
        sums[label] = sums.get(label, 0) + segment.end_ns - segment.start_ns
        spans_of.setdefault(label, segment.span_id)
    total_ns = sum(sums.values())
    by_size = sorted(sums, key=lambda label: -sums[label])
    kept = {label for label in by_size[:MAX_PARTS] if sums[label] >= total_ns * _MIN_SHARE}
    parts = {label: part_ns for label, part_ns in sums.items() if label in kept}
    for colour, words in _SHORT.items():
        unnamed = [label for label in sums if label.colour == colour and label not in kept]
        together_ns = sum(sums[label] for label in unnamed)
        if together_ns > total_ns * _MIN_KIND_SHARE:
            parts[_Label(words, colour)] = together_ns
    parts[_Label(_REST, STEP.colour)] = total_ns - sum(parts.values())
    total, amounts = shares(total_ns, list(parts.values()))
    return {
        "total": total,
        "parts": [
            _part(label, amount, spans_of.get(label))
            for label, amount in zip(parts, amounts, strict=True)
            if not is_nothing(amount)
        ],
    }


def _look(segment: Segment, spans: Mapping[str, Waited]) -> _Look:
    tag = spans[segment.span_id].tag if segment.span_id is not None else STEP
    return _Look(tag.colour, segment.is_flow)


def _pinned(span_id: str | None, look: _Look, start_ns: int, end_ns: int) -> dict[str, Any]:
    return {
        "span_id": span_id,
        "kind": look.colour,
        "is_flow": look.is_flow,
        "offset_ns": start_ns,
        "duration_ns": end_ns - start_ns,
    }


def _part(label: _Label, amount: Amount, span_id: str | None) -> dict[str, Any]:
    return {
        "words": label.words,
        "kind": label.colour,
        "is_flow": label.is_flow,
        "is_name": label.is_name,
        "is_gap": label.is_gap,
        "amount": amount,
        "span_id": span_id,
    }


def _label(segment: Segment, spans: Mapping[str, Waited]) -> _Label:
    if segment.span_id is None:
        return _Label("between spans, where nothing was recorded", STEP.colour, is_gap=True)
    span = spans[segment.span_id]
    if span.tag is MODEL:
        words = "streaming the answer" if segment.is_flow else "waiting for the model"
        return _Label(words, span.tag.colour, segment.is_flow)
    name = one_line(span.name)
    if span.has_children and span.tag is not HTTP:
        name += " itself"
    return _Label(name, span.tag.colour, is_name=True)
