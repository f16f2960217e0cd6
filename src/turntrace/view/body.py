"""The body of a request, read and decompressed without ever holding more than the limits."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turntrace.errors import ReceiveError
from turntrace.view.refusal import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls the content codings of RFC 9110."""

_MAX_GZIP_MEMBERS = 64
"""A gzip body may be several in a row; a body of very many is an attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How large one body may be, and all bodies together that are being received."""

    max_sent_bytes: int = 16 * 1024 * 1024
    """One body as it comes over the wire."""
    max_body_bytes: int = 16 * 1024 * 1024
    """One body after decompression."""
    max_held_bytes: int = 64 * 1024 * 1024
    """All bodies, as sent, that are being read or wait to be taken apart."""


class BodyReader:
    """Reads bodies for one receiver and knows how much it holds; used on one event loop."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self.held_bytes = 0

    async def read(self, request: Request) -> bytes:
        """Return the body as sent; the caller calls ``release`` with it when it is done.

        Raises:
            RefusedError: 413 for a body over the limit, 429 while too much is held.
            ClientDisconnect: the client left before its body was complete.
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and len(length) < 20:  # noqa: PLR2004 - what 64 bits hold
            self._check(int(length), self.held_bytes)
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self.held_bytes += len(chunk)
                self._check(size, self.held_bytes)
                chunks.append(chunk)
        except BaseException:
            self.held_bytes -= size
            raise
        return b"".join(chunks)

    def release(self, body: bytes) -> None:
        """Forget a body that ``read`` returned."""
        self.held_bytes -= len(body)

    def _check(self, size: int, held_bytes: int) -> None:
        if size > self._limits.max_sent_bytes:
            raise _too_large(self._limits.max_sent_bytes, "as sent")
        if held_bytes > self._limits.max_held_bytes:
            raise RefusedError(
                429,
                f"more than {self._limits.max_held_bytes} bytes of requests are being received:"
                " try again later",
                headers={"Retry-After": "1"},
            )


def decompress(body: bytes, coding: str, max_bytes: int) -> bytes:
    """Return a body without its content coding; never makes more than ``max_bytes``.

    Raises:
        RefusedError: 413 if it would be larger, 415 for a coding other than gzip and deflate.
        ReceiveError: the body is damaged.
    """
    if coding in {"", "identity"}:
        if len(body) > max_bytes:
            raise _too_large(max_bytes, "decompressed")
        return body
    window_bits = _WINDOW_BITS.get(coding)
    if window_bits is None:
        raise RefusedError(
            415,
            f"Content-Encoding is {coding[:40]!r}; it must be gzip, deflate or identity",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    parts: list[bytes] = []
    room = max_bytes
    rest = body
    for _ in range(_MAX_GZIP_MEMBERS):
        stream = zlib.decompressobj(window_bits)
        try:
            part = stream.decompress(rest, room + 1)
        except zlib.error as error:
            raise ReceiveError(f"the body is not valid {coding}: {error}") from error
        if len(part) > room:
            raise _too_large(max_bytes, "decompressed")
        if not stream.eof:
            raise ReceiveError(f"the body is not valid {coding}: it ends too early")
        parts.append(part)
        room -= len(part)
        rest = stream.unused_data
        if not rest:
            return b"".join(parts)
        if window_bits != _WINDOW_BITS["gzip"]:
            break
    raise ReceiveError(f"the body is not valid {coding}: something follows its end")


def _too_large(limit: int, state: str) -> RefusedError:
    return RefusedError(413, f"the body is larger than {limit} bytes {state}: send smaller batches")
