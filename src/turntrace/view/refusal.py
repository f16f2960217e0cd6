"""Why a request was turned away: an HTTP status, a sentence, and how a client shall read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from turntrace.errors import ReceiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

MAX_MESSAGE_CHARACTERS = 500

_RPC_CODES = {401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 429: 8, 500: 13, 503: 14}
"""HTTP status to ``google.rpc.Code``; every other refusal is INVALID_ARGUMENT (3)."""

_TITLES = {
    400: "Malformed request",
    401: "Token required",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    415: "Unsupported media type",
    429: "Busy",
    500: "Internal error",
    503: "Store unavailable",
}


class RefusedError(ReceiveError):
    """A request is turned away with a status of its own; a plain ``ReceiveError`` means 400."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def rpc_status(
    status: int, message: str, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a refusal in OTLP's form: a ``google.rpc.Status`` in the encoding of the request."""
    code = _RPC_CODES.get(status, 3)
    text = message[:MAX_MESSAGE_CHARACTERS]
    if media_type == PROTOBUF:
        encoded = text.encode("utf-8", "replace")
        # Status has two fields: 1, a varint, is the code; 2, a string, is the message.
        body = b"\x08" + _varint(code) + b"\x12" + _varint(len(encoded)) + encoded
    else:
        body = msgspec.json.encode({"code": code, "message": text})
        media_type = JSON
    return Response(body, status, headers, media_type)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a refusal as problem JSON (RFC 9457)."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail[:MAX_MESSAGE_CHARACTERS],
    }
    return Response(msgspec.json.encode(body), status, headers, PROBLEM_JSON)


def refusal(
    path: str,
    content_type: str,
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a refusal in the form that clients of this path read."""
    if path.startswith("/v1/"):
        return rpc_status(status, message, essence(content_type), headers)
    return problem(status, message, headers)


def essence(content_type: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
