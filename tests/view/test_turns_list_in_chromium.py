"""The list of the Turns page in a real Chromium: long lists, other days, odd names, no script."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from live_turns import make_turn, post
from turns_page import (
    SECOND_NS,
    WAIT_MS,
    ids_of,
    make_turns,
    open_page,
    shown_ids,
    until_shown,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from conftest import Serving

DAY_NS = 24 * 3600 * SECOND_NS


def _many(count: int) -> list[Any]:
    """Return turns, the first one the newest and the quickest."""
    now = time.time_ns()
    return [
        make_turn(start_ns=now - (place + 1) * SECOND_NS, duration_ms=100 + place)
        for place in range(count)
    ]


def _until_count(page: Page, count: int) -> None:
    page.wait_for_function(
        "count => document.querySelectorAll('tbody[data-rows] tr').length === count", arg=count
    )


def _hide(page: Page, is_hidden: bool) -> None:
    """Say to the page that its tab is hidden, or seen again."""
    page.evaluate(
        "isHidden => {"
        " Object.defineProperty(document, 'hidden', {get: () => isHidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        is_hidden,
    )


def test_more_leaves_out_no_turn_of_a_long_list(chromium: Browser, serving: Serving) -> None:
    turns = _many(1150)
    for start in range(0, len(turns), 500):
        post(serving.url, *turns[start : start + 500])
    with open_page(chromium, serving.url) as page:
        for count in range(100, 1100, 100):
            _until_count(page, count)
            page.locator("[data-more]").click()
        _until_count(page, 1100)
        new = make_turn()
        post(serving.url, new)
        _until_count(page, 1101)
        page.locator("[data-more]").click()
        _until_count(page, 1151)
        assert shown_ids(page) == ids_of(new, *turns)


def test_new_turn_below_the_loaded_rows_comes_with_more(
    chromium: Browser, serving: Serving
) -> None:
    turns = _many(120)
    post(serving.url, *turns)
    slowest_first = list(reversed(turns))
    with open_page(chromium, f"{serving.url}/?sort=slowest") as page:
        until_shown(page, ids_of(*slowest_first[:100]))
        page.get_by_text("receiving").wait_for()
        quick = make_turn(duration_ms=5)
        post(serving.url, quick)
        page.get_by_text("121 turns").wait_for()
        assert shown_ids(page) == ids_of(*slowest_first[:100])
        page.locator("[data-more]").click()
        until_shown(page, ids_of(*slowest_first, quick))


def test_rows_and_place_stay_when_the_tab_is_seen_again(
    chromium: Browser, serving: Serving
) -> None:
    turns = _many(700)
    post(serving.url, *turns[:350])
    post(serving.url, *turns[350:])
    with open_page(chromium, serving.url) as page:
        for count in range(100, 600, 100):
            _until_count(page, count)
            page.locator("[data-more]").click()
        _until_count(page, 600)
        row = page.locator("tbody[data-rows] tr").nth(550)
        row.scroll_into_view_if_needed()
        page.mouse.move(2, 2)
        key, top = row.get_attribute("data-key"), row.bounding_box()["y"]
        _hide(page, True)
        new = make_turn()
        post(serving.url, new)
        _hide(page, False)
        _until_count(page, 601)
        assert shown_ids(page) == ids_of(new, *turns[:600])
        assert abs(page.locator(f'[data-key="{key}"]').bounding_box()["y"] - top) <= 1
        page.locator("[data-more]").click()
        until_shown(page, ids_of(new, *turns))


def test_phone_says_when_the_view_is_gone(chromium: Browser, serving: Serving) -> None:
    post(serving.url, make_turn())
    opened = chromium.new_context(viewport={"width": 390, "height": 844})
    page = opened.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(serving.url)
    page.locator(".receiving .pulse:not(.off)").wait_for()
    page.locator("[data-live] .pulse.live").wait_for()
    serving.stop()
    page.get_by_text("not connected").wait_for()
    page.locator("[data-live] .pulse.off").wait_for()
    page.get_by_text("The view does not answer").wait_for()
    opened.close()


@pytest.mark.parametrize(("days_ago", "said"), [(0, 8), (400, 16)], ids=["today", "last year"])
def test_moment_of_a_turn_has_the_room_it_needs(
    chromium: Browser, serving: Serving, days_ago: int, said: int
) -> None:
    post(serving.url, make_turn(start_ns=time.time_ns() - days_ago * DAY_NS))
    with open_page(chromium, serving.url) as page:
        cell = page.locator("tbody[data-rows] .c-time")
        assert len(cell.inner_text()) == said
        assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth")


def test_chosen_range_is_said_with_its_days(chromium: Browser, serving: Serving) -> None:
    post(serving.url, make_turn())
    start_ms = time.time_ns() // 10**6 - 3600_000
    address = f"{serving.url}/?from_ms={start_ms}&to_ms={start_ms + 7200_000}"
    with open_page(chromium, address, timezone_id="UTC") as page:
        chosen = page.get_by_label("Time").locator("option:checked").inner_text()
        date = time.strftime("%m-%d", time.gmtime(start_ms / 1000))
        assert re.match(rf"{date} \d\d:\d\d:\d\d \S .*\d\d:\d\d:\d\d$", chosen)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("duration < 2 s", "duration knows only >"),
        ("duration = 2 s", "duration knows only >"),
        ("duration > soon", "a number of ms, s or min"),
        ("tokens > 5", "tokens knows only ="),
        ("= x", "must stand before it"),
    ],
)
def test_search_that_is_not_understood_says_so_and_stays(
    chromium: Browser, serving: Serving, typed: str, said: str
) -> None:
    post(serving.url, make_turn())
    with open_page(chromium, serving.url) as page:
        _until_count(page, 1)
        box = page.get_by_role("searchbox")
        box.fill(typed)
        box.press("Enter")
        page.locator("[data-notice]", has_text=said).wait_for()
        assert box.input_value() == typed
        assert page.url == f"{serving.url}/"
        box.fill("duration > 1e1")
        box.press("Enter")
        page.locator("[data-notice]").wait_for(state="hidden")
        assert page.url == f"{serving.url}/?min_ms=10"


@pytest.mark.parametrize("given", ["last=abc", "last=-5", "last=1e400", "from_ms=abc"])
def test_moment_of_the_address_that_is_none_is_left_out_with_a_word(
    chromium: Browser, serving: Serving, given: str
) -> None:
    post(serving.url, make_turn())
    with open_page(chromium, f"{serving.url}/?{given}") as page:
        _until_count(page, 1)
        name = given.partition("=")[0]
        page.locator("[data-notice]", has_text=f"{name} of the address is left out").wait_for()
        assert page.get_by_label("Time").locator("option:checked").inner_text() == "Any time"


def test_names_that_cannot_be_seen_are_said(chromium: Browser, serving: Serving) -> None:
    blank = {"socket.event": "\u200b \u2060", "turntrace.phase": "\u200d"}
    post(serving.url, make_turn(" ", attributes=blank))
    with open_page(chromium, serving.url) as page:
        _until_count(page, 1)
        row = page.locator("tbody[data-rows] tr")
        assert row.locator(".c-event a").inner_text() == "(no name)"
        assert row.locator(".c-outcome").inner_text() == "unknown"
        assert row.locator(".phase").inner_text() == "(no name)"
        page.locator(".chip", has_text="unknown").click()
        page.wait_for_url("**/?outcome=*")
        _until_count(page, 1)


def test_event_breaks_at_its_joints_on_a_phone(chromium: Browser, serving: Serving) -> None:
    event = "chat:user_message_with_a_name_that_needs_lines"
    post(serving.url, make_turn(attributes={"socket.event": event}))
    view = {"viewport": {"width": 390, "height": 844}}
    with open_page(chromium, serving.url, **view) as page:
        link = page.locator("tbody[data-rows] .c-event a")
        assert link.inner_text().replace("\n", "") == event
        assert link.locator("wbr").count() == event.count("_") + event.count(":")


def test_without_javascript_the_newest_turns_are_a_list(
    chromium: Browser, serving: Serving
) -> None:
    turns = make_turns(60)
    post(serving.url, *turns)
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": 390, "height": 844}
    )
    page = context.new_page()
    page.goto(serving.url)
    links = page.locator(".newest a")
    assert links.count() == 50
    assert page.locator(".filters").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    links.first.click()
    page.wait_for_url(f"**/turns/{ids_of(turns[0])[0]}?plain")
    context.close()
