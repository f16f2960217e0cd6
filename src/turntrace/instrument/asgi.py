"""HTTP server spans for FastAPI, Starlette and any ASGI app, one per request."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode

from turntrace import attributes as keys
from turntrace.conversation import bind
from turntrace.failsafe import Guarded
from turntrace.instrument.patch import Patches
from turntrace.record.context import TURN_KEY, attach, detach, with_span
from turntrace.record.failure import failed
from turntrace.record.span import Span
from turntrace.record.turn_summary import CANCELLED, ERROR, TurnSummary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE = "turntrace.asgi"

_SEEN = "turntrace.http"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SERVER_ERROR = 500


class AsgiMiddleware:
    """Traces any ASGI app: ``app = AsgiMiddleware(app)``. Starlette and FastAPI need none.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> traced = AsgiMiddleware(app)
    """

    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app below a span of its own."""
        await trace_request(self.app, scope, receive, send)


async def trace_request(app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run ``app`` for one request below a SERVER span; pass through what is no HTTP request."""
    if scope["type"] != "http" or _SEEN in scope:
        await app(scope, receive, send)
        return
    scope[_SEEN] = None
    request = None
    with Guarded("the start of an HTTP span"):
        request = _Request(scope)
    if request is None:
        await app(scope, receive, send)
        return
    scope[_SEEN] = request
    try:
        await app(scope, receive, request.sender(send))
    except Exception as error:
        request.failed(error)
        raise
    except BaseException:
        request.summary.outcome = CANCELLED
        raise
    finally:
        with Guarded("the end of an HTTP span"):
            request.end()


def leave_out(scope: object) -> None:
    """Drop the span of the request that ``scope`` belongs to, if it has one of ours."""
    request = scope.get(_SEEN) if isinstance(scope, dict) else None
    if isinstance(request, _Request):
        request.is_left_out = True


class _Request:
    """One request while it is being answered."""

    __slots__ = (
        "answered_ns",
        "is_left_out",
        "method",
        "mount",
        "now_ns",
        "prefix",
        "root",
        "scope",
        "sent_bytes",
        "span",
        "status",
        "summary",
        "token",
    )

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.is_left_out = False
        self.mount: object = None
        self.prefix = ""
        self.root = scope.get("root_path", "")
        self.status = 0
        self.sent_bytes = 0
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name = raw_name.decode("latin-1")
            value = raw_value.decode("latin-1")
            # Fields of one name are one list (RFC 9110, 5.3): two traceparents are none.
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        method = scope["method"]
        self.method = method if method in keys.HTTP_METHODS else "_OTHER"
        context = propagate.extract(headers, Context())
        self.span = trace.get_tracer(SCOPE).start_span(
            self.method if self.method != "_OTHER" else "HTTP",
            context,
            SpanKind.SERVER,
            self._first_attributes(headers),
        )
        provider = self.span.provider if isinstance(self.span, Span) else None
        self.now_ns: Callable[[], int] = time.time_ns if provider is None else provider.now_ns
        self.answered_ns: int | None = None
        self.summary = TurnSummary(self.span)
        self.token = attach(Context({**with_span(self.span, context), TURN_KEY: self.summary}))
        request_id = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
        if _REQUEST_ID.fullmatch(request_id):
            bind(request_id=request_id.decode("ascii"))

    def _first_attributes(self, headers: dict[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {
            keys.HTTP_REQUEST_METHOD: self.method,
            keys.HTTP_METHOD: self.method,
            keys.URL_SCHEME: "https" if self.scope.get("scheme") == "https" else "http",
        }
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and len(length) < 16:  # noqa: PLR2004 - a petabyte
            values[keys.HTTP_REQUEST_BODY_SIZE] = int(length)
            values[keys.HTTP_REQUEST_BODY_SIZE_ORIGINAL] = int(length)
        return values

    def sender(self, send: Send) -> Send:
        """Return ``send`` that also notes status and size."""

        async def noting(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                self.status = message.get("status", 0)
            elif kind == "http.response.body":
                self.sent_bytes += len(message.get("body") or b"")
            await send(message)
            if kind == "http.response.body" and not message.get("more_body"):
                self.answered_ns = self.now_ns()

        return noting

    def failed(self, error: Exception) -> None:
        """Note an exception that the app let out."""
        self.summary.outcome = ERROR
        with Guarded("the failure of an HTTP span"):
            failed(self.span, error)

    def mounted(self, mount: Any) -> None:
        """Note that the request goes on below ``mount``: the template, not what stood there."""
        self.mount = mount
        self.prefix += mount.path_format.removesuffix("/{path}")

    def end(self) -> None:
        """Give the span its route and status and end it."""
        detach(self.token)
        span = self.span
        if self.is_left_out:
            if isinstance(span, Span):
                # Started, and never to end: nothing may wait for it.
                span.local_trace.open_spans.pop(span.span_id, None)
            return
        values: dict[str, Any] = {
            keys.HTTP_RESPONSE_BODY_SIZE: self.sent_bytes,
            keys.HTTP_RESPONSE_BODY_SIZE_ORIGINAL: self.sent_bytes,
        }
        if self.status:
            values[keys.HTTP_RESPONSE_STATUS_CODE] = self.status
            values[keys.HTTP_STATUS_CODE] = self.status
            if self.status >= _SERVER_ERROR:
                self.summary.outcome = ERROR
                span.set_status(StatusCode.ERROR)
                if not _has_error_type(span):
                    values[keys.ERROR_TYPE] = str(self.status)
        route = self._route()
        if route is not None:
            values[keys.HTTP_ROUTE] = route
            span.update_name(f"{self.method if self.method != '_OTHER' else 'HTTP'} {route}")
        if self.summary.model_calls:
            values.update(self.summary.attributes())
        span.set_attributes(values)
        # Background tasks run on after the answer; they are not what the client waited for.
        span.end(self.answered_ns)

    def _route(self) -> str | None:
        """Return the template of the route that answered, never the path that was asked for."""
        scope = self.scope
        route = scope.get("route")
        path = getattr(route, "path_format", None) or getattr(route, "path", None)
        if route is None and self.mount is not None:
            path = "/{path}"  # FastAPI leaves no route for a mount
        elif route is None:
            # Starlette before 1.0 leaves only the endpoint.
            endpoint = scope.get("endpoint")
            if endpoint is None:
                return None
            routes = getattr(scope.get("app"), "routes", ())
            path = next((r.path for r in routes if getattr(r, "endpoint", None) is endpoint), None)
        elif route is self.mount:
            path = "/{path}"
        else:
            # FastAPI (0.165 on) keeps the prefix of an included router beside the route.
            effective = (scope.get("fastapi") or {}).get("effective_route_context")
            if effective is not None and effective.original_route is route:
                path = effective.path_format
        if not isinstance(path, str):
            return None
        return f"{self._constant_root()}{self.prefix}{path}"

    def _constant_root(self) -> str:
        """Return the root path if it is the app's own: a dispatcher may put a path's part there."""
        return self.root if self.root == getattr(self.scope.get("app"), "root_path", "") else ""


def _has_error_type(span: trace.Span) -> bool:
    return keys.ERROR_TYPE in (getattr(span, "attributes", None) or {})


class _AsgiInstrumentation:
    """Hooks ``Starlette.__call__``, which FastAPI inherits, and silences FastAPI's own spans."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._silenced: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    def instrument(self) -> None:
        from starlette.applications import Starlette
        from starlette.routing import Mount

        # No coroutine functions: uvicorn calls an app without arguments and takes it for a
        # factory unless that raises a TypeError at once.
        def call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Awaitable[None]:
            scope, receive, send = _call_arguments(*args, **kwargs)
            return trace_request(wrapped, scope, receive, send)

        async def handle(wrapped: Any, mount: Any, args: Any, kwargs: Any) -> None:
            with Guarded("the route of a mounted app"):
                request = args[0].get(_SEEN)
                if isinstance(request, _Request):
                    request.mounted(mount)
            await wrapped(*args, **kwargs)

        self._patches.wrap(Starlette, "__call__", call)
        self._patches.wrap(Mount, "handle", handle)
        try:
            from fastapi import FastAPI
        except ImportError:
            return

        def fastapi_call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            with Guarded("silencing FastAPI's own spans"):
                self._silence(instance)
            return wrapped(*args, **kwargs)

        self._patches.wrap(FastAPI, "__call__", fastapi_call)

    def _silence(self, app: Any) -> None:
        """Turn off FastAPI's own spans (0.165 on: four a request, one for a whole websocket)."""
        if app in self._silenced:
            return
        config = getattr(app, "_telemetry", None)
        if isinstance(config, dict) and config.get("tracer_provider") is None:
            self._silenced[app] = bool(config.get("tracing"))
            config["tracing"] = False

    def uninstrument(self) -> None:
        self._patches.undo()
        for app, had_tracing in list(self._silenced.items()):
            app._telemetry["tracing"] = had_tracing  # noqa: SLF001 - put back what stood there
        self._silenced.clear()


def _call_arguments(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, Receive, Send]:
    return scope, receive, send


INSTRUMENTATION = _AsgiInstrumentation()
