"""POST /v1/traces: an OTLP/HTTP request comes in, and an answer in its own encoding goes out.

Source: the OTLP specification 1.x, "OTLP/HTTP". An answer of 200 means that every span which was
not rejected in ``partial_success`` is stored. Clients repeat after 429 and 503, never after 4xx.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from turntrace.errors import ReceiveError, StoreError
from turntrace.store.contract import StoreBusyError
from turntrace.view.body import BodyLimits, BodyReader, decompress
from turntrace.view.decode import Decoded, decode_json, decode_protobuf
from turntrace.view.refusal import JSON, PROTOBUF, RefusedError, essence, rpc_status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from turntrace.store.contract import StoredSpan, TraceWriter

MAX_DECODING = 2
"""Bodies taken apart at once: each may need many times its size for a moment."""

_DECODERS = {PROTOBUF: decode_protobuf, JSON: decode_json}
_SUFFIXES = {PROTOBUF: "pb", JSON: "json"}


class Receiver:
    """The endpoint; one per app, used on one event loop.

    Args:
        writer: where the spans go; stays the property of the caller.
        limits: how much is read.
        keep_requests: a directory that gets every body, decompressed, in a file of its own,
            before anything else is done with it. For tests that search what arrived.
        on_stored: is told on the event loop of spans that can now be read; must not raise.
    """

    def __init__(
        self,
        writer: TraceWriter,
        *,
        limits: BodyLimits,
        keep_requests: Path | None = None,
        on_stored: Callable[[Sequence[StoredSpan]], None] = lambda _: None,
    ) -> None:
        self._writer = writer
        self._on_stored = on_stored
        self._limits = limits
        self._bodies = BodyReader(limits)
        self._keep_requests = keep_requests
        self._numbers = itertools.count(1)
        self._decoding = asyncio.Semaphore(MAX_DECODING)

    async def receive(self, request: Request) -> Response:
        """Answer one request."""
        media_type = essence(request.headers.get("content-type", ""))
        try:
            decoded = await self._read(request, media_type)
            if decoded.spans:
                await asyncio.wrap_future(self._writer.write(decoded.spans))
                self._on_stored(decoded.spans)
        except RefusedError as error:
            return rpc_status(error.status, str(error), media_type, error.headers)
        except ReceiveError as error:
            return rpc_status(400, str(error), media_type)
        except StoreBusyError as error:
            return rpc_status(429, str(error), media_type, {"Retry-After": "1"})
        except StoreError as error:
            return rpc_status(503, str(error), media_type, {"Retry-After": "5"})
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        return _success(decoded, media_type)

    async def _read(self, request: Request, media_type: str) -> Decoded:
        if media_type not in _DECODERS:
            raise RefusedError(
                415, f"Content-Type is {media_type[:80]!r}; it must be {PROTOBUF} or {JSON}"
            )
        coding = request.headers.get("content-encoding", "").strip().lower()
        body = await self._bodies.read(request)
        try:
            async with self._decoding:
                return await asyncio.to_thread(self._take_apart, body, coding, media_type)
        finally:
            self._bodies.release(body)

    def _take_apart(self, body: bytes, coding: str, media_type: str) -> Decoded:
        plain = decompress(body, coding, self._limits.max_body_bytes)
        if self._keep_requests is not None:
            self._keep(plain, _SUFFIXES[media_type])
        return _DECODERS[media_type](plain)

    def _keep(self, plain: bytes, suffix: str) -> None:
        assert self._keep_requests is not None  # noqa: S101 - for the type checker
        name = f"{time.time_ns()}-{next(self._numbers):06d}.{suffix}"
        path = self._keep_requests / name
        try:
            path.touch(mode=0o600)
            path.write_bytes(plain)
        except OSError as error:
            raise RefusedError(
                503, f"cannot keep the request in {self._keep_requests}: {error.strerror}"
            ) from error


def _success(decoded: Decoded, media_type: str) -> Response:
    rejected = decoded.rejected.total()
    if media_type == JSON:
        # In protobuf's JSON a 64-bit integer is a string.
        partial = {"rejectedSpans": str(rejected), "errorMessage": decoded.message()}
        return Response(
            msgspec.json.encode({"partialSuccess": partial} if rejected else {}), media_type=JSON
        )
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = decoded.message()
    return Response(answer.SerializeToString(), media_type=PROTOBUF)
