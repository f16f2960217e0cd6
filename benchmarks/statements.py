"""What stripping a statement of its literals costs: seen before, and new in several shapes.

A round's time is the thread's own CPU time; what is printed are medians of the rounds.
``python benchmarks/statements.py``.
"""

# ruff: noqa: S608 - statements with literals in them are what is measured

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from turntrace.instrument.sqlalchemy import describe
from turntrace.statements import without_literals

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 30
CALLS_PER_ROUND = 1_000
CALLS_PER_ROUND_IF_LONG = 50
LONG = 1_000

TYPICAL = (
    "SELECT chat_messages.id, chat_messages.body, chat_messages.created_at FROM chat_messages"
    " WHERE chat_messages.session_id = $1::UUID AND chat_messages.role IN ('user', 'assistant')"
    " ORDER BY chat_messages.created_at DESC LIMIT 20"
)
ROWS = "INSERT INTO chat_messages (id, body) VALUES " + ", ".join(
    f"({number}, 'it''s message {number}')" for number in range(200)
)
PLACEHOLDERS = "INSERT INTO chat_messages (id, body, session_id) VALUES " + ", ".join(
    ["(%s, %s, %s)"] * 1_000
)
BLOB = f"INSERT INTO chat_messages (id, body) VALUES (1, '{'a' * 100_000}')"

CASES: dict[str, tuple[Callable[[str, str], object], str, bool]] = {
    "typical, seen before": (without_literals, TYPICAL, False),
    "typical, new": (without_literals, TYPICAL, True),
    "typical, described for a span, seen before": (describe, TYPICAL, False),
    "typical, described for a span, new": (describe, TYPICAL, True),
    "200 rows of literals, new": (without_literals, ROWS, True),
    "1,000 rows of placeholders, new": (without_literals, PLACEHOLDERS, True),
    "a literal of 100 KB, new": (without_literals, BLOB, True),
}


def microseconds(call: Callable[[str, str], object], statement: str, *, is_new: bool) -> float:
    """Return the CPU time of one call; a new statement differs from the others in its end."""
    count = CALLS_PER_ROUND if len(statement) < LONG else CALLS_PER_ROUND_IF_LONG
    taken = []
    for number in range(ROUNDS):
        texts = [f"{statement} -- {number} {i}" if is_new else statement for i in range(count)]
        started = time.thread_time_ns()
        for text in texts:
            call(text, "postgresql")
        taken.append((time.thread_time_ns() - started) / 1e3 / count)
    return statistics.median(taken)


def main() -> None:
    """Run every case and print its median."""
    assert without_literals(TYPICAL, "postgresql") is not None
    print(f"a statement without its literals, {ROUNDS} rounds, CPU us per call")
    for name, (call, statement, is_new) in CASES.items():
        taken = microseconds(call, statement, is_new=is_new)
        print(f"{name:44}{len(statement):8} characters{taken:10.2f}")


if __name__ == "__main__":
    main()
