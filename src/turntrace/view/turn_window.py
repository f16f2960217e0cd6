"""How long a turn lasted: from when to when, how far its axis goes, and which total is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turntrace.view.turn_wording import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turntrace.view.turn_path import Interval

PAUSE_NS = 60 * 10**9
"""A turn may do nothing for its root's own length and this, and then go on."""
MAX_STRETCH = 4
"""The axis goes on beyond the turn, to the last span, up to this many times the turn's end."""


def end_of(root: Interval, times: Iterable[Interval]) -> int:
    """Return when the last span ended that is part of the turn.

    An answer given after its handler returned is. What began after all else had been over for
    longer than ``PAUSE_NS`` and the root's own length is not: it has another machine's clock,
    or was done some other day.
    """
    pause_ns = root.end_ns - root.start_ns + PAUSE_NS
    end_ns = root.end_ns
    for since, until in sorted(times):
        if since > end_ns + pause_ns:
            break
        end_ns = max(end_ns, until)
    return end_ns


def axis_of(window: Interval, last_ns: int) -> int:
    """Return where the axis ends: at the last span, unless that would flatten the turn."""
    return max(1, last_ns if last_ns <= MAX_STRETCH * window.end_ns else window.end_ns)


def total_of(window: Interval, turn: Interval | None, below: Iterable[Interval]) -> dict[str, Any]:
    """Return the total and its note: a turn's own length as the list has it, beside the trace's.

    A turn that handed its work on and returned lasted as long as its work: the trace's it is.

    Args:
        window: from when to when the trace lasted.
        turn: from when to when its only turn did; None if it has none or several.
        below: the spans below that turn, as far as they are within the window.
    """
    whole = duration(window.end_ns - window.start_ns)
    if turn is None:
        return {"amount": whole, "note": ""}
    length_ns = turn.end_ns - turn.start_ns
    if max((until for _, until in below), default=0) > turn.end_ns + length_ns:
        return {"amount": whole, "note": ""}
    own = duration(length_ns)
    return {"amount": own, "note": "" if own == whole else f"trace: {whole}"}
