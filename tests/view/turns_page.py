"""The Turns page in a browser: opening it, what it shows, and turns to show."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from live_turns import make_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

WAIT_MS = 15_000
SECOND_NS = 10**9
OUTCOMES = ["ok", "error", "crashed", "client_disconnected", "cancelled", "interrupted"]


@contextmanager
def open_page(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """Open a page in a context of its own; nothing may be said on its console."""
    opened = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    page = opened.new_page()
    page.set_default_timeout(WAIT_MS)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(url)
        yield page
        assert said == []
    finally:
        opened.close()


def make_turns(count: int) -> list[Any]:
    """Return turns of every outcome, the first one the newest and the quickest."""
    now = time.time_ns()
    return [
        make_turn(
            outcome,
            start_ns=now - (place + 1) * 20 * SECOND_NS,
            duration_ms=500 + place * 700,
            attributes={
                "session.id": f"5f1c9e2a-{place % 4}",
                "turntrace.phase": ("INTAKE", "CHECKLIST", "RENDER")[place % 3],
                "turntrace.turn.cost_usd": ((place * 7) % 11) / 1000,
                "turntrace.turn.first_token_ms": 200 + place * 300,
                "turntrace.turn.input_tokens": 1000 + place,
                "turntrace.turn.output_tokens": 100,
                "turntrace.turn.iterations": 2,
                "turntrace.turn.tool_calls": 1,
                **({"error.type": "google.genai.errors.ServerError"} if outcome == "error" else {}),
            },
        )
        for place, outcome in zip(range(count), itertools.cycle(OUTCOMES), strict=False)
    ]


def shown_ids(page: Page) -> list[str]:
    return page.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => row.dataset.key.slice(0, 32))"
    )


def until_shown(page: Page, trace_ids: list[str]) -> None:
    """Wait for exactly these rows, in this order."""
    page.wait_for_function(
        "ids => JSON.stringify([...document.querySelectorAll('tbody tr')]"
        ".map(row => row.dataset.key.slice(0, 32))) === JSON.stringify(ids)",
        arg=trace_ids,
    )


def ids_of(*turns: Any) -> list[str]:
    return [turn.trace_id.hex() for turn in turns]
