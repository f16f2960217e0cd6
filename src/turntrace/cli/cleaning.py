"""Text of others becomes text that a terminal may be given; needs no optional package."""

from __future__ import annotations

import re
import unicodedata

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
