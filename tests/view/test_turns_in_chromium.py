"""The Turns page as a reader sees it, in a real Chromium.

Set TURNTRACE_SCREENSHOTS to a folder to keep a picture of each width and theme.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from live_turns import HTTP, make_turn, post
from otlp_requests import attribute, make_span, make_trace_id
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
    from playwright.sync_api import Browser

    from conftest import Serving

HOSTILE = '<img src=x onerror="window.hacked=1">\'"&'


def test_turn_that_arrives_is_on_the_page_without_reload(
    chromium: Browser, serving: Serving
) -> None:
    old = make_turn(start_ns=time.time_ns() - SECOND_NS)
    post(serving.url, old)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(old))
        page.evaluate("window.isSamePage = true")
        page.get_by_text("listening").or_(page.get_by_text("receiving")).wait_for()
        new = make_turn("error")
        post(serving.url, new)
        until_shown(page, ids_of(new, old))
        assert page.evaluate("window.isSamePage")
        page.get_by_text("2 turns").wait_for()
        page.get_by_text(re.compile(r"receiving, 0\.\d spans/s")).wait_for()


def test_first_turn_replaces_the_quick_start(chromium: Browser, serving: Serving) -> None:
    with open_page(chromium, serving.url) as page:
        page.get_by_role("heading", name="No turn yet").wait_for()
        page.get_by_text("listening", exact=True).wait_for()
        turn = make_turn()
        post(serving.url, turn)
        until_shown(page, ids_of(turn))


def test_running_turn_turns_into_the_one_that_ended(chromium: Browser, serving: Serving) -> None:
    trace_id = make_trace_id()
    now = time.time_ns()
    child = make_span(
        trace_id,
        parent_span_id=b"8 bytes!",
        start_time_unix_nano=now,
        end_time_unix_nano=now + 1000,
    )
    post(serving.url, child)
    with open_page(chromium, serving.url) as page:
        page.locator("tbody .outcome.running").wait_for()
        page.get_by_text("listening").or_(page.get_by_text("receiving")).wait_for()
        post(serving.url, make_turn("ok", trace_id=trace_id, span_id=b"8 bytes!"))
        page.locator("tbody .outcome.ok").wait_for()
        assert len(shown_ids(page)) == 1


def test_outcomes_filter_and_the_address_carries_them(chromium: Browser, serving: Serving) -> None:
    turns = make_turns(12)
    post(serving.url, *turns)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(*turns))
        page.locator(".chip", has_text="error").click()
        until_shown(page, ids_of(turns[1], turns[7]))
        assert page.url.endswith("/?outcome=error")
        page.locator(".chip", has_text="crashed").click()
        until_shown(page, ids_of(turns[1], turns[2], turns[7], turns[8]))
        page.reload()
        until_shown(page, ids_of(turns[1], turns[2], turns[7], turns[8]))
        page.go_back()
        until_shown(page, ids_of(turns[1], turns[7]))
        page.get_by_role("button", name="Clear filters").click()
        until_shown(page, ids_of(*turns))
        assert page.url == f"{serving.url}/"


def test_orders_are_newest_slowest_and_dearest(chromium: Browser, serving: Serving) -> None:
    turns = make_turns(6)
    post(serving.url, *turns)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(*turns))
        page.get_by_role("button", name="Slowest").click()
        until_shown(page, ids_of(*reversed(turns)))
        assert page.locator("th[aria-sort]").inner_text() == "Duration ↓"
        page.get_by_role("button", name="Dearest").click()
        dearest = sorted(range(6), key=lambda place: -((place * 7) % 11))
        until_shown(page, ids_of(*(turns[place] for place in dearest)))
        page.keyboard.press("s")
        until_shown(page, ids_of(*turns))


def test_filters_of_a_list_and_of_the_search_box(chromium: Browser, serving: Serving) -> None:
    turns = make_turns(8)
    tool = make_span(
        turns[3].trace_id,
        parent_span_id=turns[3].span_id,
        name="execute_tool search_products",
        attributes=[attribute("gen_ai.tool.name", "search_products")],
    )
    post(serving.url, *turns, tool)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(*turns))
        page.get_by_label("Phase").select_option("RENDER")
        until_shown(page, ids_of(turns[2], turns[5]))
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Clear filters").click()
        box = page.get_by_role("searchbox")
        for asked, found in {
            "tool = search_products": [turns[3]],
            "duration > 4.5 s": turns[6:],
            "EXECUTE_TOOL": [turns[3]],
            "session = 5f1c9e2a-1  duration > 3 s": [turns[5]],
        }.items():
            box.fill(asked)
            box.press("Enter")
            until_shown(page, ids_of(*found))
            page.get_by_role("button", name="Clear filters").click()
        box.fill("duration > 1e9 s")
        box.press("Enter")
        page.get_by_text("No turn meets these filters.").wait_for()


def test_bad_address_says_what_is_wrong_with_it(chromium: Browser, serving: Serving) -> None:
    post(serving.url, make_turn())
    opened = chromium.new_context()
    page = opened.new_page()
    page.goto(f"{serving.url}/?min_ms=fast")
    page.get_by_text("min_ms is 'fast'; it must be a number").wait_for(timeout=WAIT_MS)
    opened.close()


def test_keys_move_and_open(chromium: Browser, serving: Serving) -> None:
    turns = make_turns(3)
    post(serving.url, *turns)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(*turns))
        for key in ("j", "ArrowDown", "j", "k"):
            page.keyboard.press(key)
        assert page.locator("tr.sel").get_attribute("data-key").startswith(ids_of(turns[1])[0])
        page.keyboard.press("?")
        page.get_by_role("dialog").get_by_text("next turn").wait_for()
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "search"
        page.keyboard.type("jjj")  # letters are letters here
        assert page.locator("tr.sel").get_attribute("data-key").startswith(ids_of(turns[1])[0])


def test_enter_opens_the_selected_turn(chromium: Browser, serving: Serving) -> None:
    turns = make_turns(2)
    post(serving.url, *turns)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(*turns))
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/turns/{ids_of(turns[1])[0]}")


def test_reader_keeps_the_row_and_the_place_while_turns_arrive(
    chromium: Browser, serving: Serving
) -> None:
    turns = make_turns(60)
    post(serving.url, *turns)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(*turns))
        for _ in range(41):
            page.keyboard.press("j")
        chosen = page.locator("tr.sel")
        key, top = chosen.get_attribute("data-key"), chosen.bounding_box()["y"]
        new = [make_turn() for _ in range(5)]
        post(serving.url, *new)
        page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 65")
        assert page.locator("tr.sel").get_attribute("data-key") == key
        assert abs(page.locator("tr.sel").bounding_box()["y"] - top) <= 1
        assert page.evaluate("document.activeElement.closest('tr')?.dataset.key") == key


def test_live_can_be_switched_off_and_on(chromium: Browser, serving: Serving) -> None:
    old, missed = make_turn(start_ns=time.time_ns() - SECOND_NS), make_turn("error")
    post(serving.url, old)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(old))
        page.get_by_text("receiving").wait_for()
        page.keyboard.press("l")
        page.get_by_text("not connected").wait_for()
        post(serving.url, missed)
        assert shown_ids(page) == ids_of(old)
        page.keyboard.press("l")
        until_shown(page, ids_of(missed, old))


def test_traces_without_a_turn_are_behind_a_switch(chromium: Browser, serving: Serving) -> None:
    plain = make_trace_id()
    post(serving.url, make_span(plain, name="GET /api/rooms"))
    with open_page(chromium, serving.url) as page:
        page.get_by_text("No turn yet, but 1 other trace.").wait_for()
        page.get_by_role("button", name="Show all traces").click()
        until_shown(page, [plain.hex()])
        assert page.url.endswith("?all=1")


def test_names_from_the_network_stay_text(chromium: Browser, serving: Serving) -> None:
    hostile = make_turn(
        HOSTILE,
        name=HOSTILE,
        attributes={
            "socket.event": HOSTILE,
            "session.id": HOSTILE,
            "turntrace.phase": HOSTILE,
            "gen_ai.request.model": HOSTILE,
            "error.type": HOSTILE,
        },
    )
    post(serving.url, hostile, service=HOSTILE)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(hostile))
        page.locator(".source", has_text=HOSTILE).wait_for()
        post(serving.url, make_turn(HOSTILE, attributes={"socket.event": HOSTILE}))
        page.locator("tbody tr").nth(1).wait_for()
        page.locator(".chip", has_text=HOSTILE).click()
        assert page.locator("tbody .c-event a").first.inner_text() == HOSTILE
        assert page.locator("main img, main script").count() == 0
        assert page.evaluate("window.hacked") is None


def test_drag_over_the_chart_chooses_a_time_range(chromium: Browser, serving: Serving) -> None:
    turns = make_turns(10)
    post(serving.url, *turns)
    with open_page(chromium, serving.url) as page:
        until_shown(page, ids_of(*turns))
        if page.locator(".chart-missing").count():
            pytest.skip("no uPlot: make front-end")
        page.locator(".u-over").wait_for()
        page.get_by_role("img", name="Duration of each of 10 turns").wait_for()
        area = page.locator(".u-over").bounding_box()
        middle = area["y"] + area["height"] / 2
        page.mouse.move(area["x"] + area["width"] / 2, middle)
        page.mouse.down()
        page.mouse.move(area["x"] + area["width"] - 2, middle, steps=5)
        page.mouse.up()
        until_shown(page, ids_of(*turns[:5]))
        assert re.search(r"from_ms=\d+&to_ms=\d+", page.url)


def test_theme_is_flipped_by_a_key_and_remembered(chromium: Browser, serving: Serving) -> None:
    post(serving.url, make_turn())
    with open_page(chromium, serving.url, color_scheme="light") as page:
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.keyboard.press("t")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light != dark
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


@pytest.mark.parametrize("serving", ["s3cret"], indirect=True)
def test_page_behind_a_token_is_live_once_the_token_was_given(
    chromium: Browser, serving: Serving
) -> None:
    owner = {"Authorization": "Bearer s3cret"}
    old, new = make_turn(start_ns=time.time_ns() - SECOND_NS), make_turn()
    post(serving.url, old, **owner)
    opened = chromium.new_context()
    page = opened.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(serving.url)
    page.get_by_label("Token").fill("s3cret")
    page.get_by_role("button", name="Open").click()
    until_shown(page, ids_of(old))
    assert page.url == f"{serving.url}/"
    page.get_by_text("receiving").wait_for()
    post(serving.url, new, **owner)
    until_shown(page, ids_of(new, old))
    opened.close()


def test_page_says_when_the_view_is_gone(chromium: Browser, serving: Serving) -> None:
    post(serving.url, make_turn())
    opened = chromium.new_context()
    page = opened.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(serving.url)
    page.get_by_text("receiving").wait_for()
    serving.stop()
    page.get_by_text("not connected").wait_for()
    opened.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (768, 1024), (390, 844)], ids=str)
@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "turns"])
def test_page_fits_every_width_in_either_theme(
    chromium: Browser, serving: Serving, theme: Any, size: tuple[int, int], is_empty: bool
) -> None:
    width, height = size
    if not is_empty:
        running = make_span(
            make_trace_id(),
            parent_span_id=b"8 bytes!",
            start_time_unix_nano=time.time_ns() - 2 * SECOND_NS,
            end_time_unix_nano=time.time_ns(),
        )
        long = make_turn(attributes={"socket.event": "x" * 150, "session.id": "y" * 150})
        post(serving.url, *make_turns(24), running, long)
    view = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
    with open_page(chromium, serving.url, **view) as page:
        page.locator("h1").wait_for()
        if not is_empty:
            page.locator("tbody tr").nth(25).wait_for()
            page.locator(".chip").nth(6).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("TURNTRACE_SCREENSHOTS"):
            name = f"{'empty' if is_empty else 'turns'}-{width}-{theme}.png"
            page.wait_for_timeout(400)
            page.screenshot(path=Path(folder) / name)


def test_server_of_the_tests_answers(serving: Serving) -> None:
    """A browser that cannot connect would fail everything above without saying why."""
    assert HTTP.request("GET", f"{serving.url}/api/health").status == 200
