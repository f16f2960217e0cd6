"""One trace as a waterfall in the terminal: tree, duration, bar on a shared axis, facts.

In the language of the page: letters first, then colour; quiet when well; an error has a shape
and a word as well as a colour. A heavy line is work, a thin one a step of the app's own; a model
call is solid while it waits and dashed while words arrive; a dotted column is the first token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from turntrace.cli.axis import labels
from turntrace.cli.cleaning import clean
from turntrace.cli.facts import (
    MODEL,
    STEP,
    Usage,
    facts_of,
    first_chunk_ns,
    first_token_ns,
    tag_of,
    usage_of,
)
from turntrace.cli.withheld import withheld_words
from turntrace.cli.wording import aligned_duration, duration, fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MIN_WIDTH = 60
MAX_WIDTH = 200
WIDE = 110
TAG_CELLS = 5
GAP_CELLS = 2
MIN_NAME_CELLS = 12
MIN_BAR_CELLS = 12
MIN_FACTS_CELLS = 24
"""If there is so much to say: the tokens and the cost of a model call."""
_MAX_GUIDE_CHARACTERS = 120
MIN_TOTAL_NS = 1000
_INDENT_CELLS = 2
_FACT_SEPARATOR = ", "


class Glyphs(NamedTuple):
    """The characters of a drawing."""

    fork: str = "├ "
    last: str = "└ "
    through: str = "│ "
    work: str = "━"
    step: str = "─"
    stream: str = "╍"
    error: str = "✗"
    mark: str = "┊"
    clipped: str = "… "
    ellipsis: str = "…"
    dot: str = " · "
    arrow: str = "→"


ASCII = Glyphs("|-", "`-", "| ", "=", "-", "~", "x", ":", "~ ", "...", ", ", "->")
"""For outputs that cannot encode the others."""


class Row(NamedTuple):
    """One span in its place."""

    span: Mapping[str, Any]
    guides: str
    facts: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many cells each column has."""

    name: int
    duration: int
    bar: int
    facts: int


def draw(trace: Mapping[str, Any], width: int, glyphs: Glyphs | None = None) -> Iterator[Text]:
    """Yield the lines of a trace's drawing, none wider than ``width`` cells.

    Args:
        trace: the document of ``GET /api/traces/{trace_id}``.
        width: cells of the terminal; brought into the range from 60 to 200.
        glyphs: what to draw with.
    """
    glyphs = glyphs or Glyphs()
    width = max(MIN_WIDTH, min(width, MAX_WIDTH))
    rows = list(_rows(trace, glyphs))
    layout = _layout(rows, width)
    total_ns = max(trace["duration_ns"], MIN_TOTAL_NS)
    mark = _mark_cell(rows, total_ns, layout.bar)
    yield from _header(trace, width, glyphs)
    yield Text()
    yield _axis(layout, total_ns)
    for row in rows:
        yield _line(row, layout, total_ns, mark, glyphs)
    if words := withheld_words(trace, width):
        line = Text(words, "bright_black")
        line.truncate(width, overflow="crop")
        yield line


def _rows(trace: Mapping[str, Any], glyphs: Glyphs) -> Iterator[Row]:
    """Yield the spans from the top, each followed by its children; without recursion."""
    spans = {span["span_id"]: span for span in trace["spans"]}
    waiting: list[tuple[str, str, str, str | None]] = [
        (span_id, "", "", None) for span_id in reversed(trace["roots"])
    ]
    while waiting:
        span_id, own_guides, child_guides, parent_service = waiting.pop()
        span = spans[span_id]
        yield Row(span, own_guides, facts_of(span, parent_service=parent_service))
        child_guides = child_guides[-_MAX_GUIDE_CHARACTERS:]
        for position, child in enumerate(reversed(span["children"])):
            own, below = (glyphs.fork, glyphs.through) if position else (glyphs.last, "  ")
            waiting.append((child, child_guides + own, child_guides + below, span["service"]))


def _layout(rows: list[Row], width: int) -> Layout:
    duration_cells = max(len(aligned_duration(row.span["duration_ns"])) for row in rows)
    facts = max(cell_len(_FACT_SEPARATOR.join(row.facts)) for row in rows)
    name = max(cell_len(row.guides) + cell_len(clean(row.span["name"])) for row in rows)
    room = width - TAG_CELLS - duration_cells - (3 if facts else 2) * GAP_CELLS
    # A wide drawing says names whole; a narrow one leaves room for what a model call cost.
    name = max(MIN_NAME_CELLS, min(name, room // 2 if width >= WIDE else room * 3 // 8))
    facts = min(facts, max(MIN_FACTS_CELLS, room * 3 // 8), room - name - MIN_BAR_CELLS)
    return Layout(name=name, duration=duration_cells, bar=room - name - facts, facts=facts)


def _header(trace: Mapping[str, Any], width: int, glyphs: Glyphs) -> Iterator[Text]:
    name = clean(trace["root_name"])
    tail = f"trace {trace['trace_id']}"
    line = Text(fit(name, max(MIN_NAME_CELLS, width - len(tail) - GAP_CELLS), glyphs.ellipsis))
    line.stylize("bold")
    line.append("  " + tail, "bright_black")
    yield line
    count, errors = trace["span_count"], trace["error_count"]
    line = Text(f"{duration(trace['duration_ns'])}{glyphs.dot}{_plural(count, 'span')}")
    if errors:
        line.append(glyphs.dot)
        line.append(f"{glyphs.error} {_plural(errors, 'error')}", "bold red")
    services = ", ".join(clean(service) for service in trace["services"])
    for words in (*_total_usage(trace).words(), services):
        line.append(glyphs.dot + words.replace("→", glyphs.arrow))
    line.truncate(width, overflow="crop")
    yield line


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _total_usage(trace: Mapping[str, Any]) -> Usage:
    """Sum what was used; where a span and spans below it say so, those below are the calls."""
    below: dict[str, Usage] = {}
    for row in reversed(list(_rows(trace, Glyphs()))):
        total = Usage()
        for child in row.span["children"]:
            total = total.plus(below.pop(child))
        below[row.span["span_id"]] = total or usage_of(row.span)
    total = Usage()
    for usage in below.values():
        total = total.plus(usage)
    return total


def _axis(layout: Layout, total_ns: int) -> Text:
    """Return the head of the columns, with round times over the bars."""
    head = " " * TAG_CELLS + "span".ljust(layout.name) + " " * GAP_CELLS
    head += "duration".rjust(layout.duration) + " " * GAP_CELLS
    head += labels(total_ns, layout.bar)
    return Text(head.rstrip(), "bright_black")


def _line(row: Row, layout: Layout, total_ns: int, mark: int | None, glyphs: Glyphs) -> Text:
    span = row.span
    is_error = span["status"]["code"] == "error"
    tag = tag_of(span)
    line = Text(no_wrap=True, end="")
    line.append(tag.letters.ljust(TAG_CELLS), tag.colour)
    guides = row.guides
    if len(guides) > layout.name // 2:
        kept = layout.name // 2 // _INDENT_CELLS * _INDENT_CELLS - len(glyphs.clipped)
        guides = glyphs.clipped + guides[-kept:]
    line.append(guides, "bright_black")
    name = fit(clean(span["name"]), layout.name - cell_len(guides), glyphs.ellipsis)
    line.append(name, "red" if is_error else "")
    line.append(" " * GAP_CELLS)
    line.append(aligned_duration(span["duration_ns"]).rjust(layout.duration))
    line.append(" " * GAP_CELLS)
    line.append_text(_bar(span, layout.bar, total_ns, mark, glyphs))
    line.append(" " * GAP_CELLS)
    line.append(_facts(row, layout.facts, glyphs), "red" if is_error else "bright_black")
    line.rstrip()
    return line


def _facts(row: Row, cells: int, glyphs: Glyphs) -> str:
    """Return as many facts as there is room for, none cut but the first."""
    said = ""
    for fact in row.facts:
        more = said + _FACT_SEPARATOR + fact if said else fact
        if said and cell_len(more) > cells:
            break
        said = more
    return fit(said.replace("→", glyphs.arrow), cells, glyphs.ellipsis)


def _bar(
    span: Mapping[str, Any], cells: int, total_ns: int, mark: int | None, glyphs: Glyphs
) -> Text:
    """Return the bar of a span: at least one cell, never outside the axis."""
    tag = tag_of(span)
    start = min(span["offset_ns"] * cells // total_ns, cells - 1)
    end = max(start + 1, -(-(span["offset_ns"] + span["duration_ns"]) * cells // total_ns))
    end = min(end, cells)
    line = [glyphs.step if tag is STEP else glyphs.work] * (end - start)
    first_chunk = first_chunk_ns(span) if tag is MODEL else None
    if first_chunk is not None:
        waited = int((span["offset_ns"] + first_chunk) * cells // total_ns) - start
        line = [
            glyphs.stream if cell > waited else character for cell, character in enumerate(line)
        ]
    colour = tag.colour
    if span["status"]["code"] == "error":
        line[-1] = glyphs.error
        colour = "bold red"
    track = Text(" " * start)
    track.append("".join(line), colour)
    track.append(" " * (cells - end))
    if mark is not None and not start <= mark < end:
        head, tail = track[:mark], track[mark + 1 :]
        track = head.append(glyphs.mark, "magenta").append_text(tail)
    return track


def _mark_cell(rows: list[Row], total_ns: int, cells: int) -> int | None:
    """Return where the first token of the trace's turn was emitted."""
    for row in rows:
        first_token = first_token_ns(row.span)
        if first_token is not None:
            return min(int((row.span["offset_ns"] + first_token) * cells // total_ns), cells - 1)
    return None
