"""Round times over the bars: where their labels stand, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_GAP_CELLS = 3
SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

_LONGEST_LABEL = "23 h 30 m"
_ROUND_MINUTES = (5, 10, 15, 30, 60, 120, 180, 360, 720)


def labels(total_ns: int, cells: int) -> str:
    """Return the labels of an axis, each beginning in the cell of its time."""
    is_long = total_ns >= HOUR_NS
    step_ns = _step(total_ns, cells)
    line = ""
    for time_ns in range(0, total_ns, step_ns):
        cell = time_ns * cells // total_ns
        label = _long_label(time_ns) if is_long else _short_label(time_ns)
        if len(line) <= cell <= cells - len(label):
            line = line.ljust(cell) + label
    return line


def _step(total_ns: int, cells: int) -> int:
    """Return the smallest round step whose labels stand apart."""
    is_long = total_ns >= HOUR_NS
    for step_ns in _long_steps() if is_long else _short_steps(total_ns):
        label = _LONGEST_LABEL if is_long else _short_label(step_ns)
        if step_ns * cells // total_ns >= len(label) + MIN_GAP_CELLS:
            return step_ns
    return total_ns


def _short_steps(total_ns: int) -> Iterator[int]:
    power_ns = int(10 ** max(0, len(str(total_ns)) - 3))
    yield from (power_ns * factor for factor in (1, 2, 5, 10, 20, 50, 100, 200, 500))


def _long_steps() -> Iterator[int]:
    yield from (minutes * MINUTE_NS for minutes in _ROUND_MINUTES)
    for power in range(6):
        yield from (10**power * factor * DAY_NS for factor in (1, 2, 5))


def _short_label(time_ns: int) -> str:
    if not time_ns:
        return "0"
    return f"{time_ns / 1e6:g} ms" if time_ns < SECOND_NS else f"{time_ns / 1e9:g} s"


def _long_label(time_ns: int) -> str:
    """Say a time in days, hours and minutes, those that are not zero."""
    days, rest_ns = divmod(time_ns, DAY_NS)
    hours, rest_ns = divmod(rest_ns, HOUR_NS)
    parts = ((days, "d"), (hours, "h"), (rest_ns // MINUTE_NS, "m"))
    return " ".join(f"{count:,} {unit}" for count, unit in parts if count) or "0"
