"""The export thread: decides when to send, sends, and tries again until there is an answer."""

from __future__ import annotations

import os
import queue
import random
import time
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from turntrace.export.otlp import EncodedChunk, OtlpEncoder, Resource, encode_resource, join_request
from turntrace.export.transport.http_transport import Fate, HttpTransport, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from turntrace.export.complaints import Complaints
    from turntrace.export.spool.stored_segment import SpooledSpan
    from turntrace.record.record_format import ResourceEntry

_MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
_MAX_RETRY_AFTER_SECONDS: Final = 300.0
_MAX_WAIT_SECONDS: Final = 3600.0
_LOOK_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 0.002
_MAX_BUSY_SECONDS: Final = 0.25
_jitter: Final = random.Random()  # noqa: S311 - spreads load, guards nothing
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_jitter.seed)  # or all workers would try again together


class Flush(NamedTuple):
    """The wish of a waiting caller: settle everything that was there at ``mark``."""

    mark: Any
    """What the source says to be there, opaque to the sender."""

    done: queue.SimpleQueue[bool]
    """Where the caller waits; False: it took too long."""

    deadline: float
    """Until when, on the monotonic clock; the wish is forgotten then."""


class Parcel(NamedTuple):
    """An encoded request, kept unchanged until it is answered for."""

    body: bytes
    spans: Sequence[SpooledSpan]
    """The spans that it answers for: what `Source.take` gave, or the first of them."""

    skipped: int
    """How many of those could not be encoded, and are not in the body."""


class Source(Protocol):
    """The spans that wait, seen from the one thread that may take them out."""

    @property
    def wishes(self) -> queue.SimpleQueue[Flush | None]:
        """Where a `Flush`, or None for a mere wake-up, arrives."""
        ...

    def arm(self, *, is_busy: bool) -> bool:
        """Ask for a wake-up at the next full batch unless busy; False: it is time to end.

        Whoever calls this looks at `has_batch` *afterwards*: a span appended before is seen there,
        a later one meets the armed alarm. So no wake-up is lost, and none is needed per span.
        """
        ...

    def tend(self) -> None:
        """Do what has to be done now and then, about once a second."""
        ...

    def has_batch(self) -> bool:
        """Return whether so much waits that it is sent without waiting for more."""
        ...

    def is_empty(self) -> bool:
        """Return whether nothing waits."""
        ...

    def take(self, *, everything: bool) -> Sequence[SpooledSpan]:
        """Return the oldest spans, a batch at most; only full batches unless ``everything``.

        They stay where they are until `settle`; asked again, it gives them again. Nothing, even if
        something waits, while a thread is writing at this very moment.
        """
        ...

    def settle(self, parcel: Parcel, outcome: Outcome) -> None:
        """Take the parcel's spans out and write down what became of them."""
        ...

    def is_settled(self, flush: Flush) -> bool:
        """Return whether the fate of all that the flush is about is known."""
        ...


class Sender:
    """One run of the export thread over a `Source`."""

    def __init__(
        self,
        *,
        source: Source,
        transport: HttpTransport,
        complaints: Complaints,
        delay_seconds: float,
        backoff_seconds: tuple[float, float],
    ) -> None:
        self._source = source
        self._transport = transport
        self._encoder = OtlpEncoder()
        self._encoded: tuple[ResourceEntry | None, bytes] = (None, b"")
        self._delay_seconds = delay_seconds
        self._backoff_seconds = backoff_seconds
        self._complaints = complaints
        self._flushes: list[Flush] = []
        self._parcel: Parcel | None = None
        self._attempt = 0
        self._next_tick = time.monotonic() + delay_seconds
        self._not_before = 0.0
        self._busy_seconds = _BUSY_SECONDS
        self._is_told_to_wait = False

    def work(self) -> None:
        """Send until the source says that it is time to end."""
        while self._source.arm(is_busy=self._parcel is not None):
            self._hear_wishes(self._seconds_to_wait())
            self._source.tend()
            if (everything := self._is_due()) is not None:
                self._send(everything=everything)
            self._grant_wishes()

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        if self._parcel is not None:  # looked after meanwhile: the disk may be filling up
            return min(max(0.0, self._not_before - now), _LOOK_SECONDS)
        source = self._source
        if source.has_batch() or (self._flushes and not source.is_empty()):
            return max(0.0, self._not_before - now)
        return min(max(0.0, self._next_tick - now), _MAX_WAIT_SECONDS)

    def _is_due(self) -> bool | None:
        """Return whether to send everything, or only full batches; None: nothing yet."""
        now = time.monotonic()
        if now < self._not_before:
            return None
        if self._parcel is not None:
            return True
        is_tick = now >= self._next_tick
        if is_tick:
            self._next_tick = now + self._delay_seconds
        if is_tick or self._flushes:
            return None if self._source.is_empty() else True
        return False if self._source.has_batch() else None

    def _hear_wishes(self, wait_seconds: float) -> None:
        """Wait for the first wish, then take all there are."""
        wishes = self._source.wishes
        try:
            wish = wishes.get(timeout=wait_seconds) if wait_seconds else wishes.get_nowait()
            while True:
                if wish is not None:
                    self._flushes.append(wish)
                    if not self._is_told_to_wait:
                        self._attempt, self._not_before = 0, 0.0
                wish = wishes.get_nowait()
        except queue.Empty:
            pass

    def _grant_wishes(self) -> None:
        pending = []
        for flush in self._flushes:
            if self._source.is_settled(flush):
                flush.done.put(True)
            elif time.monotonic() < flush.deadline:
                pending.append(flush)
            else:  # a wait that a signal handler outlasted does not end by itself
                flush.done.put(False)
        self._flushes = pending

    def _send(self, *, everything: bool) -> None:
        parcel = self._parcel = self._parcel or self._pack(everything=everything)
        if parcel is None:  # somebody is in the middle of writing it
            self._not_before = time.monotonic() + self._busy_seconds
            self._busy_seconds = min(_MAX_BUSY_SECONDS, 2 * self._busy_seconds)
            return
        self._busy_seconds = _BUSY_SECONDS
        sent = len(parcel.spans) - parcel.skipped
        outcome = self._transport.post(parcel.body) if sent else Outcome(Fate.TAKEN)
        self._complaints.hear(outcome, sent, parcel.skipped)
        if outcome.fate in (Fate.UNKNOWN, Fate.MISDIRECTED):
            self._schedule_retry(outcome.retry_after_seconds)
            return
        self._source.settle(parcel, outcome)
        self._parcel = None
        self._attempt = 0
        self._not_before = 0.0
        self._is_told_to_wait = False

    def _schedule_retry(self, retry_after_seconds: float | None) -> None:
        first, longest = self._backoff_seconds
        wait_seconds = min(longest, first * 2.0 ** min(self._attempt, 30))
        wait_seconds *= _jitter.uniform(0.5, 1.0)
        self._attempt += 1
        self._is_told_to_wait = bool(retry_after_seconds)
        if retry_after_seconds:
            told = min(retry_after_seconds, _MAX_RETRY_AFTER_SECONDS)
            wait_seconds = told * _jitter.uniform(1.0, 1.1)
        self._not_before = time.monotonic() + wait_seconds

    def _pack(self, *, everything: bool) -> Parcel | None:
        """Encode the oldest spans, about 2 MB of them at most, without taking them out.

        ``sleep(0)`` hands the GIL to whoever waits for it: the event loop, most likely.
        """
        spans = self._source.take(everything=everything)
        bodies: list[bytes] = []
        taken = skipped = size_bytes = 0
        is_full = False
        for resource, group in groupby(spans, key=_resource_of):
            chunks: list[EncodedChunk] = []
            for chunk in self._encoder.encode_spans(_records(group)):
                is_full = size_bytes > 0 and size_bytes + chunk.size_bytes > _MAX_REQUEST_BYTES
                if is_full:  # it comes with the next request
                    break
                chunks.append(chunk)
                size_bytes += chunk.size_bytes
                time.sleep(0)
            taken += sum(chunk.record_count for chunk in chunks)
            skipped += sum(chunk.skipped for chunk in chunks)
            if chunks:
                bodies.append(join_request(self._encode(resource), chunks, resource.schema_url))
            if is_full:
                break
        # A message may be written in pieces: repeated fields add up.
        return Parcel(b"".join(bodies), spans[:taken], skipped) if taken else None

    def _encode(self, resource: ResourceEntry) -> bytes:
        known, encoded = self._encoded
        if known is not resource:
            encoded = encode_resource(Resource(resource.attributes))
            self._encoded = (resource, encoded)
        return encoded


def _resource_of(span: SpooledSpan) -> ResourceEntry:
    return span.resource


def _records(spans: Iterator[SpooledSpan]) -> Iterator[Any]:
    return (span.record for span in spans)
