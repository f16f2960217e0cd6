"""Attribute values as a span keeps them: plain types that nobody else can change."""

from __future__ import annotations

from enum import Enum
from itertools import islice
from numbers import Integral, Number
from typing import TYPE_CHECKING, Any
from uuid import UUID

from turntrace.call_sites import plain_key
from turntrace.shapes import MAX_ITEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turntrace.record.span_record import AttributeValue

MAX_ATTRIBUTES = 128

SCALARS = frozenset({str, int, float, bool, bytes})
TEXT = frozenset({str})
"""What a key is an instance of; those of a type of its own become plain ones."""


class _NotAValue:
    """Stands for what OpenTelemetry knows no attribute value for: an object, a mapping."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<not an attribute value>"


NOT_A_VALUE = _NotAValue()


def own(value: object) -> AttributeValue:
    """Return ``value`` as a plain type that the caller can neither change nor make compare oddly.

    Sequences become tuples of their first 64 items, each a plain value; what is no attribute value
    becomes ``NOT_A_VALUE``. Always ``type()``: what stands in for an object lies about its class.
    """
    kind = type(value)
    if kind in SCALARS:
        return value  # type: ignore[return-value] # one of SCALARS
    if issubclass(kind, (list, tuple)):
        # One level, as attributes have.
        return tuple([_plain(item) for item in islice(value, MAX_ITEMS)])  # type: ignore[call-overload] # a sequence
    return _plain(value)


def _plain(value: Any) -> AttributeValue:  # noqa: PLR0911 - one per type
    kind = type(value)
    if issubclass(kind, Enum) and not issubclass(kind, (str, int)):
        value = value.value
        kind = type(value)
    # A type's own conversion: one of a subclass may do anything.
    if issubclass(kind, str):
        return str.__str__(value)
    if kind is bool:
        return value  # type: ignore[no-any-return] # a bool
    if issubclass(kind, int):
        return int(value)
    if issubclass(kind, float):
        return float(value)
    if issubclass(kind, bytes):
        return bytes(value)
    if kind is UUID:
        return str(value)
    if issubclass(kind, Number) and not issubclass(kind, complex):  # a Decimal, one of numpy's
        return int(value) if issubclass(kind, Integral) else float(value)
    return NOT_A_VALUE  # type: ignore[return-value] # the guard withholds it


def own_all(attributes: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Copy ``attributes``, sequences included; ``None`` says nothing and is left out."""
    if SCALARS.issuperset(map(type, attributes.values())) and TEXT.issuperset(
        map(type, attributes)
    ):
        return dict(attributes)  # type: ignore[arg-type] # all are SCALARS
    return {plain_key(key): own(value) for key, value in attributes.items() if value is not None}


def limited(attributes: Mapping[str, object] | None) -> tuple[dict[str, AttributeValue], int]:
    """Copy ``attributes``, 128 at most; return how many were left out too."""
    if not attributes:
        return {}, 0
    kept = own_all(attributes)
    if len(kept) <= MAX_ATTRIBUTES:
        return kept, 0
    return dict(list(kept.items())[:MAX_ATTRIBUTES]), len(kept) - MAX_ATTRIBUTES
