"""Which of the app's own keys lost their text to the guard, and the line that lets it out.

Any sender may write any list of keys: what is shown of it is bounded, and a line to paste is
made only of keys that ``register_attributes`` takes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from turntrace.attributes import WITHHELD_KEYS
from turntrace.errors import ConfigurationError
from turntrace.registry import entry
from turntrace.view.turn_wording import one_line

if TYPE_CHECKING:
    from turntrace.store.contract import Attributes

MAX_KEYS = 20
"""Keys of one span, event or link that are shown; the rest is in its attributes."""
MAX_KEY_CHARACTERS = 64
"""Of a key that is shown, as many as one may have that can be registered."""
_MAX_LENGTH = 2**53


class WithheldKey(NamedTuple):
    """A key whose text stayed in the process."""

    key: str
    """On one line, cut."""
    length: int | None
    """Characters of a text, bytes, or items of a sequence; None if nobody said."""
    line: str
    """What to paste into the app, empty if the key cannot be registered."""
    setting: str
    """What to put into ``TURNTRACE_ATTRIBUTES``, empty likewise."""


class WithheldKeys(NamedTuple):
    """The keys of one span, event or link."""

    keys: list[WithheldKey]
    more: int
    """How many further ones there are."""
    rest: Attributes
    """The attributes without those that say no more than ``keys`` does."""


def withheld_keys(facts: Attributes) -> WithheldKeys:
    """Return the withheld keys that these attributes name, in their order, each once.

    Example:
        >>> found = withheld_keys({"turntrace.withheld.keys": ["a.note"], "a.note.length": 27})
        >>> found.keys[0].line, found.keys[0].length, found.rest
        ('turntrace.register_attributes({"a.note": "id"})', 27, {})
    """
    value = facts.get(WITHHELD_KEYS)
    said = value if isinstance(value, list) else [value]
    names = list(dict.fromkeys(name for name in said if isinstance(name, str) and name))
    shown = names[:MAX_KEYS]
    hidden = {f"{name}.length" for name in shown if _length(facts, name) is not None}
    if shown and all(name in shown for name in said):
        hidden.add(WITHHELD_KEYS)
    return WithheldKeys(
        keys=[_withheld_key(name, _length(facts, name)) for name in shown],
        more=len(names) - len(shown),
        rest={key: fact for key, fact in facts.items() if key not in hidden},
    )


def _withheld_key(name: str, length: int | None) -> WithheldKey:
    shown = one_line(name[: MAX_KEY_CHARACTERS + 1])
    if len(name) > MAX_KEY_CHARACTERS:
        shown = f"{shown[:MAX_KEY_CHARACTERS]}…"
    if not _can_be_registered(name):
        return WithheldKey(shown, length, "", "")
    line = f'turntrace.register_attributes({{{json.dumps(name)}: "id"}})'
    return WithheldKey(shown, length, line, f"{name}:id")


def _can_be_registered(name: str) -> bool:
    """Tell whether an app may register a key; a family would let out more than was withheld."""
    try:
        entry(name, "id")
    except ConfigurationError:
        return False
    return not name.endswith("*")


def _length(facts: Attributes, name: str) -> int | None:
    """Return the length that stands in the place of a key's text."""
    length = facts.get(f"{name}.length")
    if not isinstance(length, int) or isinstance(length, bool):
        return None
    return length if 0 <= length <= _MAX_LENGTH else None
