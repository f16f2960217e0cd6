"""SIGTERM, SIGINT and SIGQUIT, taken in front of the server's own handlers.

On a signal uvicorn hangs up every websocket first, a turn that streams over it included, then
waits for open requests as long as they like, and only then lets the lifespan close things; while
the lifespan starts it only takes a note. So these handlers, put in front of uvicorn's before
anything is opened, give up a start or let turns finish and then hand the signal on: alike under
`python -m renovation`, `uvicorn renovation.app:app` and its workers.
"""

import asyncio
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

from renovation.shutdown import Shutdown

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

SAME_WISH_SECONDS = 1.0
"""Within it another signal is the same wish: at a terminal a worker gets its Ctrl-C twice, as
SIGINT from the terminal and as SIGTERM from the process that supervises it."""

_SPARE_SECONDS = 1.0  # after the shutdown's own bound, for the way to the interpreter's end

logger = logging.getLogger(__name__)


class Signals:
    """Begins the shutdown on the first signal and hurries it on a second one.

    What does not end in time is ended: by `leave` if only the server is left, by a thread if the
    event loop itself hangs; `last_act` (blocking, bounded by itself) is called there before.
    """

    def __init__(
        self,
        shutdown: Shutdown,
        *,
        last_act: Callable[[], object],
        leave: Callable[[], object] | None = None,
    ) -> None:
        self._shutdown = shutdown
        self._last_act = last_act
        self._leave = leave or _leave
        self._server_stopped = asyncio.Event()
        self._previous: dict[int, Any] = {}
        self._first: tuple[int, float] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._watchdog: _Watchdog | None = None
        self._is_watched = False

    def install(self) -> None:
        """Stand in front of the handlers that are there; only the main thread gets signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._loop = asyncio.get_running_loop()
        self._watchdog = _Watchdog(
            self._shutdown.bound_seconds + _SPARE_SECONDS, self._last_act, self._leave
        )
        for number in SIGNALS:
            # None is one not installed from Python: it cannot be handed on to, nor put back.
            if signal.getsignal(number) is not None:
                self._previous[number] = signal.signal(number, self._receive)
        if self._is_late():
            self._receive(signal.SIGTERM, None)

    def restore(self) -> None:
        """Step aside again; a process that could not close everything stays watched."""
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._receive:
                signal.signal(number, handler)
        if self._watchdog is not None and (not self._is_watched or self._shutdown.is_clean):
            self._watchdog.stand_down()

    def note_server_stopped(self) -> None:
        """Say that the server serves no more: it runs the end of the lifespan."""
        self._server_stopped.set()

    async def stop_server(self) -> None:
        """Hand the signal on to the server, unless it has stopped by itself, and wait for it."""
        if self._first is not None and not self._server_stopped.is_set():
            # uvicorn knows no SIGQUIT, and would raise it again at the end: with a core dump.
            number = self._first[0] if self._first[0] != signal.SIGQUIT else signal.SIGTERM
            handler = self._previous.get(number)
            if callable(handler):
                handler(number, None)
        await self._server_stopped.wait()

    def _is_late(self) -> bool:
        """Tell whether uvicorn has noted a signal that came before; it is ours from now on."""
        server = getattr(self._previous.get(signal.SIGTERM), "__self__", None)
        if not isinstance(server, uvicorn.Server) or not server.should_exit:
            return False
        server.should_exit = server.force_exit = False
        return True

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        # Between any two instructions of the main thread: no lock, no log line.
        if self._watchdog is not None and not self._is_watched:
            self._is_watched = True
            self._watchdog.start()
        with suppress(RuntimeError):  # the loop is closed: there is nothing left to end
            self._loop.call_soon_threadsafe(self._react, number)

    def _react(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._first is None:
            self._first = (number, self._loop.time())
            logger.info("Shutdown begins", extra={"signal": name})
            self._ending = self._loop.create_task(self._end())
        elif number == self._first[0] or self._loop.time() - self._first[1] > SAME_WISH_SECONDS:
            logger.warning("Shutdown hurries: a second signal", extra={"signal": name})
            self._shutdown.hurry()

    async def _end(self) -> None:
        await self._shutdown.close()
        if not self._server_stopped.is_set():
            logger.error("The server has not stopped; the process ends without it")
            self._leave()


class _Watchdog:
    """A thread that ends the process if nothing else does; `start` is safe in a signal handler."""

    def __init__(
        self, seconds: float, last_act: Callable[[], object], leave: Callable[[], object]
    ) -> None:
        self._seconds = seconds
        self._last_act = last_act
        self._leave = leave
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()  # its put() is reentrant
        threading.Thread(target=self._watch, name="shutdown-watchdog", daemon=True).start()

    def start(self) -> None:
        self._orders.put(True)

    def stand_down(self) -> None:
        self._orders.put(False)

    def _watch(self) -> None:
        if not self._orders.get():
            return
        try:
            self._orders.get(timeout=self._seconds)
        except queue.Empty:
            logger.critical("The shutdown hangs; the process ends without it")
            last = threading.Thread(target=self._last_act, daemon=True)
            last.start()
            last.join(self._seconds)
            self._leave()


def _leave() -> None:
    """End the process at once, as one that failed."""
    logging.shutdown()
    os._exit(1)
