"""Delivers what has ended when uvicorn stops: it ends by the signal, so nothing runs at exit."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import wrapt

from turntrace import pipeline
from turntrace.failsafe import Guarded
from turntrace.instrument.patch import Patches

FLUSH_SECONDS: Final = 1.9
"""The most that a shutdown takes longer for it."""

_patches = Patches()
_hooked: list[Any] = []


def flush_when_uvicorn_stops() -> None:
    """Flush at the end of ``uvicorn.Server.shutdown``, when the app's own shutdown is over.

    uvicorn restores the signal's default action then and raises the signal again. No handler is
    installed, so exit codes and signals stay the app's. gunicorn's uvicorn worker runs the same
    server. Asking twice changes nothing; uvicorn itself is not imported for it.
    """
    if not _hooked:
        _hooked.append(None)
        wrapt.register_post_import_hook(_hook, "uvicorn.server")


def _hook(module: Any) -> None:
    with Guarded("the hook on uvicorn's shutdown"):
        _patches.wrap(module.Server, "shutdown", _shutdown)


async def _shutdown(wrapped: Any, _server: Any, args: Any, kwargs: Any) -> Any:
    result = await wrapped(*args, **kwargs)
    with Guarded("the flush at uvicorn's shutdown"):
        await asyncio.sleep(0)  # tasks that were cancelled end their spans first
        telemetry = pipeline.running()
        if telemetry is not None and telemetry.settings.enabled:
            loop = asyncio.get_running_loop()
            # Not the loop's own executor: the app may have filled that.
            with ThreadPoolExecutor(1, "turntrace-flush") as executor:
                await loop.run_in_executor(executor, telemetry.force_flush, FLUSH_SECONDS)
    return result
