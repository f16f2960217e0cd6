"""The id that ties together everything one HTTP request or one Socket.IO event causes."""

import re
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from renovation.telemetry import bind_request

HEADER = "X-Request-ID"

current_request_id: ContextVar[str | None] = ContextVar("renovation_request_id", default=None)
"""The id of what is being worked on; every log line carries it."""

_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def begin_request(offered: str | None = None) -> str:
    """Take the caller's id, or make one if it is missing or not `[A-Za-z0-9._-]{1,64}`."""
    is_usable = offered is not None and _ACCEPTED.fullmatch(offered)
    request_id = offered if offered is not None and is_usable else uuid.uuid4().hex
    current_request_id.set(request_id)
    bind_request(request_id)
    return request_id


class RequestIdMiddleware:
    """Give every HTTP request an id and return it in the response; plain ASGI, nothing buffered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other kinds of scope pass untouched."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = begin_request(Headers(scope=scope).get(HEADER))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)
