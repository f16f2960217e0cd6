"""The export thread of an app that only writes: lets go of what is on disk, for another to send."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from turntrace.export.overflow import Overflow
    from turntrace.export.sender import Flush
    from turntrace.export.spool.spool import Spool

_SHORTEST_SECONDS: Final = 0.1


class Writer(Protocol):
    """Whose spans they are."""

    @property
    def wishes(self) -> queue.SimpleQueue[Flush | None]:
        """Where a `Flush`, or None for a mere wake-up, arrives."""
        ...

    def arm(self, *, is_busy: bool) -> bool:
        """Ask for a wake-up at the next full segment; False: it is time to end."""
        ...

    def tend(self) -> None:
        """Do what has to be done now and then."""
        ...


class Handover:
    """One run of the export thread of a process that sends nothing itself.

    A directory whose lock nobody holds is taken by ``turntrace spool ship``, as a dead process's
    would be: to let go of the lock is to hand over.
    """

    def __init__(
        self, writer: Writer, spool: Spool, memory: Overflow, delay_seconds: float
    ) -> None:
        self._writer = writer
        self._spool = spool
        self._memory = memory
        self._delay_seconds = delay_seconds

    def work(self) -> None:
        """Let go at least every ``delay_seconds``, and at each flush, until it is time to end."""
        last = 0.0
        while self._writer.arm(is_busy=False):
            flushes = self._hear_wishes(self._delay_seconds)
            pause_seconds = last + _SHORTEST_SECONDS - time.monotonic()
            if pause_seconds > 0 and not flushes:  # a flood: no directory for each segment
                flushes = self._hear_wishes(pause_seconds)
            self._write_what_waits()
            self._spool.let_go()
            self._writer.tend()
            last = time.monotonic()
            for flush in flushes:
                _, in_memory = flush.mark
                if self._memory.settled >= in_memory:  # else the caller's time runs out
                    flush.done.put(True)

    def _hear_wishes(self, wait_seconds: float) -> list[Flush]:
        """Wait for the first wish, then take all there are."""
        flushes: list[Flush] = []
        wishes = self._writer.wishes
        try:
            wish = wishes.get(timeout=wait_seconds)
            while True:
                if wish is not None:
                    flushes.append(wish)
                wish = wishes.get_nowait()
        except queue.Empty:
            return flushes

    def _write_what_waits(self) -> None:
        """Try again to write what the disk did not take."""
        while self._memory:
            record = self._memory.first()
            if record is None or self._spool.append(record) is None:
                return
            self._memory.moved += 1
            self._memory.settle(1)
