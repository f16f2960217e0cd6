"""CLIENT spans and ``traceparent`` for calls through aiohttp's client."""

from __future__ import annotations

from typing import Any

from turntrace.instrument.http_client import Call, take_back
from turntrace.instrument.patch import Patches


class _AiohttpInstrumentation:
    """Hooks ``ClientSession._request``, which every method of a session ends in."""

    def __init__(self) -> None:
        self._patches = Patches()

    def instrument(self) -> None:
        import aiohttp
        from multidict import CIMultiDict
        from yarl import URL

        async def request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            if len(args) < 2:  # noqa: PLR2004 - method and URL, as every caller in aiohttp passes them
                return await wrapped(*args, **kwargs)
            method, target = args[0], args[1]
            try:
                base = instance._base_url  # noqa: SLF001 - a relative URL is resolved against it
                url = URL(target) if base is None else base.join(URL(target))
                headers: Any = CIMultiDict(kwargs.get("headers") or {})
                call = Call.start(str(method).upper(), url.host, url.port, headers.__setitem__)
            except (TypeError, ValueError):
                return await wrapped(*args, **kwargs)  # aiohttp words the error better
            if call is None:
                return await wrapped(*args, **kwargs)
            kwargs["headers"] = headers
            with call:
                response = await wrapped(*args, **kwargs)
                call.answered(response.status)
                return response

        async def send(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            # Each redirect is a request of its own, with the headers of the first.
            take_back(instance.url.host, instance.headers)
            return await wrapped(*args, **kwargs)

        self._patches.wrap(aiohttp.ClientSession, "_request", request)
        self._patches.wrap(aiohttp.ClientRequest, "send", send)

    def uninstrument(self) -> None:
        self._patches.undo()


INSTRUMENTATION = _AiohttpInstrumentation()
