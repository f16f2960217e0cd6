"""Attribute values as a span keeps them: plain types that nobody else can change."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turntrace.record.span_record import AttributeValue

MAX_ATTRIBUTES = 128

SCALARS = frozenset({str, int, float, bool, bytes})


class _NotAValue:
    """Stands for what OpenTelemetry knows no attribute value for: an object, a mapping."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<not an attribute value>"


NOT_A_VALUE = _NotAValue()


def own(value: object) -> AttributeValue:
    """Return ``value`` as a plain type that the caller can neither change nor make compare oddly.

    Sequences become tuples of plain values; what is no attribute value becomes ``NOT_A_VALUE``.
    """
    if value.__class__ in SCALARS:
        return value  # type: ignore[return-value] # one of SCALARS
    if isinstance(value, (list, tuple)):
        # One level, as attributes have.
        return tuple([_plain(item) for item in value])
    return _plain(value)


def _plain(value: Any) -> AttributeValue:
    if isinstance(value, Enum) and not isinstance(value, (str, int)):
        value = value.value
    # A type's own conversion: one of a subclass may do anything.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return bytes(value)
    return NOT_A_VALUE  # type: ignore[return-value] # the guard withholds it


def own_all(attributes: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Copy ``attributes``, sequences included; ``None`` says nothing and is left out."""
    if SCALARS.issuperset(map(type, attributes.values())):
        return dict(attributes)  # type: ignore[arg-type] # all are SCALARS
    return {key: own(value) for key, value in attributes.items() if value is not None}


def limited(attributes: Mapping[str, object] | None) -> tuple[dict[str, AttributeValue], int]:
    """Copy ``attributes``, 128 at most; return how many were left out too."""
    if not attributes:
        return {}, 0
    kept = own_all(attributes)
    if len(kept) <= MAX_ATTRIBUTES:
        return kept, 0
    return dict(list(kept.items())[:MAX_ATTRIBUTES]), len(kept) - MAX_ATTRIBUTES
