"""The spans of a trace as a forest: who is at the top, and whose children come in what order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turntrace.store.contract import StoredSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Every span exactly once: as a root, or as a child of a span that leads up to one."""

    roots: list[str]
    """Span ids in the order of their start."""
    children: dict[str, list[str]]
    """Span ids by their parent, in the order of their start; spans without children are absent."""
    orphans: set[str]
    """Roots that name a parent which is not here (yet), or whose parents run in a circle."""


def arrange(spans: Sequence[StoredSpan]) -> Forest:
    """Arrange spans, given in the order of their start; linear in their number."""
    present = {span.span_id for span in spans}
    children: dict[str, list[str]] = {}
    roots: list[str] = []
    for span in spans:
        if span.parent_span_id in present:
            children.setdefault(span.parent_span_id, []).append(span.span_id)
        else:
            roots.append(span.span_id)
    orphans = {
        span.span_id for span in spans if span.parent_span_id and span.parent_span_id not in present
    }
    reached = _reach(roots, children)
    for span in spans:
        # What no root leads to is part of a circle: cut it above its earliest span.
        if span.span_id not in reached:
            children[span.parent_span_id].remove(span.span_id)
            roots.append(span.span_id)
            orphans.add(span.span_id)
            reached |= _reach([span.span_id], children)
    order = {span.span_id: position for position, span in enumerate(spans)}
    return Forest(
        roots=sorted(roots, key=order.__getitem__),
        children={parent: ids for parent, ids in children.items() if ids},
        orphans=orphans,
    )


def _reach(start: list[str], children: dict[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        span_id = waiting.pop()
        if span_id not in reached:
            reached.add(span_id)
            waiting.extend(children.get(span_id, ()))
    return reached
