"""How much one trace request may hold, counted on its bytes before anything is built from them.

Two bytes make an empty span event in protobuf, and one byte an empty list in JSON; as objects
they take hundreds of bytes and microseconds. So what is limited is their number, and counting
stops at the limit. Small bodies cannot reach it and are not counted.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from turntrace.errors import ReceiveError
from turntrace.view.refusal import RefusedError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

MAX_RECORDS = 50_000
"""Resources, scopes, spans, events, links and statuses in one protobuf request."""
MAX_FIELDS = 500_000
"""Fields in one protobuf request, unknown ones included: a span of twenty attributes has 92."""
MAX_TOKENS = 200_000
"""Strings, brackets and commas in one JSON request, whose every value costs more."""
MAX_DEPTH = 100
"""How deep messages may nest; protobuf's own limit."""

_VALUES = frozenset({"KeyValue", "AnyValue", "ArrayValue", "KeyValueList"})
"""The messages of attributes, cheaper than records and more."""

_BYTES = 2
_WIRE_TYPES = frozenset({0, 1, _BYTES, 5})
_FIXED_BYTES = {1: 8, 5: 4}
_MAX_TAG = 2**32
_MAX_VARINT_BYTES = 10

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?|[\[{,]', re.DOTALL)
"""Possessive, so that one pass over any bytes is linear; an open string reaches to the end."""


class _Shape:
    """Which fields of a message are messages, by their tag."""

    def __init__(self, name: str) -> None:
        self.is_record = name not in _VALUES
        self.children: dict[int, _Shape] = {}


def _shape(message: Descriptor, known: dict[str, _Shape]) -> _Shape:
    shape = known.get(message.full_name)
    if shape is None:
        shape = known[message.full_name] = _Shape(message.name)
        for field in message.fields:
            if field.message_type is not None:
                shape.children[field.number << 3 | _BYTES] = _shape(field.message_type, known)
    return shape


_REQUEST = _shape(ExportTraceServiceRequest.DESCRIPTOR, {})


def check_json(body: bytes) -> None:
    """Raise if a JSON body holds too much; says nothing about whether it is JSON.

    Raises:
        RefusedError: 413.
    """
    if len(body) > MAX_TOKENS and any(
        True for _ in itertools.islice(_TOKEN.finditer(body), MAX_TOKENS, None)
    ):
        raise _too_much(MAX_TOKENS, "strings, lists, objects and their items")


def check_protobuf(body: bytes) -> None:
    """Raise if a protobuf body holds too much.

    Raises:
        RefusedError: 413.
        ReceiveError: it is no protobuf, or has groups, which no version of OTLP has: what is
            in them would be counted as something else than what the parser sees.
    """
    if len(body) <= 2 * MAX_RECORDS:
        return
    try:
        _count(body)
    except IndexError:
        raise _malformed("it ends too early") from None


def _count(body: bytes) -> None:  # noqa: C901 - one loop, as a call a field would double its time
    """Walk over the fields, 0.3 us each, with a stack of what is around the current message."""
    fields = records = position = 0
    end, shape = len(body), _REQUEST
    outer: list[tuple[int, _Shape]] = []
    while True:
        if position >= end:
            if position > end:
                raise _malformed("a field is longer than what holds it")
            if not outer:
                return
            end, shape = outer.pop()
            continue
        tag, position = _varint(body, position)
        fields += 1
        wire_type = tag & 7
        size = _FIXED_BYTES.get(wire_type, 0)
        if not size:
            number, position = _varint(body, position)
            size = number if wire_type == _BYTES else 0
        child = shape.children.get(tag)
        if child is None:
            position += size
        else:
            records += child.is_record
            outer.append((end, shape))
            if position + size > end or len(outer) > MAX_DEPTH:
                raise _malformed("a field is longer than what holds it, or nests too deep")
            end, shape = position + size, child
        if wire_type not in _WIRE_TYPES or tag >= _MAX_TAG:
            raise _malformed(f"a field has the tag {tag}")
        if records > MAX_RECORDS:
            raise _too_much(MAX_RECORDS, "spans, events, links and their like")
        if fields > MAX_FIELDS:
            raise _too_much(MAX_FIELDS, "fields")


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    byte = body[position]
    position += 1
    if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
        return byte, position
    number = byte & 0x7F
    for shift in range(7, 7 * _MAX_VARINT_BYTES, 7):
        byte = body[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - as above
            return number, position
    raise _malformed("a number has more than ten bytes")


def _too_much(limit: int, what: str) -> RefusedError:
    return RefusedError(
        413, f"more than {limit} {what} in one request are not taken: send smaller batches"
    )


def _malformed(reason: str) -> ReceiveError:
    return ReceiveError(f"the body is not a protobuf trace request: {reason}")
