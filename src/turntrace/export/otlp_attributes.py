"""Encodes attributes, where nearly all of a span's encoding time goes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from turntrace.export.protobuf import field, utf8, varint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turntrace.record.span_record import AttributeValue

_MAX_KEYS: Final = 512
_MAX_VALUES_PER_KEY: Final = 32
_MAX_CACHED_PIECES: Final = 4096
_MAX_CACHED_BYTES: Final = 64
_MAX_DEPTH: Final = 32  # protobuf readers stop at 100 messages; one tuple is two of them
_MAX_INT_BITS: Final = 256
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1

_pack_double = struct.Struct("<d").pack


class AttributeTable:
    """The ``KeyValue`` fields of one message type, with what was learnt about frequent ones."""

    __slots__ = ("_keys", "_pieces_left", "_tag")

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._keys: dict[str, _Key] = {}
        self._pieces_left = _MAX_CACHED_PIECES

    def append_to(  # noqa: C901 - hot: unrolled by type, a call is 0.1 us
        self, out: list[bytes], attributes: Mapping[str, AttributeValue]
    ) -> int:
        """Append one field per attribute; return how many had to be left out.

        The hot loop of the encoder: 0.1 us for a frequent value, 0.6 for a new one. ``type(value)``
        is compared because ``True == 1 == 1.0`` would share a cache entry.
        """
        keys = self._keys
        append = out.append
        dropped = 0
        for name, value in attributes.items():
            key = keys.get(name)
            if key is None:
                key = self._learn(name)
                if key is None:
                    dropped += 1
                    continue
            kind = type(value)
            if kind is str:
                piece = key.strings.get(value)  # type: ignore[arg-type] # mypy cannot narrow by `kind`
                append(self._encode_string(key, value) if piece is None else piece)  # type: ignore[arg-type] # as above
            elif kind is int:
                piece = key.ints.get(value)  # type: ignore[arg-type] # as above
                if piece is None:
                    piece = self._encode_int(key, value)  # type: ignore[arg-type] # as above
                if piece:
                    append(piece)
                else:
                    dropped += 1
            elif kind is float:
                append(key.double_head + _pack_double(value))
            elif kind is bool:
                append(key.true if value else key.false)
            else:
                try:
                    body = _encode_any_value(value)
                    append(key.head(len(body), body))
                except Exception:  # noqa: BLE001 - a foreign object may raise whatever it likes
                    dropped += 1
        return dropped

    def _learn(self, name: str) -> _Key | None:
        if not isinstance(name, str):
            return None
        key = _Key(self._tag, utf8(name))
        if len(self._keys) < _MAX_KEYS and len(name) <= _MAX_CACHED_BYTES:
            self._keys[name] = key
        return key

    def _encode_string(self, key: _Key, value: str) -> bytes:
        data = utf8(value)
        size = len(data)
        head = key.string_heads.get(size)
        if head is None:
            length = varint(size)
            head = key.head(1 + len(length) + size, b"\x0a" + length)
            if len(key.string_heads) < _MAX_VALUES_PER_KEY:
                key.string_heads[size] = head
        piece = head + data
        known = key.strings
        if len(known) < _MAX_VALUES_PER_KEY and size <= _MAX_CACHED_BYTES and self._pieces_left > 0:
            self._pieces_left -= 1
            known[value] = piece
        return piece

    def _encode_int(self, key: _Key, value: int) -> bytes:
        """Return the field, or nothing when ``value`` is too large for any form."""
        if not _INT64_MIN <= value <= _INT64_MAX:
            try:
                body = _encode_any_value(value)
            except ValueError:
                return b""
            return key.head(len(body), body)
        data = varint(value)
        size = len(data)
        head = key.int_heads.get(size)
        if head is None:
            head = key.int_heads[size] = key.head(1 + size, b"\x18")
        piece = head + data
        known = key.ints
        if len(known) < _MAX_VALUES_PER_KEY and self._pieces_left > 0:
            self._pieces_left -= 1
            known[value] = piece
        return piece


class _Key:
    """One attribute key: the bytes that come before, or are, its frequent values."""

    __slots__ = (
        "_key_field",
        "_tag",
        "double_head",
        "false",
        "int_heads",
        "ints",
        "string_heads",
        "strings",
        "true",
    )

    def __init__(self, tag: bytes, name: bytes) -> None:
        self._tag = tag
        self._key_field = field(b"\x0a", name) + b"\x12"  # KeyValue.key = 1, value = 2
        self.strings: dict[str, bytes] = {}
        self.string_heads: dict[int, bytes] = {}
        self.ints: dict[int, bytes] = {}
        self.int_heads: dict[int, bytes] = {}
        self.double_head = self.head(9, b"\x21")
        self.true = self.head(2, b"\x10\x01")
        self.false = self.head(2, b"\x10\x00")

    def head(self, value_size: int, value_start: bytes) -> bytes:
        """Return everything up to and including ``value_start``, the first bytes of AnyValue."""
        start = self._key_field + varint(value_size)
        return self._tag + varint(len(start) + value_size) + start + value_start


def _encode_any_value(value: object, depth: int = 0) -> bytes:  # noqa: PLR0911 - one per type
    """Return an ``AnyValue`` message; raises ``ValueError`` for what OTLP cannot express."""
    match value:
        case None:
            return b""
        case str():
            return field(b"\x0a", utf8(value))
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int():
            return _encode_int(value)
        case float():
            return b"\x21" + _pack_double(value)
        case bytes() | bytearray() | memoryview():
            return field(b"\x3a", bytes(value))
        case tuple() | list() if depth < _MAX_DEPTH:
            items = [field(b"\x0a", _encode_any_value(item, depth + 1)) for item in value]
            return field(b"\x2a", b"".join(items))
        case _:
            raise ValueError(f"no OTLP form for {type(value).__name__}")


def _encode_int(value: int) -> bytes:
    if _INT64_MIN <= value <= _INT64_MAX:
        return b"\x18" + varint(int(value))
    if value.bit_length() > _MAX_INT_BITS:
        raise ValueError("int too large")
    return field(b"\x0a", int.__repr__(value).encode())
