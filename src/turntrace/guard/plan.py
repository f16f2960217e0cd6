"""How to judge the attributes of spans that have the same keys: worked out once, then fast.

An instrumentation sets the same keys again and again, and mostly the same texts under them. So
for each set of keys it is known which values to look up among those that passed before, which to
match each time, and which to compare with their bounds.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from turntrace import shapes
from turntrace.attributes import CALLED
from turntrace.shapes import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from turntrace.guard.schema import Schema

MAX_REMEMBERED: Final = 512
"""Combinations of texts that passed, for each set of keys."""
MAX_IDENTIFIERS: Final = 4_096
_MAX_TEXT: Final = 4096
"""Characters of a combination that is remembered."""

_NUMBERS: Final = frozenset({int, float})
_IDENTIFIERS: Final[set[object]] = set()
"""Identifiers that passed: new ones with each turn, but the same on all of its spans."""


class Plan:
    """What to look at, for one set of keys in one order."""

    __slots__ = ("_flags", "_identifiers", "_numbers", "_passed", "_texts", "looked_up", "others")

    def __init__(self, names: Iterable[object], schema: Schema, *, is_server: bool) -> None:
        looked_up: list[str] = []
        identifiers: list[str] = []
        numbers: list[tuple[str, float, float]] = []
        flags: list[str] = []
        others: list[object] = []
        for name in names:
            shape = schema.shape_of(name)
            if shape is None or (is_server and name in CALLED):
                others.append(name)
                continue
            key: Any = name
            if isinstance(shape, shapes.Number):
                numbers.append((key, max(shape.low, -LARGEST), min(shape.high, LARGEST)))
            elif isinstance(shape, shapes.Flag):
                flags.append(key)
            elif shape is shapes.ID:
                identifiers.append(key)
            else:
                looked_up.append(key)
        self.looked_up = tuple(looked_up)
        """Keys whose values are compared with what passed before."""
        self.others = tuple(others)
        """Keys that nobody declared, or that may not leave from such a span."""
        self._texts: Callable[[dict[Any, Any]], Any] | None = (
            itemgetter(*looked_up) if looked_up else None
        )
        self._identifiers = tuple(identifiers)
        self._numbers = tuple(numbers)
        self._flags = tuple(flags)
        self._passed: set[object] = set()

    def passes(self, attributes: dict[Any, Any]) -> bool:
        """Tell whether every declared value is certainly what it should be."""
        for key, low, high in self._numbers:
            value = attributes[key]
            if value.__class__ not in _NUMBERS or not low <= value <= high:  # type: ignore[operator] # a number
                return False
        for key in self._flags:
            if attributes[key].__class__ is not bool:
                return False
        for key in self._identifiers:
            if attributes[key] not in _IDENTIFIERS:
                return False
        texts = self._texts
        return texts is None or texts(attributes) in self._passed

    def remember(self, attributes: dict[Any, Any]) -> int:
        """Remember the texts of attributes that passed unchanged; return how many characters."""
        for key in self._identifiers:
            if len(_IDENTIFIERS) >= MAX_IDENTIFIERS:
                _IDENTIFIERS.clear()
            _IDENTIFIERS.add(attributes[key])
        if self._texts is None:
            return 0
        values = self._texts(attributes)
        each = values if len(self.looked_up) > 1 else (values,)
        characters = sum(len(value) for value in each if isinstance(value, str))
        if characters > _MAX_TEXT:
            return 0
        if len(self._passed) >= MAX_REMEMBERED:
            self._passed.clear()
        self._passed.add(values)
        return characters
