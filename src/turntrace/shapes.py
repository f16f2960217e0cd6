"""What a value may look like: a shape lets out what fits it, unchanged, and nothing else.

No shape has room for a sentence: text a user typed has white space, and where it has none it is
withheld unless its key was declared to hold an identifier, by us or by the app.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Final

from turntrace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

Plain = str | bool | int | float | tuple[str, ...] | tuple[float, ...]
"""What leaves: exact types, sequences as tuples of one type."""

MAX_ITEMS: Final = 64
"""Items of a sequence that leave; of a longer one the first."""
_MAX_CHOICE_LENGTH: Final = 64


class Shape(ABC):
    """Tells what of a value may leave under a key of this shape."""

    __slots__ = ("meaning", "name")

    def __init__(self, name: str, meaning: str) -> None:
        self.name = name
        """What documents and settings call it."""
        self.meaning = meaning

    @abstractmethod
    def clean(self, value: object) -> Plain | None:
        """Return what may leave of ``value``, of a plain type; None if nothing may."""

    def __repr__(self) -> str:
        """Show the shape's name."""
        return f"<Shape {self.name}>"


class Text(Shape):
    """Text that a pattern matches as a whole."""

    __slots__ = ("_matches",)

    def __init__(self, name: str, meaning: str, pattern: str) -> None:
        super().__init__(name, meaning)
        self._matches = re.compile(pattern, re.ASCII).fullmatch

    def clean(self, value: object) -> str | None:
        """Return the text itself if the whole of it fits."""
        if not isinstance(value, str):
            return None
        plain = str.__str__(value)  # an enum's value; a type of its own may say anything
        return plain if self._matches(plain) else None


class OneOf(Shape):
    """One of a few words."""

    __slots__ = ("words",)

    def __init__(self, name: str, words: Iterable[str]) -> None:
        self.words = frozenset(words)
        super().__init__(name, ", ".join(f"`{word}`" for word in sorted(self.words)))

    def clean(self, value: object) -> str | None:
        """Return the word if it is one of them."""
        if not isinstance(value, str):
            return None
        plain = str.__str__(value)
        return plain if plain in self.words else None


class Number(Shape):
    """A finite number between two bounds, both included."""

    __slots__ = ("high", "low")

    def __init__(self, name: str, meaning: str, low: float, high: float) -> None:
        super().__init__(name, meaning)
        self.low = low
        self.high = high

    def clean(self, value: object) -> int | float | None:
        """Return a number of any type (an ``HTTPStatus``, a numpy float) as a plain one."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        plain = int(value) if isinstance(value, int) else float(value)
        if isinstance(plain, int) and not is_short(plain):
            return None
        return plain if self.low <= plain <= self.high else None


class Flag(Shape):
    """True or false."""

    __slots__ = ()

    def clean(self, value: object) -> bool | None:
        """Return a bool."""
        return value if value.__class__ is bool else None


class Several(Shape):
    """A sequence of texts of one shape, or a single one."""

    __slots__ = ("_item",)

    def __init__(self, item: Shape) -> None:
        super().__init__(f"{item.name}s", f"several: {item.meaning}")
        self._item = item

    def clean(self, value: object) -> Plain | None:
        """Return those items that fit; None if the value is none or no item does."""
        if isinstance(value, str):
            return self._item.clean(value)
        if not isinstance(value, tuple):
            return None
        found = [self._item.clean(item) for item in value[:MAX_ITEMS]]
        return tuple([item for item in found if isinstance(item, str)]) or None


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number or a bool: what can hold no text."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and is_short(value)


def is_plain(value: object) -> bool:
    """Tell whether a value can hold no text: a number, a bool, or a sequence of these."""
    if isinstance(value, tuple):
        return all(map(is_number, value))
    return is_number(value)


def is_short(number: int) -> bool:
    """Tell whether a number has no more than 64 bits: digits without end may stand for a text."""
    return -(2**63) <= number < 2**63


LARGEST: Final = 2**53
"""Up to which every int is a float, too."""

ID: Final = Text(
    "id",
    "an identifier: up to 128 letters, digits and `_ . : / @ + = ~ | -`, no white space",
    r"[\w-][\w.:/@+=~|-]{0,127}",
)
WORD: Final = Text("word", "up to 64 letters, digits and `_ . : -`", r"[A-Za-z0-9_][\w.:-]{0,63}")
NAME: Final = Text(
    "name",
    "a name in code: up to 128 letters, digits and `_ . : / @ + * -`",
    r"[\w./*][\w.:/@+*-]{0,127}",
)
TYPE: Final = Text(
    "type",
    "a qualified type name, or a status code of three digits",
    r"[A-Za-z_][\w.<>]{0,255}|<withheld>|\d{3}",
)
ROUTE: Final = Text(
    "route",
    "the template of a route, with names in braces in place of values",
    r"/?[\w/{}:.*<>@~+\\\[\]()^$,|-]{0,255}",
)
HOST: Final = Text("host", "a host name or IP address", r"[A-Za-z0-9_\[:][\w.:\[\]%-]{0,252}")
MODEL: Final = Text("model", "a model's name", r"[\w@][\w.:/@+-]{0,127}")
SUMMARY: Final = Text(
    "summary", "an operation in capitals, and what it is about", r"[A-Z]{2,16}( [\w.*$-]{1,128})?"
)
VERSION: Final = Text("version", "a version", r"[\w.+!-]{1,64}")
STATEMENT: Final = Text("statement", "SQL without literals and comments", r"[\s\S]{0,4096}")
STACK: Final = Text("stack", "types, files, lines and functions; no text", r"[\s\S]{0,16384}")
OPERATOR: Final = Text("text", "what the operator set", r"[\s\S]{0,2048}")
KEYS_ONLY: Final = Several(
    Text("key", "an attribute key that is a constant of the app", r"[A-Za-z][\w .:/-]{0,63}")
)
WORDS: Final = Several(WORD)

FLAG: Final = Flag("flag", "true or false")
NUMBER: Final = Number("number", "a finite number", -1.7976931348623157e308, 1.7976931348623157e308)
COUNT: Final = Number("count", "a number of things, 0 and up", 0, LARGEST)
BYTES: Final = Number("bytes", "bytes, 0 and up", 0, LARGEST)
TOKENS: Final = Number("tokens", "tokens, 0 and up", 0, LARGEST)
MILLISECONDS: Final = Number("ms", "milliseconds, 0 and up", 0, LARGEST)
SECONDS: Final = Number("s", "seconds, 0 and up", 0, LARGEST)
DOLLARS: Final = Number("USD", "US dollars, 0 and up", 0, 1e12)
STATUS: Final = Number("status", "an HTTP status, 100 to 599", 100, 599)
PORT: Final = Number("port", "0 to 65535", 0, 65535)
TEMPERATURE: Final = Number("temperature", "0 to 100, mostly up to 2", 0, 100)
SHARE: Final = Number("share", "0 to 1", 0, 1)

DECLARABLE: Final[dict[str, Shape]] = {
    shape.name: shape
    for shape in (ID, WORD, TYPE, ROUTE, HOST, MODEL, VERSION, NUMBER, COUNT, FLAG)
}
"""What an app or its operator may declare for keys of their own, by name."""


def declared(asked: object) -> Shape:
    """Return the shape that an app asked for.

    Args:
        asked: The name of a shape of ``DECLARABLE``; an ``Enum`` class or a sequence of words:
            those words and no others.

    Raises:
        ConfigurationError: It is none of these.
    """
    if isinstance(asked, str) and asked in DECLARABLE:
        return DECLARABLE[asked]
    if isinstance(asked, type) and issubclass(asked, Enum):
        asked = [member.value for member in asked]
    if isinstance(asked, (list, tuple, set, frozenset)):
        words = [str.__str__(word) for word in asked if isinstance(word, str)]
        if words and len(words) == len(asked) and max(map(len, words)) <= _MAX_CHOICE_LENGTH:
            return OneOf("words", words)
        raise ConfigurationError(
            f"words of a shape must be texts of up to {_MAX_CHOICE_LENGTH} characters, at least one"
        )
    raise ConfigurationError(
        f"there is no such shape; use one of {', '.join(DECLARABLE)}, an Enum class, or a list"
        " of the words that may leave"
    )
