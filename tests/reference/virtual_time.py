"""An event loop whose clock jumps to the next thing that is due: tests of limits take no time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Waits for nothing: where it would, the time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._ready_files = self._selector.select
        self._selector.select = self._select

    def time(self) -> float:
        return self._seconds

    def _select(self, timeout: float | None) -> list[Any]:
        found = self._ready_files(0)
        if not found:
            assert timeout is not None, "everything waits and nothing is due"
            self._seconds += timeout
        return found


def in_virtual_time(body: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a test of a coroutine function that runs in virtual time."""

    def test() -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(body())

    test.__name__ = body.__name__
    test.__module__ = body.__module__
    return test


def now() -> float:
    """Return the seconds that have passed."""
    return asyncio.get_running_loop().time()
