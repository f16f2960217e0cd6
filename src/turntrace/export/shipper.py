"""Keeps finished spans until a collector has acknowledged them: on disk, else in bounded memory."""

from __future__ import annotations

import _thread
import itertools
import math
import queue
import threading
import time
import uuid
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from turntrace.atomic_count import ticks
from turntrace.attributes import SERVICE_INSTANCE_ID
from turntrace.errors import ConfigurationError
from turntrace.export.complaints import Complaints
from turntrace.export.export_thread import ExportThread, bounded
from turntrace.export.forking import restart_after_fork
from turntrace.export.handover import Handover
from turntrace.export.ledger import ExportCounts, Ledger
from turntrace.export.overflow import IN_MEMORY, Overflow
from turntrace.export.sender import Flush, Parcel, Sender
from turntrace.export.spool.counts import SpoolCounts
from turntrace.export.transport.http_transport import Fate, HttpTransport, Outcome
from turntrace.failsafe import swallowed
from turntrace.record.record_format import ResourceEntry
from turntrace.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from turntrace.export.spool.spool import Spool
    from turntrace.export.spool.stored_segment import SpooledSpan
    from turntrace.record.span_record import AttributeValue, SpanRecord

_GOODBYE_SECONDS: Final = 0.1
_TEND_SECONDS: Final = 1.0
_DEFAULTS: Final = Settings()
_NO_SPOOL: Final = SpoolCounts()


class Shipper:
    """A `SpanSink` that holds what it was given until a collector answered for it.

    A span leaves the spool, or the memory, only when its fate is known. One daemon thread, started
    by the first `offer` or by `start`, does all reading, encoding and network; a forked child
    starts with nothing: no span, no thread, and a ``service.instance.id`` of its own.

    Args:
        transport: The way to the collector; the shipper closes it. None: another process sends,
            and what is on disk is handed over to it; there must be a spool then.
        resource: What all spans have in common; must have passed the guard.
        spool: Where spans lie until they are acknowledged; the shipper closes it. None: in memory.
        max_queue_size: How many spans may wait in memory: those that the spool did not take. When
            full, the newest is dropped.
        max_batch_size: How many spans make a request; that many waiting are sent at once.
        schedule_delay_seconds: How long a span waits for company, at most.
        backoff_seconds: The first and the longest wait before a request is tried again; a
            ``Retry-After`` overrides it.
        adopt_seconds: How often to look for what dead processes have left; None: at the start.

    Raises:
        ConfigurationError: An argument cannot be used.

    Example:
        >>> transport = HttpTransport(
        ...     endpoint="http://localhost:4318/v1/traces",
        ...     headers={},
        ...     timeout_seconds=10.0,
        ...     compression="gzip",
        ... )
        >>> shipper = Shipper(transport=transport, resource={"service.name": "chat"})
        >>> shipper.shutdown(timeout_seconds=2.0)
        True
    """

    def __init__(
        self,
        *,
        transport: HttpTransport | None,
        resource: Mapping[str, AttributeValue],
        spool: Spool | None = None,
        max_queue_size: int = _DEFAULTS.max_queue_size,
        max_batch_size: int = _DEFAULTS.max_batch_size,
        schedule_delay_seconds: float = _DEFAULTS.schedule_delay_seconds,
        backoff_seconds: tuple[float, float] = (1.0, 30.0),
        adopt_seconds: float | None = 10.0,
    ) -> None:
        for name, value in (
            ("max_queue_size", max_queue_size),
            ("max_batch_size", max_batch_size),
            ("schedule_delay_seconds", schedule_delay_seconds),
        ):
            if not value > 0:
                raise ConfigurationError(f"{name} is {value!r}: use a number > 0")
        if transport is None and spool is None:
            raise ConfigurationError("transport and spool are both None: pass one of them")
        self._transport = transport
        self._resource = ResourceEntry(0, dict(resource))
        self.spool = spool
        self._append: Any = _refuse if spool is None else spool.append
        self._max_queue_size = max_queue_size
        self._batch_size = min(max_batch_size, max_queue_size)
        self._delay_seconds = schedule_delay_seconds
        self._backoff_seconds = backoff_seconds
        self._adopt_seconds = adopt_seconds
        self._complaints = Complaints(transport.display_name if transport else "the spool")
        self._is_closed = False
        self._shutdown_calls = itertools.count()
        self._shutdown_is_under_way = _thread.allocate_lock()
        self._shutdown_is_under_way.acquire()
        self._shutdown_thread = 0
        self._shutdown_result: bool | None = None
        self._has_waited = False
        self._given_up = itertools.count()
        self._heir: Callable[[SpanRecord], None] | None = None
        self._reset()
        restart_after_fork(self)

    def _reset(self) -> None:
        """Begin with nothing: no span, no thread, no lock that another thread might hold."""
        self._memory = Overflow(self._max_queue_size)
        self._ledger = Ledger()
        self._is_armed = False
        self._thread = ExportThread(self._work, lambda: self._is_abandoned, self._wind_up)
        self.wishes: queue.SimpleQueue[Flush | None] = queue.SimpleQueue()
        self._offered = itertools.count()
        self._late = itertools.count()
        self._losses_reported = 0
        self._is_abandoned = self._is_settling = False
        self._next_tending = self._next_adoption = 0.0

    # The app's side: any thread, signal handlers and __del__ included.

    def offer(self, record: SpanRecord) -> None:
        """Take ``record``; never raises (see `SpanSink.offer`). No lock: ``next`` is atomic."""
        next(self._offered)
        try:
            if self._append(record) is not None:
                return
        except Exception as error:  # noqa: BLE001 - perhaps the encoder can do more with it
            swallowed("the spool", error)
        self._offer_to_memory(record)

    def _offer_to_memory(self, record: SpanRecord) -> None:
        """Take ``record``; no lock that anybody else may hold for longer than an instruction."""
        if self._is_closed:
            next(self._late)
            if self._heir is not None:
                self._heir(record)
            return
        waiting = self._memory.add(record)
        self._thread.ensure()
        if self._is_armed and waiting >= self._batch_size:
            # Order matters: whoever silences the alarm then wakes the thread, which re-arms it.
            self._is_armed = False
            self.wishes.put(None)

    def on_segment(self) -> None:
        """Start the thread, or wake it if a full segment waits; the spool calls it."""
        if self._is_closed:
            return
        self._thread.ensure()
        if self._is_armed and self.spool is not None and self.spool.has_full_segment():
            self._is_armed = False
            self.wishes.put(None)

    def start(self) -> None:
        """Start the thread before there is a span to send: dead processes may have left some."""
        self._thread.ensure()

    def force_flush(self, timeout_seconds: float = 5.0) -> bool:
        """Send what waits, at once (see `SpanSink.force_flush`)."""
        deadline = time.monotonic() + bounded(timeout_seconds, 5.0)
        with self._ledger.lock:
            memory = self._memory
            mark = (self.spool.mark() if self.spool else (), memory.settled + len(memory))
            wish = Flush(mark, queue.SimpleQueue(), deadline)
        if not self.is_settled(wish) or self._is_settling:
            self._thread.ensure()
            self.wishes.put(wish)
            try:
                if not wish.done.get(timeout=max(0.0, deadline - time.monotonic())):
                    return False
            except queue.Empty:
                return False
        losses = self._count_losses()
        is_complete = losses == self._losses_reported
        self._losses_reported = losses
        return is_complete

    def shutdown(self, timeout_seconds: float = 2.0) -> bool:
        """Flush, then stop for good (see `SpanSink.shutdown`); 0.1 s late, on a slow disk 0.7 s."""
        wait_seconds = bounded(timeout_seconds, 2.0)
        if next(self._shutdown_calls) == 0:  # atomic: of all callers, one is the first
            self._shutdown_thread = threading.get_ident()
            try:
                self._shut_down(wait_seconds)
            finally:
                self._shutdown_is_under_way.release()
        elif (
            self._shutdown_result is None
            # A signal handler that interrupted the first call would wait for itself.
            and self._shutdown_thread != threading.get_ident()
            and self._shutdown_is_under_way.acquire(timeout=wait_seconds)
        ):
            self._shutdown_is_under_way.release()
        return bool(self._shutdown_result)

    def hand_over(self, heir: Callable[[SpanRecord], None]) -> None:
        """Stop and leave what is unsent to ``heir`` (see `SpanSink.hand_over`)."""
        self._heir, self._is_abandoned = heir, True
        self.shutdown(0.0)

    def _shut_down(self, timeout_seconds: float) -> None:
        self._is_closed = True
        result = self._heir is None and self.force_flush(timeout_seconds)
        self._is_abandoned = True
        if self._thread.is_running():
            self.wishes.put(None)
            self._hang_up()
            self._thread.wait(_GOODBYE_SECONDS)  # a daemon: at worst it ends with us
        self._has_waited = True
        self._wind_up()
        with self._ledger.lock:
            self._shutdown_result = not self._sweep() and result

    def _wind_up(self) -> None:
        """Give transport and spool up, when neither `shutdown` nor the thread needs them.

        Both call it at their end; who is last does it.
        """
        self._hang_up()
        if not self._has_waited or self._thread.is_running() or next(self._given_up):
            return
        if self.spool is not None:
            if self._heir is not None:
                self._bequeath(self.spool, self._heir)
            self.spool.close()

    def _bequeath(self, spool: Spool, heir: Callable[[SpanRecord], None]) -> None:
        """Give what lies in the spool to ``heir``; what dead processes left, it adopts itself."""
        spool.stop_writing()  # what still comes goes to the heir directly
        while found := spool.read_own():
            for span in found:
                heir(span.record)
            spool.acknowledge(found[-1].position)
            with self._ledger.lock:
                self._ledger.handed_over += len(found)

    def _sweep(self) -> int:
        """Give up what waits in memory; the caller holds the books."""
        count = 0
        while (record := self._memory.pop()) is not None:
            if self._heir is not None:
                self._heir(record)
                self._ledger.handed_over += 1
            else:
                self._ledger.dropped["shutdown"] += 1
            count += 1
        return count

    def counts(self) -> ExportCounts:
        """Return the books (see `SpanSink.counts`)."""
        with self._ledger.lock:
            if self._shutdown_result is not None:
                self._sweep()
            memory, ledger = self._memory, self._ledger
            waiting = len(memory)
            spool = self.spool.counts() if self.spool else _NO_SPOOL
            settled = spool.acknowledged + memory.settled - memory.moved
            late = ticks(self._late)
            given = late if self._heir is not None else 0
            # Counted at the door and read last: a span that got lost in here would show, and one
            # that another thread is handing over at this moment counts as offered.
            return ExportCounts(
                acknowledged=settled - ledger.not_acknowledged(),
                rejected=ledger.rejected,
                dropped=MappingProxyType(dict(self._count_dropped(spool))),
                waiting=waiting + spool.draining,
                on_disk=spool.unacknowledged,
                adopted=spool.adopted,
                handed_over=ledger.handed_over + spool.handed_over + given,
                offered=ticks(self._offered),
            )

    def _count_dropped(self, spool: SpoolCounts) -> Counter[str]:
        """Return what was dropped, by reason; the caller holds the books."""
        late = 0 if self._heir is not None else ticks(self._late)
        came_too_late = Counter({"queue_full": self._memory.dropped(), "shutdown": late})
        return +(self._ledger.dropped + came_too_late + Counter(spool.dropped))

    def _count_losses(self) -> int:
        with self._ledger.lock:
            spool = self.spool.counts() if self.spool else _NO_SPOOL
            return self._ledger.rejected + self._count_dropped(spool).total()

    def after_fork_in_child(self) -> None:
        """Begin with nothing, as an instance of its own."""
        attributes = self._resource.attributes
        if SERVICE_INSTANCE_ID in attributes:  # the child is an instance of its own
            attributes = {**attributes, SERVICE_INSTANCE_ID: str(uuid.uuid4())}
            self._resource = ResourceEntry(0, attributes)
        self._reset()
        if self._transport:
            self._transport.forget()
        if self.spool:
            self.spool.after_fork_in_child(attributes)
        if self._is_closed and self._shutdown_result is None:
            self._shutdown_result = True  # the parent's thread is busy with it; here is nothing

    # The export thread's side: a `Source`.

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _work(self) -> None:
        if self._transport is None:
            assert self.spool is not None  # noqa: S101 - looked at when it was made
            Handover(self, self.spool, self._memory, self._delay_seconds).work()
            return
        Sender(
            source=self,
            transport=self._transport,
            complaints=self._complaints,
            delay_seconds=self._delay_seconds,
            backoff_seconds=self._backoff_seconds,
        ).work()

    def arm(self, *, is_busy: bool) -> bool:
        """Ask for a wake-up at the next full batch unless busy (see `Source.arm`)."""
        self._is_armed = not is_busy
        return not self._is_abandoned

    def tend(self) -> None:
        """Keep the disk's bounds and look for what dead processes left (see `Source.tend`)."""
        spool, now = self.spool, time.monotonic()
        if now < self._next_tending:
            return
        self._next_tending = now + _TEND_SECONDS
        if spool is not None:
            if now >= self._next_adoption and self._transport is not None:
                seconds = self._adopt_seconds
                self._next_adoption = now + (math.inf if seconds is None else seconds)
                spool.adopt()
            spool.keep_bounds()
        with self._ledger.lock:
            dropped = self._count_dropped(spool.counts() if spool else _NO_SPOOL)
        self._complaints.hear_of_drops(dropped)

    def has_batch(self) -> bool:
        """Return whether a full segment, or as much in memory, waits."""
        spool = self.spool
        return len(self._memory) >= self._batch_size or (
            spool is not None and spool.has_full_segment()
        )

    def is_empty(self) -> bool:
        """Return whether nothing waits."""
        return not self._memory and (self.spool is None or self.spool.is_empty())

    def take(self, *, everything: bool) -> Sequence[SpooledSpan]:
        """Return the oldest spans, a batch at most (see `Source.take`)."""
        found: Sequence[SpooledSpan] = ()
        if self.spool:
            found = self.spool.read(self._batch_size, retire=everything)
            self.spool.prepare()
        return found or self._memory.oldest(self._batch_size, self._resource)

    def settle(self, parcel: Parcel, outcome: Outcome) -> None:
        """Take the parcel's spans out and write down what became of them."""
        last = parcel.spans[-1].position
        spool = self.spool
        if spool is not None and outcome.fate is Fate.TAKEN:
            spool.has_been_answered = True
        self._is_settling = True  # a flush that sees the one asks the thread about the other
        if spool is not None and last is not IN_MEMORY:
            spool.acknowledge(last)
        with self._ledger.lock:
            self._is_settling = False
            if last is IN_MEMORY:
                if self._shutdown_result is not None:
                    return  # shutdown has given them up already, and counted them
                self._memory.settle(len(parcel.spans))
            self._ledger.settle(len(parcel.spans) - parcel.skipped, parcel.skipped, outcome)

    def is_settled(self, flush: Flush) -> bool:
        """Return whether the fate of all that the flush is about is known."""
        on_disk, in_memory = flush.mark
        is_on_disk_settled = self.spool is None or self.spool.is_settled(on_disk)
        return is_on_disk_settled and self._memory.settled >= in_memory


def _refuse(record: SpanRecord) -> None:
    """Stand for the spool that is not there."""
