"""Reads what a collector answered to an export request: how many spans it refused."""

from __future__ import annotations

import json
from typing import NamedTuple

_VARINT = 0
_FIXED64 = 1
_LENGTH_DELIMITED = 2
_FIXED32 = 5
_MAX_VARINT_BITS = 70


class PartialSuccess(NamedTuple):
    """``ExportTracePartialSuccess``: both fields are empty when everything was taken."""

    rejected_spans: int = 0
    message: str = ""


class MalformedResponseError(ValueError):
    """The body is no ``ExportTraceServiceResponse``, so nothing was acknowledged."""


def read_response(content_type: str, body: bytes) -> PartialSuccess:
    """Return what the body of a 2xx reply says.

    An empty body is full success. JSON is read as JSON, whatever it is labelled as; text (a login
    page, say) is malformed, all else is read as protobuf. Raises `MalformedResponseError`.
    """
    if not body:
        return PartialSuccess()
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.endswith("json") or body.lstrip()[:1] == b"{":
        return _read_json(body)
    if media_type.startswith("text/") or media_type.endswith("html+xml"):
        raise MalformedResponseError("the reply is text")
    return _read_protobuf(body)


def _read_json(body: bytes) -> PartialSuccess:
    try:
        reply = json.loads(body)
        partial = reply.get("partialSuccess") or reply.get("partial_success") or {}
        rejected = partial.get("rejectedSpans") or partial.get("rejected_spans") or 0
        message = partial.get("errorMessage") or partial.get("error_message") or ""
        return PartialSuccess(int(rejected), str(message))  # int64 is a string in protobuf's JSON
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise MalformedResponseError("the reply is not the JSON of OTLP") from error


def _read_protobuf(body: bytes) -> PartialSuccess:
    rejected, message = 0, ""
    try:
        for number, value in _fields(body):
            if number == 1 and isinstance(value, bytes):  # partial_success = 1
                for inner_number, inner in _fields(value):
                    if inner_number == 1 and isinstance(inner, int):  # rejected_spans = 1
                        rejected = inner - 2**64 if inner >= 2**63 else inner
                    elif isinstance(inner, bytes):  # error_message = 2
                        message = inner.decode("utf-8", "replace")
    except IndexError as error:
        raise MalformedResponseError("the reply is cut off") from error
    return PartialSuccess(rejected, message)


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Return (field number, varint or bytes) pairs; raises on anything that is not protobuf."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        value: int | bytes
        if wire_type == _VARINT:
            value, at = _read_varint(data, at)
        elif wire_type in (_FIXED64, _FIXED32, _LENGTH_DELIMITED):
            if wire_type == _LENGTH_DELIMITED:
                size, at = _read_varint(data, at)
            else:
                size = 8 if wire_type == _FIXED64 else 4
            value = data[at : at + size]
            at += size
            if at > len(data):
                raise MalformedResponseError("the reply is cut off")
        else:
            raise MalformedResponseError(f"the reply is not protobuf: wire type {wire_type}")
        if number == 0:
            raise MalformedResponseError("the reply is not protobuf: field number 0")
        found.append((number, value))
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < _MAX_VARINT_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value & (2**64 - 1), at
        shift += 7
    raise MalformedResponseError("the reply is not protobuf: endless varint")
