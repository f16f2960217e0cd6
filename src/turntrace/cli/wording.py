"""How the terminal says things: cleaned text, durations, tokens, money."""

from __future__ import annotations

import re
import unicodedata

from rich.cells import cell_len, chop_cells

_ESCAPE_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"  # OSC, DCS: titles, links
    r"|\x1b[ -/]*[0-~]",  # two-character sequences
    re.DOTALL,
)

_SPACES = frozenset("\t\n\v\f\r\u2028\u2029\x85")
_MAX_CHARACTERS = 500


def clean(text: str) -> str:
    """Return text that a terminal shows as one line of itself: no escapes, no control characters.

    Names and values are data of whoever sent them. Format characters go as well: some turn the
    direction of what follows.
    """
    plain = _ESCAPE_SEQUENCES.sub("", text[:_MAX_CHARACTERS])
    return "".join(
        " " if character in _SPACES else character
        for character in plain
        if character in _SPACES or unicodedata.category(character)[0] != "C"
    )


def fit(text: str, cells: int, ellipsis: str) -> str:
    """Return text in exactly ``cells`` terminal cells: padded, or cut at its end."""
    size = cell_len(text)
    if size > cells:
        room = cells - cell_len(ellipsis)
        text = (chop_cells(text, room)[0] if room > 0 else "") + ellipsis
        size = cell_len(text)
    return text + " " * (cells - size)


def duration(nanoseconds: float) -> str:
    """Return a duration as ``973 ms`` or ``8.21 s``, three digits or so."""
    milliseconds = nanoseconds / 1e6
    if milliseconds < 999.5:  # noqa: PLR2004 - what would be shown as 1,000 ms
        return f"{_three_digits(milliseconds)} ms"
    return f"{_three_digits(milliseconds / 1000)} s"


def aligned_duration(nanoseconds: float) -> str:
    """Return a duration whose digits and units stand below each other, 9 cells or more."""
    number, unit = duration(nanoseconds).split(" ")
    return f"{number:>6} {unit:<2}"


def tokens(count: float) -> str:
    """Return a number of tokens with its thousands set apart."""
    return f"{count:,.0f}"


def dollars(amount: float) -> str:
    """Return an amount of US dollars, small ones with their first digits."""
    if amount == 0:
        return "$0"
    if amount < 0.00001:  # noqa: PLR2004 - nothing would be left of it
        return "<$0.00001"
    return f"${amount:,.5f}" if amount < 1 else f"${amount:,.2f}"


def _three_digits(number: float) -> str:
    if number < 9.995:  # noqa: PLR2004 - rounds to 10.00
        return f"{number:.2f}"
    if number < 99.95:  # noqa: PLR2004 - rounds to 100.0
        return f"{number:.1f}"
    return f"{number:,.0f}"
