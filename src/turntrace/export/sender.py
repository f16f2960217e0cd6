"""The export thread: decides when to send, sends, and tries again until there is an answer."""

from __future__ import annotations

import logging
import os
import queue
import random
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from turntrace.export.http_transport import Fate, HttpTransport, Outcome
from turntrace.export.otlp import EncodedChunk, OtlpEncoder, join_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turntrace.record.span_record import SpanRecord

_LOG: Final = logging.getLogger("turntrace")
_MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
_MAX_RETRY_AFTER_SECONDS: Final = 300.0
_MAX_WAIT_SECONDS: Final = 3600.0
_WARNING_INTERVAL_SECONDS: Final = 60.0
_jitter: Final = random.Random()  # noqa: S311 - spreads load, guards nothing
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_jitter.seed)  # or all workers would try again together


class Flush(NamedTuple):
    """The wish of a waiting caller: settle everything up to ``position``."""

    position: int
    """How many spans must have been settled since the start."""

    done: queue.SimpleQueue[None]
    """Where the caller waits."""


class Parcel(NamedTuple):
    """An encoded request, kept unchanged until it is answered for."""

    body: bytes
    record_count: int
    """How many of the oldest spans of the backlog it stands for."""

    skipped: int
    """How many of those could not be encoded, and are not in the body."""


class Backlog(Protocol):
    """The spans that wait, seen from the one thread that may take them out.

    The oldest spans hold still while others append.
    """

    @property
    def wishes(self) -> queue.SimpleQueue[Flush | None]:
        """Where a `Flush`, or None for a mere wake-up, arrives."""
        ...

    @property
    def settled(self) -> int:
        """How many spans have left the backlog since the start."""
        ...

    def arm(self, *, is_busy: bool) -> bool:
        """Ask for a wake-up at the next full batch unless busy; False: it is time to end.

        Whoever calls this looks at `size` *afterwards*: a span appended before is seen there,
        a later one meets the armed alarm. So no wake-up is lost, and none is needed per span.
        """
        ...

    def settle(self, parcel: Parcel, outcome: Outcome) -> None:
        """Take the parcel's spans out and write down what became of them."""
        ...

    def size(self) -> int:
        """Return how many spans wait."""
        ...

    def oldest(self, count: int) -> Iterator[SpanRecord]:
        """Yield the ``count`` oldest spans, without taking them out."""
        ...


class Sender:
    """One run of the export thread over a `Backlog`."""

    def __init__(
        self,
        *,
        backlog: Backlog,
        transport: HttpTransport,
        encoded_resource: bytes,
        batch_size: int,
        delay_seconds: float,
        backoff_seconds: tuple[float, float],
    ) -> None:
        self._backlog = backlog
        self._transport = transport
        self._encoded_resource = encoded_resource
        self._encoder = OtlpEncoder()
        self._batch_size = batch_size
        self._delay_seconds = delay_seconds
        self._backoff_seconds = backoff_seconds
        self._complaints = Complaints(transport.display_name)
        self._flushes: list[Flush] = []
        self._parcel: Parcel | None = None
        self._attempt = 0
        self._next_tick = time.monotonic() + delay_seconds
        self._retry_at = 0.0
        self._is_told_to_wait = False

    def work(self) -> None:
        """Send until the backlog says that it is time to end."""
        while self._backlog.arm(is_busy=self._parcel is not None):
            self._hear_wishes(self._seconds_to_wait())
            if self._is_due():
                self._send()
            self._grant_wishes()

    def _seconds_to_wait(self) -> float:
        if self._parcel is not None:
            moment = self._retry_at
        elif self._backlog.size() >= self._batch_size or (self._flushes and self._backlog.size()):
            return 0.0
        else:
            moment = self._next_tick
        return min(max(0.0, moment - time.monotonic()), _MAX_WAIT_SECONDS)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if self._parcel is not None:
            return now >= self._retry_at
        is_tick = now >= self._next_tick
        if is_tick:
            self._next_tick = now + self._delay_seconds
        length = self._backlog.size()
        return length > 0 and (is_tick or bool(self._flushes) or length >= self._batch_size)

    def _hear_wishes(self, wait_seconds: float) -> None:
        """Wait for the first wish, then take all there are."""
        wishes = self._backlog.wishes
        try:
            wish = wishes.get(timeout=wait_seconds) if wait_seconds else wishes.get_nowait()
            while True:
                if wish is not None:
                    self._flushes.append(wish)
                    if not self._is_told_to_wait:
                        self._attempt, self._retry_at = 0, 0.0
                wish = wishes.get_nowait()
        except queue.Empty:
            pass

    def _grant_wishes(self) -> None:
        settled = self._backlog.settled
        for flush in self._flushes:
            if flush.position <= settled:
                flush.done.put(None)
        self._flushes = [flush for flush in self._flushes if flush.position > settled]

    def _send(self) -> None:
        parcel = self._parcel = self._parcel or self._pack()
        if parcel.skipped < parcel.record_count:
            outcome = self._transport.post(parcel.body)
        else:
            outcome = Outcome(Fate.TAKEN)
        self._complaints.hear(outcome, parcel)
        if outcome.fate is Fate.UNKNOWN:
            self._schedule_retry(outcome.retry_after_seconds)
            return
        self._backlog.settle(parcel, outcome)
        self._parcel = None
        self._attempt = 0
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
        self._retry_at = time.monotonic() + wait_seconds

    def _pack(self) -> Parcel:
        """Encode the oldest spans, a full batch or about 2 MB of them, without taking them out.

        ``sleep(0)`` hands the GIL to whoever waits for it: the event loop, most likely.
        """
        backlog = self._backlog
        count = min(backlog.size(), self._batch_size)
        chunks: list[EncodedChunk] = []
        size_bytes = 0
        for chunk in self._encoder.encode_spans(backlog.oldest(count)):
            chunks.append(chunk)
            size_bytes += chunk.size_bytes
            if size_bytes >= _MAX_REQUEST_BYTES:
                break
            time.sleep(0)
        return Parcel(
            body=join_request(self._encoded_resource, chunks),
            record_count=sum(chunk.record_count for chunk in chunks),
            skipped=sum(chunk.skipped for chunk in chunks),
        )


class Complaints:
    """Warns about what goes wrong, each kind once a minute, never quoting what may be secret."""

    def __init__(self, display_name: str) -> None:
        self._display_name = display_name
        self._quiet_until: dict[str, float] = {}

    def hear(self, outcome: Outcome, parcel: Parcel) -> None:
        """Warn if ``outcome`` is bad news."""
        sent = parcel.record_count - parcel.skipped
        if parcel.skipped:
            self._warn("unencodable", f"{parcel.skipped} spans cannot be encoded and are dropped")
        if outcome.fate is Fate.TAKEN:
            if outcome.rejected_spans:
                self._warn("partial", f"rejected {outcome.rejected_spans} of {sent} spans")
        elif outcome.fate is Fate.UNKNOWN:
            self._warn(outcome.reason, f"did not take {sent} spans ({outcome.reason}); will retry")
        elif outcome.fate is Fate.MISDIRECTED:
            self._warn(
                outcome.reason,
                f"redirects ({outcome.reason}); {sent} spans dropped: set the endpoint to the "
                "collector itself",
            )
        else:
            self._warn(outcome.reason, f"rejected {sent} spans ({outcome.reason}); no retry")

    def _warn(self, kind: str, text: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until.get(kind, 0.0):
            self._quiet_until[kind] = now + _WARNING_INTERVAL_SECONDS
            _LOG.warning(
                "turntrace export: %s %s (said at most once a minute)", self._display_name, text
            )
