"""An event loop in a thread, for servers that a test talks to from its own."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

START_SECONDS: Final = 30.0
_PARTING_SECONDS: Final = 2.0


class Loop:
    """An event loop in a thread, for servers that a test talks to from its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Any) -> Any:
        """Run a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_SECONDS)

    def call(self, work: Callable[[], Any]) -> Any:
        """Call ``work`` in the loop and return what it returns."""

        async def run() -> Any:
            return work()

        return self.run(run())

    def close(self, *, is_tls: bool = False) -> None:
        async def end_all() -> None:
            deadline = time.monotonic() + _PARTING_SECONDS
            # Handshakes first: asyncio does not close what is cancelled in one.
            while len(self.loop._selector.get_map()) > 1 and time.monotonic() < deadline:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.002)
            for _ in range(5):
                await asyncio.sleep(0)  # what aborted connections have left to be called
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)

        self.run(end_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        if is_tls:  # asyncio forgets to close the transport of some handshakes that fail
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
