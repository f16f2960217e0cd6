"""CLIENT spans and ``traceparent`` for calls through httpx, sync and async."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turntrace.instrument.http_client import Call, take_back
from turntrace.instrument.patch import Patches

if TYPE_CHECKING:
    from collections.abc import Callable


class _HttpxInstrumentation:
    """Hooks ``Client.send`` and ``AsyncClient.send``: one span a request, redirects included."""

    def __init__(self) -> None:
        self._patches = Patches()

    def instrument(self) -> None:
        import httpx

        def send(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            call = _started(*args, **kwargs)
            if call is None:
                return wrapped(*args, **kwargs)
            with call:
                response = wrapped(*args, **kwargs)
                call.answered(response.status_code)
                return response

        async def async_send(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            call = _started(*args, **kwargs)
            if call is None:
                return await wrapped(*args, **kwargs)
            with call:
                response = await wrapped(*args, **kwargs)
                call.answered(response.status_code)
                return response

        def redirect_headers(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            headers = wrapped(*args, **kwargs)
            if len(args) > 1:  # request, url, method, as httpx passes them
                take_back(args[1].host, headers)
            return headers

        self._patches.wrap(httpx.Client, "send", send)
        self._patches.wrap(httpx.AsyncClient, "send", async_send)
        for client in (httpx.Client, httpx.AsyncClient):
            if hasattr(client, "_redirect_headers"):
                self._patches.wrap(client, "_redirect_headers", redirect_headers)

    def uninstrument(self) -> None:
        self._patches.undo()


def _started(request: Any = None, **_: Any) -> Call | None:
    if request is None:
        return None
    url = request.url
    setter: Callable[[str, str], None] = request.headers.__setitem__
    return Call.start(request.method, url.host, url.port, setter)


INSTRUMENTATION = _HttpxInstrumentation()
