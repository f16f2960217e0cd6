"""The critical path: which span the turn waited for at every moment from its start to its end.

Found backwards: whatever ended last is what the end waited for; whatever had ended, or still
ran, when that began is what it waited for before. What runs beside it waits for nobody. Sorting
each span's children once makes it n log n.

A child may outlive its parent: a message that was emitted, a task that was not awaited. So a
span reaches from the earliest start to the latest end below it, and what it does not cover
itself belongs to the nearest of its ancestors that does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ANCESTORS_ASKED = 16
"""How far up an owner is looked for; a hostile trace is as deep as it has spans."""


class Interval(NamedTuple):
    """From one moment to another that is not before it, in nanoseconds."""

    start_ns: int
    end_ns: int


class Piece(NamedTuple):
    """A part of the turn, and the span it waited for."""

    span_id: str | None
    """None where no span covers the moment."""
    start_ns: int
    end_ns: int


class PathTree(NamedTuple):
    """A forest with times. Every span is in it once, and leads up to one of ``roots``."""

    roots: Sequence[str]
    children: Mapping[str, Sequence[str]]
    times: Mapping[str, Interval]


def critical_path(tree: PathTree, window: Interval) -> list[Piece]:
    """Return the pieces that make up ``window``, in order, without gap or overlap.

    Neighbours differ in their span, no piece is empty, and the same spans give the same path.
    """
    reach = _reach(tree)
    parents: dict[str, str | None] = dict.fromkeys(tree.roots)
    pieces: list[Piece] = []
    waiting: list[tuple[str | None, Interval]] = [(None, window)]
    while waiting:
        span_id, part = waiting.pop()
        children = tree.roots if span_id is None else tree.children.get(span_id, ())
        for waited_for, piece in _split(children, reach, part):
            if waited_for is None:
                pieces += _owned(span_id, piece, tree, parents)
            else:
                parents[waited_for] = span_id
                waiting.append((waited_for, piece))
    return _joined(sorted(pieces, key=lambda piece: piece.start_ns))


def _reach(tree: PathTree) -> dict[str, Interval]:
    """Return from when to when each span and everything below it ran."""
    order: list[str] = []
    waiting = list(tree.roots)
    while waiting:
        span_id = waiting.pop()
        order.append(span_id)
        waiting.extend(tree.children.get(span_id, ()))
    reach: dict[str, Interval] = {}
    for span_id in reversed(order):
        below = [reach[child] for child in tree.children.get(span_id, ())]
        below.append(tree.times[span_id])
        reach[span_id] = Interval(min(one.start_ns for one in below), max(one[1] for one in below))
    return reach


def _split(
    children: Sequence[str], reach: Mapping[str, Interval], part: Interval
) -> list[tuple[str | None, Interval]]:
    """Divide a part of a span among those of its children that it waited for, and itself."""
    ending = sorted(children, key=lambda child: (reach[child].end_ns, reach[child].start_ns, child))
    running: list[str] = []  # at ``now``; the first to end is on top, and of those the longest
    found: list[tuple[str | None, Interval]] = []
    now = part.end_ns
    while now > part.start_ns:
        while ending and reach[ending[-1]].end_ns >= now:
            running.append(ending.pop())
        while running and reach[running[-1]].start_ns >= now:
            running.pop()
        if running:
            child: str | None = running.pop()
            since = reach[child].start_ns if child else 0
        else:
            child, since = None, reach[ending[-1]].end_ns if ending else part.start_ns
        since = max(since, part.start_ns)
        found.append((child, Interval(since, now)))
        now = since
    return found


def _owned(
    span_id: str | None, part: Interval, tree: PathTree, parents: Mapping[str, str | None]
) -> list[Piece]:
    """Give a part that no child accounts for to the span, or to ancestors that cover it."""
    owned: list[Piece] = []
    left = [part]
    for _ in range(MAX_ANCESTORS_ASKED):
        if span_id is None or not left:
            break
        uncovered: list[Interval] = []
        own = tree.times[span_id]
        for one in left:
            since, until = max(one.start_ns, own.start_ns), min(one.end_ns, own.end_ns)
            if since >= until:
                uncovered.append(one)
                continue
            owned.append(Piece(span_id, since, until))
            around = (Interval(one.start_ns, since), Interval(until, one.end_ns))
            uncovered += [side for side in around if side.start_ns < side.end_ns]
        left = uncovered
        span_id = parents[span_id]
    return owned + [Piece(None, *one) for one in left]


def _joined(pieces: list[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].span_id == piece.span_id:
            joined[-1] = Piece(piece.span_id, joined[-1].start_ns, piece.end_ns)
        else:
            joined.append(piece)
    return joined
