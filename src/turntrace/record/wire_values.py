"""What a record on disk can hold of a text, a number or an attribute, and what becomes of the rest.

The same rules as the OTLP encoder's, so that a span reads the same whichever way it went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turntrace.record.span_record import AttributeValue

MAX_DEPTH: Final = 32
"""Sequences inside sequences that are read and written; OTLP's readers stop at about 50."""
MAX_INT_BITS: Final = 256
"""An int beyond 64 bits is held as its decimal text, one beyond this not at all."""

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_FLAT: Final = frozenset({str, bool, int, float, bytes})


def held_text(text: str) -> str:
    """Return ``text`` as UTF-8 can say it: surrogate pairs joined, lone ones as U+FFFD."""
    exact = str.__str__(text)
    try:
        exact.encode()
    except UnicodeEncodeError:
        return exact.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return exact


def held_int(number: int) -> int:
    """Return the nearest int that MessagePack can say: from -2**63 to 2**64 - 1."""
    return max(_INT_MIN, min(int.__int__(number), _INT_MAX))


def held_attributes(attributes: Mapping[str, object]) -> tuple[dict[str, AttributeValue], int]:
    """Return what a record can hold of ``attributes``, and how many had to be left out."""
    held: dict[str, AttributeValue] = {}
    for key, value in attributes.items():
        try:
            held[held_text(key)] = _held_value(value, 0)
        except (TypeError, ValueError):
            continue
    return held, len(attributes) - len(held)


def read_attributes(
    attributes: dict[str, AttributeValue],
) -> tuple[dict[str, AttributeValue], int]:
    """Return attributes as they were packed: MessagePack's arrays are tuples again."""
    if _FLAT.issuperset(map(type, attributes.values())):
        return attributes, 0
    return held_attributes(attributes)


def _held_value(value: object, depth: int) -> AttributeValue:  # noqa: PLR0911 - one per type
    match value:
        case None if depth:
            # No attribute of ours is None, but an item of a sequence may be one, as in OTLP.
            return None  # type: ignore[return-value]
        case bool():
            return value
        case str():
            return held_text(value)
        case int():
            if held_int(value) == value:
                return int.__int__(value)
            if value.bit_length() > MAX_INT_BITS:
                raise ValueError("int too large")
            return int.__repr__(value)
        case float():
            return float.__float__(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case tuple() | list() if depth < MAX_DEPTH:
            return tuple([_held_value(item, depth + 1) for item in value])
        case _:
            raise ValueError(f"a record has no form for {type(value).__name__}")
