"""What it costs to have a span on disk when it ends, beside packing it alone.

    python benchmarks/append.py
    python benchmarks/append.py --root /dev/shm/spool

Rounds take turns, so that a machine that speeds up or slows down does so for all; a round's time
is the thread's own CPU time, the kernel's part included. The bare write is the floor: the same
frames, one ``os.write`` each to one file. What is written is read and acknowledged in between.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from record_format import make_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from turntrace.export.spool.direct_write import Write

ROUNDS = 60
GOAL_MICROSECONDS = 2.0
BURST = 20_000


def compare(root: Path) -> None:
    """Run every contender in turn, many times, and print the medians."""
    from turntrace.export.spool.place import spool_key
    from turntrace.export.spool.spool import Spool
    from turntrace.record.record_format import ScopeTable, pack_span

    records = make_records()
    number_of = ScopeTable().number
    frames = [pack_span(record, number_of(record.scope)) for record in records]
    key = spool_key(root, service="bench", endpoint="http://localhost:4318", headers={})
    spool = Spool(root=root, key=key, resource={"service.name": "bench"})
    spool.has_been_answered = True
    bare = os.open(root / "bare", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
    microseconds: dict[str, list[float]] = {}

    def timed(name: str, run: Callable[[], Any]) -> None:
        started = time.thread_time_ns()
        run()
        taken = (time.thread_time_ns() - started) / 1e3 / len(records)
        microseconds.setdefault(name, []).append(taken)

    def pack_all() -> None:
        deque((pack_span(record, number_of(record.scope)) for record in records), maxlen=0)

    def append_all() -> None:
        deque(map(spool.append, records), maxlen=0)

    def write_all() -> None:
        deque((os.write(bare, frame) for frame in frames), maxlen=0)

    def read_all() -> None:
        while found := spool.read():
            spool.acknowledge(found[-1].position)

    for _ in range(ROUNDS):
        timed("pack_span", pack_all)
        timed("append", append_all)
        timed("bare write", write_all)
        timed("read + acknowledge", read_all)
        os.ftruncate(bare, 0)
    assert spool.counts().acknowledged == ROUNDS * len(records)
    spool.close()
    report(microseconds, len(records), spool.filesystem)


def report(microseconds: dict[str, list[float]], records: int, filesystem: str) -> None:
    """Print the medians, and whether the goal is reached."""
    print(f"one span, 10 attributes, {ROUNDS} rounds of {records}, CPU us, {filesystem}")
    print(f"{'':24}{'median':>8}{'min':>8}{'max':>8}")
    for name, taken_us in microseconds.items():
        median = statistics.median(taken_us)
        print(f"{name:24}{median:8.2f}{min(taken_us):8.2f}{max(taken_us):8.2f}")
    pairs = zip(microseconds["append"], microseconds["pack_span"], strict=True)
    beyond = statistics.median(append - pack for append, pack in pairs)
    reached = "reached" if beyond <= GOAL_MICROSECONDS else "not reached"
    print(f"append beyond packing {beyond:.2f} us, goal {GOAL_MICROSECONDS}: {reached}")


def beside_a_busy_thread(root: Path) -> None:
    """Print how long single appends take beside a thread that computes, and beside each other."""
    from turntrace.export.spool.direct_write import direct_write, write_or_raise
    from turntrace.export.spool.spool import Spool

    records = make_records()
    is_over = False

    def compute() -> None:
        number = 0
        while not is_over:
            number = (number * 31 + 7) % 1_000_003

    def append_all(spool: Spool, taken_us: list[float]) -> None:
        for number in range(BURST // 10):
            started = time.perf_counter_ns()
            spool.append(records[number % len(records)])
            taken_us.append((time.perf_counter_ns() - started) / 1e3)

    def run(name: str, write: Write, appending: int, *, is_beside: bool) -> None:
        nonlocal is_over
        is_over = False
        spool = Spool(root=root, key=name.replace(" ", "-"), resource={})
        spool._writer._write = write  # noqa: SLF001 - both ways, of which it takes one
        taken_us: list[float] = []
        threads = [Thread(target=append_all, args=(spool, taken_us)) for _ in range(appending)]
        busy = [Thread(target=compute)] if is_beside else []
        for thread in (*busy, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        is_over = True
        for thread in busy:
            thread.join()
        assert spool.counts().appended == len(taken_us)
        spool.close()
        cuts = statistics.quantiles(taken_us, n=100)
        print(f"{name:32}{cuts[49]:8.1f}{cuts[98]:10.1f}")

    print(f"{'one append, us':32}{'p50':>8}{'p99':>10}")
    run("beside a busy thread", direct_write, 1, is_beside=True)
    run("the same with os.write", write_or_raise, 1, is_beside=True)
    run("two threads at once", direct_write, 2, is_beside=False)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="where to spool; a temporary directory")
    root = parser.parse_args().root
    made = Path(tempfile.mkdtemp(dir=root))
    try:
        compare(made)
        beside_a_busy_thread(made)
    finally:
        shutil.rmtree(made)


if __name__ == "__main__":
    main()
