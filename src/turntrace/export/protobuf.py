"""The few shapes that protobuf's wire format is made of, as bytes.

See https://protobuf.dev/programming-guides/encoding/. Tags are given by the caller, written out:
``(field number << 3) | wire type``.
"""

from __future__ import annotations

from typing import Final

_UINT32_MAX: Final = 2**32 - 1
_UINT64_MAX: Final = 2**64 - 1
_SMALL: Final = 1024
_TWO_BYTES: Final = 0x4000


def utf8(text: str) -> bytes:
    """Encode ``text``; surrogate pairs are joined, lone surrogates become U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def field(tag: bytes, data: bytes) -> bytes:
    """Return a length-delimited field: a string, bytes or a message."""
    return tag + varint(len(data)) + data


def count(tag: bytes, value: int) -> bytes:
    """Return a uint32 field, capped; nothing if there is nothing to count."""
    return tag + varint(min(value, _UINT32_MAX)) if value > 0 else b""


def clamp_uint64(value: int) -> int:
    """Return the nearest value that a fixed64 can hold."""
    return max(0, min(int(value), _UINT64_MAX))


def varint(value: int) -> bytes:
    """Return ``value`` as a varint; negative values as int64, in ten bytes."""
    if 0 <= value < _SMALL:
        return _VARINTS[value]
    if 0 <= value < _TWO_BYTES:
        return _CONTINUED[value & 0x7F] + _VARINTS[value >> 7]
    return _long_varint(value)


def _long_varint(value: int) -> bytes:
    value &= _UINT64_MAX
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_VARINTS: Final = tuple(_long_varint(value) for value in range(_SMALL))  # nearly every length
_CONTINUED: Final = tuple(bytes((value | 0x80,)) for value in range(0x80))
