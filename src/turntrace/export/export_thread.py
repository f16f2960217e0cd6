"""The one background thread of an exporter: started when needed, from wherever that is noticed."""

from __future__ import annotations

import _thread
import queue
import threading
import time
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context

from turntrace.failsafe import swallowed

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE_SECONDS: Final = 1.0
_MAX_WAIT_SECONDS: Final = 86_400.0


class ExportThread:
    """Runs ``work`` until ``is_over``; a bug of ours costs a pause, not the spans, nor the app.

    Args:
        work: Called again when it returns or raises.
        is_over: Whether the thread is to end instead.
        finish: Called in the thread at its end, when `is_running` says so already.
    """

    def __init__(
        self, work: Callable[[], None], is_over: Callable[[], bool], finish: Callable[[], None]
    ) -> None:
        self._work = work
        self._is_over = is_over
        self._finish = finish
        self._is_started = _thread.allocate_lock()
        self._is_done: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ensure(self) -> bool:
        """Start the thread unless it runs; return whether this call did.

        Callable from a signal handler and from ``__del__``: it waits for no lock.
        """
        if not self._is_started.acquire(blocking=False):
            return False
        try:
            _thread.start_new_thread(self._start, ())
        except RuntimeError:  # no thread can be had, or the interpreter is going away
            self._is_started.release()
            return False
        return True

    def is_running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self._is_started.locked()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end of a thread that was told to end; False if it takes longer."""
        try:
            self._is_done.get(timeout=timeout_seconds)
        except queue.Empty:
            return False
        return True

    def _start(self) -> None:
        """Start the real thread, from one that nobody waits for.

        `threading.Thread.start` takes locks that the code which a signal handler or ``__del__``
        interrupted may hold; here, that code goes on and releases them.
        """
        try:
            threading.Thread(target=self._run, name="turntrace-export", daemon=True).start()
        except RuntimeError:  # as above
            self._is_started.release()

    def _run(self) -> None:
        token = otel_context.attach(_without_instrumentation())
        try:
            while not self._is_over():
                try:
                    self._work()
                except Exception as error:  # noqa: BLE001 - nothing may reach the app
                    swallowed("the export thread", error)
                    time.sleep(_PAUSE_SECONDS)
        finally:
            otel_context.detach(token)
            self._is_started.release()
            self._finish()
            self._is_done.put(None)


def _without_instrumentation() -> otel_context.Context:
    """Return a context in which other instrumentations make no spans of our requests."""
    context = otel_context.set_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY, True)  # noqa: SLF001 - no public name yet
    return otel_context.set_value(otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context)  # noqa: SLF001 - as above


def bounded(timeout_seconds: object, default: float) -> float:
    """Return a time that can be waited for; what is no number is the default, as nothing raises."""
    if not isinstance(timeout_seconds, (int, float)) or timeout_seconds != timeout_seconds:  # noqa: PLR0124 - NaN
        return default
    return float(min(max(0, timeout_seconds), _MAX_WAIT_SECONDS))
