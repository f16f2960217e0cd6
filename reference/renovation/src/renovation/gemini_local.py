"""A local server that speaks the Gemini REST wire format, for tests, demos and offline work.

`python -m renovation.gemini_local --port 8001`; what it answers is in `gemini_script.py`.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from renovation.gemini_script import THOUGHT_TOKENS, Json, Plan, plan_reply

STREAM_ERROR_AFTER_CHUNKS = 5
"""Chunks of an answer that arrive before the error frame of `[[inerr]]`."""

_METHODS = frozenset({"generateContent", "streamGenerateContent"})

_STATUSES = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    403: ("PERMISSION_DENIED", "The request is missing a valid API key."),
    404: ("NOT_FOUND", "The model is not found for API version v1beta."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A plan together with what every frame of it repeats."""

    plan: Plan
    model: str
    response_id: str

    def frames(self) -> Iterator[Json]:
        """Yield the chunks of a streamed reply; usage is cumulative, the reason is in the last."""
        parts = [self._call_parts()] if self.plan.calls else [[{"text": t}] for t in self._texts()]
        for number, chunk in enumerate(parts, start=1):
            yield self._frame(chunk, tokens=number, is_last=number == len(parts))

    def whole(self) -> Json:
        """Return the reply in one piece."""
        parts = self._call_parts() if self.plan.calls else [{"text": "".join(self._texts())}]
        return self._frame(parts, tokens=len(self._texts()) or 1, is_last=True)

    def _texts(self) -> Sequence[str]:
        return self.plan.chunks

    def _call_parts(self) -> list[Json]:
        parts: list[Json] = [{"functionCall": call} for call in self.plan.calls]
        # Gemini signs the first call of a step only.
        parts[0]["thoughtSignature"] = base64.b64encode(self.response_id.encode()).decode()
        return parts

    def _frame(self, parts: list[Json], *, tokens: int, is_last: bool) -> Json:
        candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if is_last:
            candidate["finishReason"] = "STOP"
        return {
            "candidates": [candidate],
            "usageMetadata": self._usage(tokens),
            "modelVersion": self.model,
            "responseId": self.response_id,
        }

    def _usage(self, tokens: int) -> Json:
        known = self.plan.usage
        usage: Json = {
            "promptTokenCount": known.prompt,
            "candidatesTokenCount": tokens,
            "totalTokenCount": known.prompt + tokens + THOUGHT_TOKENS,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": known.prompt}],
            "thoughtsTokenCount": THOUGHT_TOKENS,
        }
        if known.cached:
            usage["cachedContentTokenCount"] = known.cached
            usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": known.cached}]
        return usage


class EventStream:
    """The response of `streamGenerateContent?alt=sse`, able to break off as a network does."""

    def __init__(self, reply: Reply, *, chunk_seconds: float) -> None:
        self._reply = reply
        self._chunk_seconds = chunk_seconds

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames; return without the closing one if the script says so."""
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sender = asyncio.ensure_future(self._send_frames(send))
        watcher = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((sender, watcher), return_when=asyncio.FIRST_COMPLETED)
            if sender.done() and sender.result():
                await send({"type": "http.response.body", "body": b""})
        finally:
            sender.cancel()
            watcher.cancel()

    async def _send_frames(self, send: Send) -> bool:
        """Return whether the stream came to its proper end."""
        directives = self._reply.plan.directives
        is_answer = not self._reply.plan.calls
        async for number, frame in self._paced_frames():
            if is_answer and number == directives.drop_after_chunks:
                return False
            if is_answer and directives.has_stream_error and number == STREAM_ERROR_AFTER_CHUNKS:
                await _send_frame(send, _error_body(503))
                return True
            await _send_frame(send, frame)
        return True

    async def _paced_frames(self) -> AsyncIterator[tuple[int, Json]]:
        for number, frame in enumerate(self._reply.frames()):
            await asyncio.sleep(self._chunk_seconds)
            yield number, frame


async def _send_frame(send: Send, frame: Json) -> None:
    body = b"data: " + json.dumps(frame, ensure_ascii=False).encode() + b"\r\n\r\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _error_body(status: int) -> Json:
    name, message = _STATUSES.get(status, ("UNKNOWN", "An error has occurred."))
    return {"error": {"code": status, "message": message, "status": name}}


def _refusal(status: int) -> Response:
    return JSONResponse(_error_body(status), status_code=status)


def create_server(*, chunk_seconds: float = 0.002) -> Starlette:
    """Return the server as an ASGI application; it keeps no state between requests."""

    async def generate(request: Request) -> Response | EventStream:
        model, _, method = request.path_params["call"].rpartition(":")
        body = await request.body()
        plan = _understood(body)
        status = _refused_status(request, model, method, plan)
        if plan is None or status is not None:
            return _refusal(status or 400)
        await asyncio.sleep(plan.directives.delay_seconds)
        if plan.directives.error_status is not None:
            return _refusal(plan.directives.error_status)
        reply = Reply(plan=plan, model=model, response_id=_response_id(body))
        if method == "generateContent":
            return JSONResponse(reply.whole())
        if request.query_params.get("alt") == "sse":
            return EventStream(reply, chunk_seconds=chunk_seconds)
        return JSONResponse(list(reply.frames()))

    return Starlette(routes=[Route("/v1beta/models/{call:path}", generate, methods=["POST"])])


def _understood(body: bytes) -> Plan | None:
    try:
        asked = json.loads(body)
        return plan_reply(asked) if asked["contents"] else None
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


def _refused_status(request: Request, model: str, method: str, plan: Plan | None) -> int | None:
    if not request.headers.get("x-goog-api-key"):
        return 403
    if not model.startswith("gemini-") or method not in _METHODS:
        return 404
    return 400 if plan is None else None


def _response_id(body: bytes) -> str:
    """Derive the id from the request, so that a run can be repeated to the letter."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:16]).decode().rstrip("=")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; the first line of output is the address, once it is listening."""
    parser = argparse.ArgumentParser(
        prog="python -m renovation.gemini_local",
        description=__doc__,
        epilog="Example: python -m renovation.gemini_local --port 8001",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--chunk-seconds", type=float, default=0.002, help="pause before a chunk")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when whoever started this process is gone",
    )
    options = parser.parse_args(arguments)
    app = create_server(chunk_seconds=options.chunk_seconds)
    # The server calls a dropped connection an application error: it is what was asked for.
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    with socket.create_server((options.host, options.port), backlog=256) as listener:
        host, port = listener.getsockname()[:2]
        if options.until_stdin_closes:
            threading.Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
        sys.stdout.write(f"http://{host}:{port}\n")
        sys.stdout.flush()
        server.run(sockets=[listener])
    return 0


def _end_with_stdin(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
