"""Who may talk to the view: nobody through a rebound name, and with a token only its owners."""

from __future__ import annotations

import ipaddress
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from turntrace.view.refusal import RefusedError, refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def is_loopback_host(host: str) -> bool:
    """Tell whether a host name or address, IPv6 with or without brackets, is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


class _Gate(ABC):
    """Passes a request on, or answers it with the refusal of ``_judge``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        verdict = self._judge(headers)
        if verdict is None:
            await self._app(scope, receive, send)
            return
        content_type = headers.get("content-type", "")
        response = refusal(
            scope["path"], content_type, verdict.status, str(verdict), verdict.headers
        )
        await response(scope, receive, send)

    @abstractmethod
    def _judge(self, headers: Headers) -> RefusedError | None:
        """Return why the request is turned away, or None."""


class HostGate(_Gate):
    """Lets a request in only if its Host header names this machine's loopback.

    Without it any web page could read the store: its server's name is pointed at 127.0.0.1
    after it was loaded (DNS rebinding), and the browser then takes us for that server.
    """

    def _judge(self, headers: Headers) -> RefusedError | None:
        hosts = headers.getlist("host")  # of two, a proxy or a cache may have believed the other
        if len(hosts) == 1 and is_loopback_host(_without_port(hosts[0])):
            return None
        return RefusedError(
            403,
            "the one Host header must name localhost; to serve other hosts give --host and --token",
        )


class TokenGate(_Gate):
    """Lets a request in only with ``Authorization: Bearer <token>``."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        super().__init__(app)
        self._token = token.encode()

    def _judge(self, headers: Headers) -> RefusedError | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_owner = secrets.compare_digest(given.strip().encode(), self._token)
        if is_owner and scheme.lower() == "bearer":
            return None
        return RefusedError(
            401,
            "send the token of this view: Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _without_port(host: str) -> str:
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdecimal() and (head.endswith("]") or ":" not in head) else host
