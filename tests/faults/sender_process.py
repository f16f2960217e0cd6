"""A process that ends spans through one exporter, and says what became of them.

It prints a line when it is ready, starts at the first line of its standard input, appends the ids
of what it ended and the sampler kept to a descriptor (trace id, span id), and prints a line of
JSON at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from array import array
from typing import TYPE_CHECKING, Any, Final

from senders import SENDERS
from unprivileged import become_nobody
from work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Tracer

TICK_SECONDS: Final = 0.02
WARM_SECONDS: Final = 1.5
"""How long an exporter may take memory for good; what comes later is growth."""
_PAGE_KIB: Final = resource.getpagesize() // 1024


class Sending:
    """Ends the spans of one `Work` and measures meanwhile."""

    def __init__(self, tracer: Tracer, work: Work, ids: int) -> None:
        self._tracer = tracer
        self._work = work
        self._ids = ids
        self._keys: list[bytes] = []
        self.took_us = array("d")
        """How long each ``end()`` took."""
        self.waited_max_us = 0.0
        """The longest ``end()`` in which the thread waited for something, other than for a
        processor that the system had given to somebody else."""
        self.kept = 0
        self.rss_before_kib = 0
        self.rss_max_kib = 0
        self.threads_before = 0

    def run(self) -> None:
        """End what is to be ended."""
        if self._work.burst:
            self._look_at_memory(is_warm=True)
            for number in range(self._work.burst):
                self._end_one(number)
            self._write_ids()
            return
        started = time.monotonic()
        for number in self._steadily(started):
            waits = _waits()
            took_us = self._end_one(number)
            if _waits() != waits:
                self.waited_max_us = max(self.waited_max_us, took_us)

    def _steadily(self, started: float) -> Iterator[int]:
        work = self._work
        number = 0
        is_last = False
        while not is_last:
            passed = time.monotonic() - started
            is_last = passed >= work.seconds
            while number < work.rate * min(passed, work.seconds):
                yield number
                number += 1
            self._write_ids()
            self._look_at_memory(is_warm=passed >= WARM_SECONDS)
            if work.clock_jump_seconds and passed >= work.seconds / 2:
                _put_clock_forward(work.clock_jump_seconds)
            time.sleep(0.0 if is_last else TICK_SECONDS)

    def _end_one(self, number: int) -> float:
        attributes = _attributes(number, self._work.attribute_bytes)
        span = self._tracer.start_span("POST /api/messages", attributes=attributes)
        before = time.perf_counter()
        span.end()
        took_us = (time.perf_counter() - before) * 1e6
        self.took_us.append(took_us)
        context = span.get_span_context()
        if context.trace_flags.sampled:
            self._keys.append(
                context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")
            )
        return took_us

    def _write_ids(self) -> None:
        _limit_files(0)  # the ids' file is the test's, not the app's
        os.write(self._ids, b"".join(self._keys))
        _limit_files(self._work.file_limit_bytes)
        self.kept += len(self._keys)
        self._keys.clear()

    def _look_at_memory(self, *, is_warm: bool) -> None:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - half the price, 50 times a second
            rss_kib = int(file.read().split()[1]) * _PAGE_KIB
        if is_warm and not self.rss_before_kib:
            self.rss_before_kib = rss_kib
            self.threads_before = threading.active_count()
        self.rss_max_kib = max(self.rss_max_kib, rss_kib) if is_warm else 0

    def report(self) -> dict[str, Any]:
        """Return what was measured, as JSON takes it."""
        self._look_at_memory(is_warm=True)
        took_us = sorted(self.took_us) or [0.0]
        return {
            "ended": len(self.took_us),
            "kept": self.kept,
            "end_p99_us": round(took_us[int(len(took_us) * 0.99)], 1),
            "end_max_us": round(took_us[-1], 1),
            "end_waited_max_us": round(self.waited_max_us, 1),
            "rss_growth_kib": self.rss_max_kib - self.rss_before_kib,
            "threads_before": self.threads_before,
        }


def _waits() -> int:
    """Return how often this thread has waited so far; being put aside by the system is no wait."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


_TEXT: Final = "x" * 200_000


def _attributes(number: int, attribute_bytes: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "http.request.method": "POST",
        "http.route": "/api/messages",
        "http.response.status_code": 200,
        "session.id": f"session-{number % 100}",
        "gen_ai.usage.input_tokens": number,
    }
    if attribute_bytes:  # a text of its own each time, or holding many would cost nothing
        text = f"{number} {_TEXT[:attribute_bytes]}"
        attributes["gen_ai.input.messages"] = text
        attributes["db.query.text"] = " ".join(("INSERT INTO messages VALUES", repr(text)))
    return attributes


_true_time, _true_time_ns = time.time, time.time_ns


def _put_clock_forward(seconds: float) -> None:
    time.time = lambda: _true_time() + seconds
    _shift_ns[0] = int(seconds * 1e9)


_shift_ns = [0]


def _watch_clock() -> None:
    """Let the wall clock be put forward later; before anybody takes hold of ``time_ns``."""
    time.time_ns = lambda: _true_time_ns() + _shift_ns[0]


def _compute(is_over: threading.Event) -> None:
    while not is_over.is_set():
        for _ in range(10_000):
            pass


def _limit_files(size_bytes: int) -> None:
    """Let no file grow beyond ``size_bytes``, as if the disk were full; 0: let them."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes or hard, hard))


def _prepare(work: Work) -> None:
    if work.is_unprivileged:
        become_nobody()
    _limit_files(work.file_limit_bytes)
    if work.clock_jump_seconds:
        _watch_clock()


def main() -> None:
    """Send, flush, close, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sender", choices=sorted(SENDERS), required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--ids", type=int, required=True, help="the descriptor that takes the ids")
    parser.add_argument("--work", type=Work.from_json, required=True)
    options = parser.parse_args()
    work: Work = options.work
    _prepare(work)
    sender = SENDERS[options.sender](options.endpoint, work)
    sending = Sending(sender.tracer, work, options.ids)
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
    sys.stdin.readline()
    is_over = threading.Event()
    busy = threading.Thread(target=_compute, args=(is_over,), daemon=True)
    if work.has_busy_thread:
        busy.start()
    sending.run()
    _limit_files(0)  # there is room again
    started = time.monotonic()
    is_flushed = sender.flush(work.flush_seconds)
    flushed = time.monotonic()
    threads_after = threading.active_count()
    is_over.set()
    sender.close(work.close_seconds)
    report = {
        **sending.report(),
        "is_flushed": is_flushed,
        "flush_seconds": round(flushed - started, 2),
        "close_seconds": round(time.monotonic() - flushed, 2),
        "threads_after": threads_after,
        "said": sender.said(),
    }
    print(json.dumps(report), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
