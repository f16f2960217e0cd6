"""Holds finished spans in bounded memory and sends them over OTLP/HTTP until acknowledged."""

from __future__ import annotations

import _thread
import contextlib
import itertools
import logging
import os
import queue
import threading
import time
import uuid
import weakref
from collections import Counter, deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context

from turntrace.attributes import SERVICE_INSTANCE_ID
from turntrace.errors import ConfigurationError
from turntrace.export.contract import ExportCounts
from turntrace.export.http_transport import Fate, HttpTransport, Outcome
from turntrace.export.otlp import Resource, encode_resource
from turntrace.export.sender import Flush, Parcel, Sender
from turntrace.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from turntrace.export.contract import SpanSink
    from turntrace.record.span_record import AttributeValue, SpanRecord

_LOG: Final = logging.getLogger("turntrace")
_GOODBYE_SECONDS: Final = 0.1
_HANDED_OVER: Final = "handed_over"
_MAX_WAIT_SECONDS: Final = 86_400.0
_DEFAULTS: Final = Settings()


class OtlpHttpExporter:
    """A `SpanSink` that keeps what it was given until a collector answered for it.

    A span leaves the queue only when its fate is known, so the queue bounds everything held,
    the request under way included. One daemon thread, started by the first `offer`, does all
    encoding and network; a forked child starts with an empty queue, a thread and a
    ``service.instance.id`` of its own.

    Args:
        endpoint: The full URL, ``http://localhost:4318/v1/traces``.
        headers: Sent with each request; never logged.
        resource: What all spans have in common; must have passed the guard.
        timeout_seconds: A hard limit for one request.
        compression: ``gzip`` or ``none``.
        max_queue_size: How many spans may wait; when full, the newest is dropped.
        max_batch_size: How many spans make a request; that many waiting are sent at once.
        schedule_delay_seconds: How long a span waits for company, at most.
        backoff_seconds: The first and the longest wait before a request is tried again; a
            ``Retry-After`` overrides it.

    Raises:
        ConfigurationError: An argument cannot be used.

    Example:
        >>> exporter = OtlpHttpExporter(
        ...     endpoint="http://localhost:4318/v1/traces", resource={"service.name": "chat"}
        ... )
        >>> exporter.shutdown(timeout_seconds=2.0)
        True
    """

    def __init__(
        self,
        *,
        endpoint: str,
        headers: Mapping[str, str] | None = None,
        resource: Mapping[str, AttributeValue],
        timeout_seconds: float = _DEFAULTS.timeout_seconds,
        compression: str = _DEFAULTS.compression,
        max_queue_size: int = _DEFAULTS.max_queue_size,
        max_batch_size: int = _DEFAULTS.max_batch_size,
        schedule_delay_seconds: float = _DEFAULTS.schedule_delay_seconds,
        backoff_seconds: tuple[float, float] = (1.0, 30.0),
    ) -> None:
        for name, value in (
            ("max_queue_size", max_queue_size),
            ("max_batch_size", max_batch_size),
            ("schedule_delay_seconds", schedule_delay_seconds),
        ):
            if not value > 0:
                raise ConfigurationError(f"{name} is {value!r}: use a number > 0")
        self._transport = HttpTransport(
            endpoint=endpoint,
            headers=headers or {},
            timeout_seconds=timeout_seconds,
            compression=compression,
        )
        self._resource = dict(resource)
        self._encoded_resource = encode_resource(Resource(resource))
        self._max_queue_size = max_queue_size
        self._batch_size = min(max_batch_size, max_queue_size)
        self._delay_seconds = schedule_delay_seconds
        self._backoff_seconds = backoff_seconds
        self._is_closed = False
        self._shutdown_calls = itertools.count()
        self._shutdown_is_under_way = _thread.allocate_lock()
        self._shutdown_is_under_way.acquire()
        self._shutdown_thread = 0
        self._shutdown_result: bool | None = None
        self._heir: SpanSink | None = None
        self._end = "shutdown"  # what becomes of a span that is not sent any more
        self._reset()
        _EXPORTERS.add(self)

    def _reset(self) -> None:
        """Begin with nothing: no span, no thread, no lock that another thread might hold."""
        self._waiting: deque[SpanRecord] = deque()
        # At this length `offer` leaves its fast path. 0: there is no thread yet, or no more.
        self._threshold = 0
        self._is_armed = False
        self._thread_is_started = _thread.allocate_lock()
        self._thread_is_done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.wishes: queue.SimpleQueue[Flush | None] = queue.SimpleQueue()
        self._offered = itertools.count()
        self._overflow = itertools.count()
        self._late = itertools.count()
        self._books = threading.RLock()  # reentrant: a signal handler may call shutdown
        self.settled = 0
        self._acknowledged = 0
        self._rejected = 0
        self._dropped: Counter[str] = Counter()
        self._losses_reported = 0
        self._is_abandoned = False

    # The app's side: any thread, signal handlers and __del__ included.

    def offer(self, record: SpanRecord) -> None:
        """Take ``record``; never blocks, never raises (see `SpanSink.offer`).

        Costs about 0.2 us: no lock; ``next`` and ``deque`` operations are atomic. With N threads
        racing, the queue may exceed its bound by N - 1 spans.
        """
        next(self._offered)
        waiting = self._waiting
        if len(waiting) < self._threshold:
            waiting.append(record)
        else:
            self._offer_with_care(record)

    def _offer_with_care(self, record: SpanRecord) -> None:
        """Take ``record`` when there may be something to do besides: start, wake, or drop.

        Takes no lock that anybody else may hold for longer than an instruction.
        """
        if self._is_closed:
            next(self._late)
            if self._heir is not None:
                self._heir.offer(record)
            return
        length = len(self._waiting)
        if length >= self._max_queue_size:
            next(self._overflow)
        else:
            self._waiting.append(record)
        self._ensure_thread()
        if self._is_armed and length + 1 >= self._batch_size:
            # Order matters: whoever silences the alarm then wakes the thread, which re-arms it.
            self._is_armed = False
            self._threshold = self._max_queue_size
            self.wishes.put(None)

    def _ensure_thread(self) -> None:
        if self._thread_is_started.acquire(blocking=False):
            self._is_armed = True
            self._threshold = 0 if self._is_closed else self._batch_size - 1
            try:
                _thread.start_new_thread(self._start_thread, ())
            except RuntimeError:  # no thread can be had, or the interpreter is going away
                self._threshold = 0
                self._thread_is_started.release()

    def _start_thread(self) -> None:
        """Start the export thread, from a thread that nobody waits for.

        `threading.Thread.start` takes locks that the code which a signal handler or ``__del__``
        interrupted may hold; here, that code goes on and releases them.
        """
        try:
            threading.Thread(target=self._run, name="turntrace-export", daemon=True).start()
        except RuntimeError:  # as above
            self._threshold = 0
            self._thread_is_started.release()

    def force_flush(self, timeout_seconds: float = 5.0) -> bool:
        """Send what waits, at once (see `SpanSink.force_flush`)."""
        deadline = time.monotonic() + _bounded(timeout_seconds, 5.0)
        with self._books:
            wish = Flush(position=self.settled + len(self._waiting), done=queue.SimpleQueue())
            is_pending = bool(self._waiting)
        if is_pending:
            self._ensure_thread()
            self.wishes.put(wish)
            try:
                wish.done.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return False
        with self._books:
            losses = self._count_losses()
            is_complete = losses == self._losses_reported
            self._losses_reported = losses
        return is_complete

    def shutdown(self, timeout_seconds: float = 2.0) -> bool:
        """Flush, then stop for good (see `SpanSink.shutdown`); 0.1 s over the time at most."""
        wait_seconds = _bounded(timeout_seconds, 2.0)
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

    def hand_over(self, heir: SpanSink) -> None:
        """Stop and leave what is unsent to ``heir`` (see `SpanSink.hand_over`)."""
        with self._books:
            self._heir, self._end, self._is_abandoned = heir, _HANDED_OVER, True
        self.shutdown(0.0)

    def _shut_down(self, timeout_seconds: float) -> None:
        with self._books:
            self._is_closed = True
            self._threshold = 0
        result = self.force_flush(timeout_seconds)
        with self._books:
            self._is_abandoned = True
            self._shutdown_result = not self._sweep() and result
        if self._thread_is_started.locked():
            self.wishes.put(None)
            self._transport.abort()
            with contextlib.suppress(queue.Empty):  # a daemon: at worst it ends with the process
                self._thread_is_done.get(timeout=_GOODBYE_SECONDS)

    def counts(self) -> ExportCounts:
        """Return the books (see `SpanSink.counts`)."""
        with self._books:
            if self._is_abandoned:
                self._sweep()
            dropped = self._count_dropped()
            handed_over = dropped.pop(_HANDED_OVER, 0)
            waiting = len(self._waiting)
            # Counted at the door and read last: a span that got lost in here would show, and one
            # that another thread is handing over at this moment counts as offered.
            return ExportCounts(
                offered=_ticks(self._offered),
                acknowledged=self._acknowledged,
                rejected=self._rejected,
                dropped=MappingProxyType(dict(dropped)),
                handed_over=handed_over,
                waiting=waiting,
            )

    def _count_dropped(self) -> Counter[str]:
        """Return what was dropped or handed over, by reason; the caller holds the books."""
        late = Counter({"queue_full": _ticks(self._overflow), self._end: _ticks(self._late)})
        return +(self._dropped + late)

    def _count_losses(self) -> int:
        dropped = self._count_dropped()
        return self._rejected + dropped.total() - dropped[_HANDED_OVER]

    def _sweep(self) -> int:
        """Give up what waits; the caller holds the books."""
        count = 0
        while self._waiting:
            record = self._waiting.popleft()
            if self._heir is not None:
                self._heir.offer(record)
            count += 1
        self.settled += count
        self._dropped[self._end] += count
        return count

    def _after_fork_in_child(self) -> None:
        self._reset()
        self._transport.forget()
        if SERVICE_INSTANCE_ID in self._resource:  # the child is an instance of its own
            self._resource = {**self._resource, SERVICE_INSTANCE_ID: str(uuid.uuid4())}
            self._encoded_resource = encode_resource(Resource(self._resource))
        if self._is_closed and self._shutdown_result is None:
            self._shutdown_result = True  # the parent's thread is busy with it; here is nothing

    # The export thread's side: a `Backlog`.

    def _run(self) -> None:
        """Send until shutdown; a bug of ours costs a pause, not the spans, and not the app."""
        token = otel_context.attach(_without_instrumentation())
        try:
            while not self._is_abandoned:
                try:
                    self._make_sender().work()
                except Exception as error:  # noqa: BLE001 - nothing may reach the app
                    name = type(error).__name__
                    _LOG.warning("turntrace export: unexpected %s; it goes on in a moment", name)
                    time.sleep(self._backoff_seconds[0])
        finally:
            otel_context.detach(token)
            self._transport.close()
            self._threshold = 0
            self._thread_is_started.release()
            self._thread_is_done.put(None)

    def _make_sender(self) -> Sender:
        return Sender(
            backlog=self,
            transport=self._transport,
            encoded_resource=self._encoded_resource,
            batch_size=self._batch_size,
            delay_seconds=self._delay_seconds,
            backoff_seconds=self._backoff_seconds,
        )

    def arm(self, *, is_busy: bool) -> bool:
        """Ask for a wake-up at the next full batch unless busy (see `Backlog.arm`)."""
        with self._books:
            self._is_armed = not is_busy
            if not self._is_closed:
                self._threshold = self._max_queue_size if is_busy else self._batch_size - 1
            return not self._is_abandoned

    def settle(self, parcel: Parcel, outcome: Outcome) -> None:
        """Take the parcel's spans out and write down what became of them."""
        sent = parcel.record_count - parcel.skipped
        with self._books:
            if self._is_abandoned:
                return  # shutdown has given them up already, and counted them
            for _ in range(parcel.record_count):
                self._waiting.popleft()
            self.settled += parcel.record_count
            self._dropped["unencodable"] += parcel.skipped
            if outcome.fate is Fate.TAKEN:
                rejected = min(sent, outcome.rejected_spans)
                self._acknowledged += sent - rejected
                self._rejected += rejected
            elif outcome.fate is Fate.REFUSED:
                self._rejected += sent
            else:
                self._dropped["redirect"] += sent

    def size(self) -> int:
        """Return how many spans wait."""
        return len(self._waiting)

    def oldest(self, count: int) -> Iterator[SpanRecord]:
        """Yield the ``count`` oldest spans; by position, as others append meanwhile."""
        with contextlib.suppress(IndexError):  # shutdown has just given them all up
            for position in range(count):
                yield self._waiting[position]


def _ticks(counter: itertools.count[int]) -> int:
    """Return how often ``next`` was called on a count from 0.

    ``next`` is atomic, so it counts without a lock; only the repr tells without being a tick.
    """
    return int(repr(counter).removeprefix("count(").removesuffix(")"))


def _bounded(timeout_seconds: object, default: float) -> float:
    """Return a time that can be waited for; what is no number is the default, as nothing raises."""
    if not isinstance(timeout_seconds, (int, float)) or timeout_seconds != timeout_seconds:  # noqa: PLR0124 - NaN
        return default
    return float(min(max(0, timeout_seconds), _MAX_WAIT_SECONDS))


def _without_instrumentation() -> otel_context.Context:
    """Return a context in which other instrumentations make no spans of our requests."""
    context = otel_context.set_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY, True)  # noqa: SLF001 - no public name yet
    return otel_context.set_value(otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context)  # noqa: SLF001 - as above


_EXPORTERS: Final[weakref.WeakSet[OtlpHttpExporter]] = weakref.WeakSet()


def _restart_in_child() -> None:
    for exporter in list(_EXPORTERS):
        exporter._after_fork_in_child()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_in_child)
