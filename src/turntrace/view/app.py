"""The view as one ASGI app: gates, then routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from turntrace.errors import StoreError
from turntrace.view.api import TraceApi
from turntrace.view.body import BodyLimits
from turntrace.view.gate import HostGate, TokenGate
from turntrace.view.headers import SecurityHeaders
from turntrace.view.live import Live
from turntrace.view.live_stream import LiveApi
from turntrace.view.pages import Pages
from turntrace.view.receiver import Receiver
from turntrace.view.refusal import refusal
from turntrace.view.static_files import StaticFiles
from turntrace.view.turn_api import TurnApi
from turntrace.view.turns_api import TurnsApi

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from turntrace.store.contract import TraceStore

_OTHER_SIGNALS = {"/v1/metrics": "metrics", "/v1/logs": "logs"}


def build_app(
    store: TraceStore,
    *,
    token: str | None = None,
    is_loopback: bool = True,
    limits: BodyLimits | None = None,
    keep_requests: Path | None = None,
) -> Starlette:
    """Return the app over a store, which stays the property of the caller.

    Args:
        store: where spans go and come from.
        token: what every request must carry; none is asked for without it.
        is_loopback: serve only requests whose Host header names this machine's loopback.
        limits: how much of a request is read.
        keep_requests: an existing directory that gets every body received.
    """
    live = Live(store)
    static = StaticFiles()
    gates = [Middleware(SecurityHeaders)]
    if is_loopback:
        gates.append(Middleware(HostGate))
    if token is not None:
        gates.append(Middleware(TokenGate, token=token, static=static))
    receiver = Receiver(
        store,
        limits=limits or BodyLimits(),
        keep_requests=keep_requests,
        on_stored=live.on_stored,
    )
    pages = Pages(store, static, has_token=token is not None)
    app = Starlette(
        routes=_routes(store, receiver, live, static, pages),
        middleware=gates,
        exception_handlers={
            HTTPException: _refuse_http,
            StoreError: _refuse_store,
            Exception: _refuse_internal,
        },
    )
    app.router.redirect_slashes = False  # exporters follow no redirect
    app.state.live = live
    return app


def _routes(
    store: TraceStore, receiver: Receiver, live: Live, static: StaticFiles, pages: Pages
) -> list[Route]:
    traces, turns, turn = TraceApi(store), TurnsApi(store, live), TurnApi(store)
    answers = {
        "/": pages.turns,
        "/turns/{trace_id}": pages.turn,
        "/static/{path:path}": static.serve,
        "/api/traces": traces.recent,
        "/api/traces/{trace_id}": traces.trace,
        "/api/turns": turns.turns,
        "/api/turns/{trace_id}": turn.turn,
        "/api/live": LiveApi(live).stream,
        "/api/health": traces.health,
    }
    return [
        Route("/v1/traces", receiver.receive, methods=["POST"]),
        *(Route(path, answer, methods=["GET"]) for path, answer in answers.items()),
    ]


def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this type
    message = error.detail
    if signal := _OTHER_SIGNALS.get(request.url.path):
        message = f"turntrace view takes traces only: set OTEL_{signal.upper()}_EXPORTER=none"
    return _refuse(request, error.status_code, message, dict(error.headers or {}))


def _refuse_store(request: Request, error: Exception) -> Response:
    return _refuse(request, 503, str(error), {"Retry-After": "5"})


def _refuse_internal(request: Request, error: Exception) -> Response:
    # Starlette raises the error again, for the server to log; the server then closes the
    # connection, which a client must know before it sends its next request into it.
    message = f"internal error: {type(error).__name__}"
    return _refuse(request, 500, message, {"Connection": "close"})


def _refuse(request: Request, status: int, message: str, headers: dict[str, str]) -> Response:
    content_type = request.headers.get("content-type", "")
    return refusal(request.url.path, content_type, status, message, headers)
