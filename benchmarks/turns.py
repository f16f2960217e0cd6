"""How fast a full store answers the Turns page. ``python benchmarks/turns.py [SPANS]``.

One run: that many spans (default 1,000,000) in turns of 26 are written, then what the page asks is
asked in turn. Medians of wall time; the store stays in a temporary folder. Filling takes minutes.
"""

from __future__ import annotations

import random
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from turntrace.store.contract import StoredSpan
from turntrace.store.sqlite import SqliteStore
from turntrace.store.turns import TurnQuery

if TYPE_CHECKING:
    from collections.abc import Callable

CHILDREN = 25
BATCH_TURNS = 40
ASKED = 9
OUTCOMES = ("ok",) * 16 + ("error", "cancelled", "client_disconnected", "crashed")

QUERIES = {
    "newest": TurnQuery(),
    "slowest": TurnQuery(sort="slowest"),
    "dearest": TurnQuery(sort="dearest"),
    "one session": TurnQuery(session="session 7"),
    "one outcome": TurnQuery(outcomes=("crashed",)),
    "attribute": TurnQuery(attributes=(("db.system.name", "sqlite"),)),
    "attribute, none": TurnQuery(attributes=(("db.system.name", "other"),)),
    "text, none": TurnQuery(text="nothing is called so"),
}


def make_turn(start_ns: int, chance: random.Random) -> list[StoredSpan]:
    """Return one turn with the attributes of a chat's."""
    trace_id, root = secrets.token_hex(16), secrets.token_hex(8)
    shared = {
        "session.id": f"session {chance.randrange(5000)}",
        "turntrace.phase": chance.choice(("INTAKE", "CHECKLIST", "RENDER")),
    }
    summary = {
        "socket.event": "chat:user_message",
        "turntrace.turn.outcome": chance.choice(OUTCOMES),
        "turntrace.turn.cost_usd": chance.random() / 100,
        "turntrace.turn.input_tokens": chance.randrange(9000),
        "turntrace.turn.output_tokens": chance.randrange(500),
    }
    duration_ns = int(chance.lognormvariate(0.8, 0.7) * 1e9)

    def make(span_id: str, parent: str, name: str, attributes: dict[str, object]) -> StoredSpan:
        return StoredSpan(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=parent,
            name=name,
            start_ns=start_ns,
            end_ns=start_ns + duration_ns,
            service="bench",
            attributes={**shared, **attributes},  # type: ignore[dict-item]
        )

    query = {"db.system.name": "sqlite", "db.query.text": "SELECT a, b FROM c WHERE d = ?"}
    children = [
        make(secrets.token_hex(8), root, "SELECT chat_messages", dict(query))
        for _ in range(CHILDREN)
    ]
    return [make(root, "", "socket.io chat:user_message", dict(summary)), *children]


def fill(store: SqliteStore, spans: int) -> float:
    """Write so many spans and return how many a second were taken."""
    chance = random.Random(1)  # noqa: S311 - the same turns in every run
    written, seconds, now = 0, 0.0, time.time_ns()
    while written < spans:
        batch = [
            span
            for place in range(BATCH_TURNS)
            for span in make_turn(now - (spans - written) * 10**8 + place * 10**8, chance)
        ]
        started = time.perf_counter()
        store.write(batch).result(60)
        seconds += time.perf_counter() - started
        written += len(batch)
    return written / seconds


def median_ms(ask: Callable[[], object]) -> float:
    """Return the median time of a question."""
    times = []
    for _ in range(ASKED):
        started = time.perf_counter()
        ask()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def main() -> None:
    """Fill, ask and print."""
    spans = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "bench.sqlite")
        print(f"{spans:,} spans written at {fill(store, spans):,.0f} spans/s")
        print(f"{'':18}{'100 rows':>12}{'overview':>12}")
        for name, query in QUERIES.items():
            rows = median_ms(lambda query=query: store.turns(query))  # type: ignore[misc]
            sums = median_ms(lambda query=query: store.overview(query))  # type: ignore[misc]
            print(f"{name:18}{rows:9.1f} ms{sums:9.1f} ms")
        store.close()


if __name__ == "__main__":
    main()
