"""How the terminal says things: durations, tokens, money."""

from __future__ import annotations

from rich.cells import cell_len, chop_cells

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
"""Seconds."""
_MANY_DAYS = 1000
"""From here on, hours tell nothing."""


def fit(text: str, cells: int, ellipsis: str) -> str:
    """Return text in exactly ``cells`` terminal cells: padded, or cut at its end."""
    size = cell_len(text)
    if size > cells:
        room = cells - cell_len(ellipsis)
        text = (chop_cells(text, room)[0] if room > 0 else "") + ellipsis
        size = cell_len(text)
    return text + " " * (cells - size)


def duration(nanoseconds: float) -> str:
    """Return a duration as ``973 ms``, ``8.21 s``, ``2 h 05 m`` or ``3 d 04 h``."""
    milliseconds = nanoseconds / 1e6
    if milliseconds < 999.5:  # noqa: PLR2004 - what would be shown as 1,000 ms
        return f"{_three_digits(milliseconds)} ms"
    seconds = milliseconds / 1000
    if seconds < _HOUR - 0.5:  # what would be shown as 3,600 s
        return f"{_three_digits(seconds)} s"
    if (minutes := round(seconds / _MINUTE)) < _DAY // _MINUTE:
        return f"{minutes // 60} h {minutes % 60:02} m"
    if (hours := round(seconds / _HOUR)) < _MANY_DAYS * 24:
        return f"{hours // 24} d {hours % 24:02} h"
    return f"{seconds / _DAY:,.0f} d"


def aligned_duration(nanoseconds: float) -> str:
    """Return a duration whose digits and units stand below each other, 9 cells or more."""
    number, _, unit = duration(nanoseconds).rpartition(" ")
    return f"{number:>6} {unit:<2}"


def _three_digits(number: float) -> str:
    if number < 9.995:  # noqa: PLR2004 - rounds to 10.00
        return f"{number:.2f}"
    if number < 99.95:  # noqa: PLR2004 - rounds to 100.0
        return f"{number:.1f}"
    return f"{number:,.0f}"
