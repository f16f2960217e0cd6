"""How fast the view's store takes spans and finds them again. ``python benchmarks/store.py``.

One run: batches of 512 spans of 20-span traces are written, then single traces and the newest 50
are read in turn. Medians; the whole store stays in a temporary folder.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from pathlib import Path

from turntrace.store.contract import StoredSpan
from turntrace.store.sqlite import SqliteStore

BATCHES = 100
BATCH = 512
READS = 200


def make_batch() -> list[StoredSpan]:
    """Return 512 spans in traces of 20, with the attributes of a database span."""
    now = time.time_ns()
    spans = []
    for number in range(BATCH):
        if number % 20 == 0:
            trace_id = secrets.token_hex(16)
        spans.append(
            StoredSpan(
                trace_id=trace_id,
                span_id=secrets.token_hex(8),
                parent_span_id="" if number % 20 == 0 else secrets.token_hex(8),
                name="SELECT chat_messages",
                kind="client",
                start_ns=now + number,
                end_ns=now + number + 1_000_000,
                service="bench",
                attributes={"db.system.name": "sqlite", "db.query.duration_ms": 1.25},
            )
        )
    return spans


def main() -> None:
    """Write, read and print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "bench.sqlite")
        batches = [make_batch() for _ in range(BATCHES)]
        writes = []
        for batch in batches:
            started = time.perf_counter()
            store.write(batch).result(60)
            writes.append(BATCH / (time.perf_counter() - started))
        one, newest = [], []
        for number in range(READS):
            started = time.perf_counter()
            assert store.trace(batches[number % BATCHES][0].trace_id)
            one.append((time.perf_counter() - started) * 1000)
            started = time.perf_counter()
            assert len(store.recent(50)) == 50  # noqa: PLR2004 - what the page shows
            newest.append((time.perf_counter() - started) * 1000)
        store.close()
    print(f"{BATCHES * BATCH:,} spans stored in batches of {BATCH}")
    print(f"written        {statistics.median(writes):10,.0f} spans/s")
    print(f"one trace      {statistics.median(one):10.2f} ms")
    print(f"newest 50      {statistics.median(newest):10.2f} ms")


if __name__ == "__main__":
    main()
