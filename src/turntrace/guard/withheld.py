"""What was withheld, counted by key and said once, with the line that would let it out.

What is said names keys and places in code, never a value, nor a key that may be made from text.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from turntrace import registry
from turntrace.call_sites import NOT_A_KEY
from turntrace.errors import ConfigurationError

if TYPE_CHECKING:
    from turntrace.call_sites import Origin
    from turntrace.shapes import Shape

logger = logging.getLogger("turntrace")

MAX_KEYS: Final = 1_000
"""Keys whose withheld values are counted by name, each cut to 64 characters."""
MAX_SAID: Final = 200
"""Lines that are logged; of more, one says so."""
_MAX_KEY_LENGTH: Final = 64


class Withheld:
    """Counts, and tells the developer once for each key and place."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """How often each key was withheld."""
        self._said: set[tuple[str, str]] = set()

    def count(self, key: object) -> None:
        """Count a key, up to ``MAX_KEYS`` of them."""
        name = key[:_MAX_KEY_LENGTH] if type(key) is str else NOT_A_KEY
        if name in self.counts or len(self.counts) < MAX_KEYS:
            self.counts[name] = self.counts.get(name, 0) + 1

    def text(self, key: str, origin: Origin) -> None:
        """Say that the text under a key of the app's own was withheld."""
        self._say(
            "text",
            key,
            origin,
            f'the text of attribute "{key}" ({origin.place}) was withheld, {key}.length left in its'
            f" place. {_way_out(key)}",
        )

    def kind(self, key: str, origin: Origin) -> None:
        """Say that the value under a key of the app's own is no attribute value."""
        self._say(
            "kind",
            key,
            origin,
            f'the value of attribute "{key}" ({origin.place}) was withheld: it is no number, bool,'
            " text or list of these",
        )

    def key(self, origin: Origin | None) -> None:
        """Say that an attribute was withheld whose key may be made from text."""
        if origin is not None:
            self._say(
                "key",
                origin.place,
                origin,
                f"an attribute set at {origin.place} was withheld: its key is no constant there."
                " Write the key out in the code that sets it, or register it:"
                " turntrace.register_attributes({...})",
            )

    def value(self, key: str, shape: Shape) -> None:
        """Say that a value did not fit its key's shape."""
        self._say(
            "value",
            key,
            None,
            f'a value of attribute "{key}" was withheld: it must be {shape.meaning}',
        )

    def name(self, origin: Origin | None, what: str) -> None:
        """Say that the name of a span or event may be made from text."""
        if origin is not None:
            self._say(
                what,
                origin.place,
                origin,
                f"the name of a {what} at {origin.place} was withheld: it is no constant there."
                " Write the name out in that code, and put what varies into an attribute",
            )

    def _say(self, kind: str, about: str, origin: Origin | None, line: str) -> None:
        if (kind, about) in self._said or len(self._said) > MAX_SAID:
            return
        self._said.add((kind, about))
        is_app = origin is None or origin.is_app
        level = logging.WARNING if is_app else logging.INFO
        if len(self._said) > MAX_SAID:
            line = "more was withheld than is said; see the counts of withheld keys"
        with suppress(Exception):  # a filter of the app's own may raise, and the span goes on
            logger.log(level, "turntrace: %s. Said once.", line)


def _way_out(key: str) -> str:
    """Return what to do about a text that was withheld under ``key``."""
    try:
        registry.entry(key, "id")
    except ConfigurationError as error:
        return f"No text can leave there: {error}"
    return (
        f'If it is an identifier, let it out with turntrace.register_attributes({{"{key}": "id"}})'
        f" or TURNTRACE_ATTRIBUTES={key}:id; other shapes are in docs/guide/privacy.md"
    )
