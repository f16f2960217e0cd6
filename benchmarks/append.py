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
from typing import TYPE_CHECKING, Any

from record_format import make_records

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 60
GOAL_MICROSECONDS = 2.5


def compare(root: Path) -> None:
    """Run every contender in turn, many times, and print the medians."""
    from turntrace.export.spool import Spool
    from turntrace.export.spool_place import spool_key
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="where to spool; a temporary directory")
    root = parser.parse_args().root
    made = Path(tempfile.mkdtemp(dir=root))
    try:
        compare(made)
    finally:
        shutil.rmtree(made)


if __name__ == "__main__":
    main()
