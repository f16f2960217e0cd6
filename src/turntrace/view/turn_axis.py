"""Round times over the bars of a turn: where they stand, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TICKS = 9

_SECOND_NS = 10**9
_MINUTE_NS = 60 * _SECOND_NS
_HOUR_NS = 60 * _MINUTE_NS
_DAY_NS = 24 * _HOUR_NS
_ROUND_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)


def ticks(total_ns: int) -> list[dict[str, Any]]:
    """Return at most 10 moments, evenly apart from 0 on, with a label each."""
    step_ns = next((step for step in _steps() if total_ns <= step * MAX_TICKS), max(1, total_ns))
    return [
        {"offset_ns": time_ns, "label": _label(time_ns)}
        for time_ns in range(0, max(1, total_ns), step_ns)
    ]


def _steps() -> Iterator[int]:
    yield from (
        10**power * factor
        for power in range(12)
        for factor in (1, 2, 5)
        if 10**power * factor < _MINUTE_NS
    )
    yield from (minutes * _MINUTE_NS for minutes in _ROUND_MINUTES)
    yield from (10**power * factor * _DAY_NS for power in range(6) for factor in (1, 2, 5))


def _label(time_ns: int) -> str:
    if not time_ns:
        return "0"
    if time_ns < 1000:  # noqa: PLR2004 - less than a microsecond
        return f"{time_ns} ns"
    if time_ns < _SECOND_NS:
        return f"{time_ns / 1e6:g} ms"
    if time_ns < _MINUTE_NS * 2:
        return f"{time_ns / 1e9:g} s"
    days, rest_ns = divmod(time_ns, _DAY_NS)
    hours, rest_ns = divmod(rest_ns, _HOUR_NS)
    minutes, rest_ns = divmod(rest_ns, _MINUTE_NS)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest_ns // _SECOND_NS, "s"))
    return " ".join(f"{number:,} {unit}" for number, unit in parts if number) or "0"
