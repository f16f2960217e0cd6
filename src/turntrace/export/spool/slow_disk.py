"""What happens to writes while the disk is slow: a thread does them, and the app waits for none."""

from __future__ import annotations

import _thread
import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from turntrace.atomic_count import ticks
from turntrace.export.spool.direct_write import write_or_raise
from turntrace.export.spool.segment_file import Position
from turntrace.failsafe import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from turntrace.export.spool.direct_write import Write
    from turntrace.export.spool.segment_file import StartFrame
    from turntrace.record.span_record import SpanRecord

MAX_DELAYED_BYTES: Final = 16_000_000
_SLOW_SECONDS: Final = 0.005
_SLOW_IN_A_ROW: Final = 2
_QUICK_SECONDS: Final = 0.001
_QUICK_IN_A_ROW: Final = 100
_UNCLEAR_SECONDS: Final = 0.02
_ROUND_SECONDS: Final = 0.01
_IDLE_ROUNDS: Final = 100
_DELAYED: Final = Position("", 0, 0, 0)

_monotonic = time.monotonic


class Delayed(NamedTuple):
    """A frame that is to be written, and what it says."""

    frame: bytes
    scope: int
    """The highest number of a scope that it uses."""
    record: SpanRecord | None
    start: StartFrame | None = None


class SlowDisk:
    """A watchdog over the writes, and the queue and thread that take them over.

    Whoever notes two slow writes in a row starts the thread. It writes every 10 ms, with the GIL
    given up, and ends when the disk is quick again, or when nothing has come for a second.
    Nobody who appends waits.

    Args:
        append: Writes a frame with the given function; returns a position, or why it did not.
        direct: How frames are written when the disk is quick.
    """

    def __init__(
        self, append: Callable[[Delayed, Write], Position | str], direct: Callable[[], Write]
    ) -> None:
        self._append = append
        self._direct = direct
        self.write: Write = write_or_raise
        self.max_bytes = MAX_DELAYED_BYTES
        self.is_slow = False
        """Whether frames are to be given to `put`."""
        self._queue: deque[Delayed] = deque()
        self._queued_bytes = 0  # about; the thread corrects it
        self._queued = itertools.count()
        self._settled = itertools.count()
        self._dropped = itertools.count()
        self._runs = _thread.allocate_lock()  # held by the thread; only ever tried
        self._slow_in_a_row = 0
        self._quick_in_a_row = 0
        self._may_have_waited = False

    def note(self, took_seconds: float) -> bool:
        """Hear how long a write took; return whether the disk is slow."""
        if took_seconds <= _SLOW_SECONDS:
            self._slow_in_a_row = 0
            return self.is_slow
        self._slow_in_a_row += 1
        if self._slow_in_a_row >= _SLOW_IN_A_ROW and not self.is_slow:
            self._quick_in_a_row = self._slow_in_a_row = 0
            self.is_slow = True
            self._start()
        return self.is_slow

    def put(self, entry: Delayed) -> Position | str:
        """Take a frame to be written later; return a reason if there are too many."""
        size = len(entry.frame)
        if self._queued_bytes + size > self.max_bytes:
            return "slow_disk"
        self._queued_bytes += size
        if entry.start is None:
            next(self._queued)
        self._queue.append(entry)
        self._start()
        return _DELAYED

    def _start(self) -> None:
        if not self._runs.acquire(blocking=False):
            return
        try:
            # Not threading.Thread: that waits until the new one runs, and takes locks.
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # no further thread, or the interpreter is at its end
            self.is_slow = False
            self._runs.release()
            self._drain()

    def _run(self) -> None:
        while True:
            idle_rounds = 0
            while self.is_slow or self._queue:
                time.sleep(_ROUND_SECONDS)
                idle_rounds = 0 if self._queue else idle_rounds + 1
                if idle_rounds > _IDLE_ROUNDS:
                    self.is_slow = False
                with Guarded("slow disk"):
                    self._drain()
            self._runs.release()
            # Somebody may have come between the last look and the release.
            if not self._queue or not self._runs.acquire(blocking=False):
                return

    def _drain(self) -> None:
        """Write what waits, until that is not possible."""
        while True:
            try:
                entry = self._queue.popleft()
            except IndexError:
                self._queued_bytes = 0
                return
            at = self._append(entry, self._write_timed)
            if isinstance(at, str) and at != "closed":
                self._queue.appendleft(entry)
                return
            self._settle(entry, is_written=not isinstance(at, str))

    def _settle(self, entry: Delayed, *, is_written: bool) -> None:
        self._queued_bytes = max(0, self._queued_bytes - len(entry.frame))
        if entry.start is None:
            next(self._settled)
            if not is_written:
                next(self._dropped)

    def _write_timed(self, descriptor: int, frame: bytes, size: int) -> int:
        write = self._direct() if self._may_have_waited else self.write
        started = _monotonic()
        written = write(descriptor, frame, size)
        took_seconds = _monotonic() - started
        is_quick = took_seconds < _QUICK_SECONDS
        # Who gives up the GIL may wait for it longer than for the disk: the next one keeps it.
        is_unclear = not is_quick and took_seconds < _UNCLEAR_SECONDS
        self._may_have_waited = is_unclear and not self._may_have_waited
        if is_quick:
            self._quick_in_a_row += 1
        elif not self._may_have_waited:
            self._quick_in_a_row = 0
        if self._quick_in_a_row >= _QUICK_IN_A_ROW:
            self.is_slow = False
        return write_or_raise(descriptor, frame, size) if written < 0 else written

    def close(self, timeout_seconds: float) -> None:
        """Wait until what is queued is written, for so long at most; then drop the rest."""
        until = _monotonic() + timeout_seconds
        while self.draining() > 0 and _monotonic() < until:
            time.sleep(_ROUND_SECONDS / 10)
        self.is_slow = False
        while self._queue:
            try:
                entry = self._queue.popleft()
            except IndexError:  # the thread was quicker
                return
            self._settle(entry, is_written=False)

    def delayed(self) -> int:
        """Return how many spans were ever put here."""
        return ticks(self._queued)

    def settled(self) -> int:
        """Return how many of them are written or dropped."""
        return ticks(self._settled)

    def draining(self) -> int:
        """Return how many of them are neither written nor dropped."""
        settled = ticks(self._settled)
        return ticks(self._queued) - settled

    def dropped(self) -> int:
        """Return how many were given up, because the spool was closed."""
        return ticks(self._dropped)
