"""What the Turn page shows first, and says of where the turn came from, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from turn_stories import HTTP, SOCKET, TRACE_ID, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from conftest import Serving
    from turntrace.store.sqlite import SqliteStore

WAIT_SECONDS = 10
ROWS = ".wf-row.span"
REMOTE_PARENT = 0x300


@pytest.fixture
def opened(
    chromium: Browser, store: SqliteStore, serving: Serving
) -> Iterator[Callable[[Story], Page]]:
    """A function that stores a story and opens its page."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})

    def open_page(story: Story) -> Page:
        store.write(story.spans).result(WAIT_SECONDS)
        page.goto(f"{serving.url}/turns/{TRACE_ID}")
        page.locator(f"{ROWS}.sel").wait_for()
        return page

    yield open_page
    page.close()


def test_failed_turn_opens_on_what_failed_and_not_on_who_passed_it_on(
    opened: Callable[[Story], Page],
) -> None:
    story = Story()
    turn = story.add("socket.io chat:user_message", "", 0, 900, SOCKET, error="app.Failed")
    agent = story.add("invoke_agent renovation", turn, 10, 800)  # copes, and says nothing
    story.add("SELECT chat_messages", turn, 1, 2)
    story.add("chat gemini-2.5-flash", agent, 20, 700, error="google.ServerError")
    page = opened(story)
    assert "chat gemini-2.5-flash" in page.locator(f"{ROWS}.sel").inner_text()


def test_turn_that_a_browser_started_says_so_quietly(opened: Callable[[Story], Page]) -> None:
    story = Story()
    story.add("POST /api/sessions", "ee" * 8, 0, 9, HTTP)
    outcome = {"turntrace.turn.outcome": "ok", "turntrace.turn.model_calls": 1}
    story.add("socket.io chat:user_message", "ee" * 8, 20, 300, {**SOCKET, **outcome})
    story.spans = [replace(span, flags=REMOTE_PARENT) for span in story.spans]
    page = opened(story)
    assert "Started by a client" in page.locator("[data-ids]").inner_text()
    assert page.locator("[data-notice]").is_hidden()
