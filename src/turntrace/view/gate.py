"""Who may talk to the view: nobody through a rebound name, and with a token only its owners."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, Response

from turntrace.view.pages import make_templates
from turntrace.view.refusal import RefusedError, refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from turntrace.view.static_files import StaticFiles


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
        verdict = self._judge(headers, scope)
        if verdict is None:
            await self._app(scope, receive, send)
            return
        content_type = headers.get("content-type", "")
        response = refusal(
            scope["path"], content_type, verdict.status, str(verdict), verdict.headers
        )
        await response(scope, receive, send)

    @abstractmethod
    def _judge(self, headers: Headers, scope: Scope) -> RefusedError | None:
        """Return why the request is turned away, or None."""


class HostGate(_Gate):
    """Lets a request in only if its Host header names this machine's loopback.

    Without it any web page could read the store: its server's name is pointed at 127.0.0.1
    after it was loaded (DNS rebinding), and the browser then takes us for that server.
    """

    def _judge(self, headers: Headers, scope: Scope) -> RefusedError | None:  # noqa: ARG002 - a gate's signature
        hosts = headers.getlist("host")  # of two, a proxy or a cache may have believed the other
        if len(hosts) == 1 and is_loopback_host(_without_port(hosts[0])):
            return None
        return RefusedError(
            403,
            "the one Host header must name localhost; to serve other hosts give --host and --token",
        )


class TokenGate(_Gate):
    """Lets a request in only with ``Authorization: Bearer <token>``, or a browser with its cookie.

    A browser can set no header on a page or an event stream. It gets the cookie for a page opened
    with ``?token=`` once, and is sent on to the same page without. The cookie is made from the
    token, is sent by no other site (``SameSite=Strict``), is out of reach of scripts, and opens
    nothing that writes.
    """

    def __init__(self, app: ASGIApp, token: str, static: StaticFiles) -> None:
        super().__init__(app)
        self._token = token.encode()
        self._cookie = hmac.digest(self._token, b"turntrace view, cookie", "sha256").hex()
        self._asking = make_templates(static).get_template("token.html")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser that has no cookie yet; leave everything else to the headers."""
        is_get = scope["type"] == "http" and scope["method"] == "GET"
        response = None
        if is_get and scope["path"].startswith("/static/"):  # everybody's; the token page needs it
            response = self._app
        elif is_get and not scope["path"].startswith(("/api/", "/v1/")):
            response = self._welcome(Request(scope))
        await (response or super().__call__)(scope, receive, send)

    def _welcome(self, request: Request) -> Response | None:
        if (given := request.query_params.get("token")) is not None and self._is_token(given):
            others = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
            query = f"?{urlencode(others)}" if others else ""
            # One slash only: a path of two would send the browser to another server.
            path = "/" + quote(request.url.path.lstrip("/\\"), safe="/")
            response = Response(status_code=303, headers={"Location": path + query})
            response.set_cookie(
                _cookie_name(request.scope), self._cookie, httponly=True, samesite="strict"
            )
            return response
        is_page = "text/html" in request.headers.get("accept", "")
        if not is_page or self._judge(request.headers, request.scope) is None:
            return None
        text = self._asking.render(page="token", is_wrong=given is not None)
        return HTMLResponse(text, 401, {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"})

    def _judge(self, headers: Headers, scope: Scope) -> RefusedError | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return None
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            cookie = cookie_parser(headers.get("cookie", "")).get(_cookie_name(scope), "")
            if secrets.compare_digest(cookie.encode(), self._cookie.encode()):
                return None
        return RefusedError(
            401,
            "send the token of this view: Authorization: Bearer TOKEN; in a browser open a page"
            " with ?token=TOKEN once",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token)


def _cookie_name(scope: Scope) -> str:
    """Two views on one machine differ by port only, which cookies do not see."""
    server = scope.get("server")
    return f"turntrace-{server[1] if server else 0}"


def _without_port(host: str) -> str:
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdecimal() and (head.endswith("]") or ":" not in head) else host
