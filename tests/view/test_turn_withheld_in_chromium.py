"""Withheld keys and stacks in the panel of the Turn page, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from turn_stories import HOSTILE, START_NS, Story
from withheld_story import ORDER, PASTED, STACK, withheld_story

from turntrace.store.contract import StoredEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from conftest import Serving
    from turntrace.store.contract import StoredSpan
    from turntrace.store.sqlite import SqliteStore

MAX_WAIT_MS = 10_000
SECTION = "[data-detail] section.withheld"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Open a page that must not complain."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
        reduced_motion="reduce",
    )
    context.set_default_timeout(MAX_WAIT_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def order(store: SqliteStore, serving: Serving, page: Page) -> Page:
    """Open the span that has withheld keys on itself, an event and a link."""
    return _open(page, store, serving, withheld_story().spans, ORDER)


def _open(
    page: Page, store: SqliteStore, serving: Serving, spans: list[StoredSpan], span_id: str
) -> Page:
    store.write(spans).result(10)
    page.goto(f"{serving.url}/turns/{spans[0].trace_id}#{span_id}")
    page.wait_for_selector("[data-detail] .event, [data-detail] .withheld")
    return page


def _lines(page: Page) -> list[str]:
    return page.locator(".stack .line").all_text_contents()


def test_withheld_keys_stand_with_their_length_under_the_attributes(order: Page) -> None:
    assert order.inner_text(f"{SECTION} h3") == "5 attributes withheld"
    keys = order.locator(f"{SECTION} li > p:first-child").all_inner_texts()
    assert [key.split() for key in keys] == [
        ["customer.note", "length", "27"],
        ["order.reference", "length", "1,204"],
        ["gift", "card", "text", "length", "4"],
    ]
    section = order.inner_text(SECTION)
    assert "TURNTRACE_ATTRIBUTES=customer.note:id" in section
    assert "Of the other 2" in section


def test_attributes_do_not_repeat_what_the_withheld_keys_say(order: Page) -> None:
    shown = order.locator("[data-detail] .attrs dt").all_text_contents()
    assert "order.items" in shown
    assert not [key for key in shown if "withheld" in key or key.endswith(".length")]


def test_line_that_lets_a_key_out_can_be_copied(order: Page) -> None:
    assert order.locator(f"{SECTION} .paste code").first.text_content() == PASTED
    button = order.locator(f"{SECTION} .paste button").first
    button.click()
    order.wait_for_function(
        "() => document.querySelector('.paste button').textContent === 'Copied'"
    )
    assert order.evaluate("navigator.clipboard.readText()") == PASTED


def test_line_to_paste_is_never_cut(order: Page) -> None:
    for width in (1280, 390):
        order.set_viewport_size({"width": width, "height": 844})
        cut = order.eval_on_selector_all(
            "[data-detail], .paste code",
            "all => all.map(one => one.scrollWidth - one.clientWidth)",
        )
        assert cut == [0, 0, 0, 0, 0]


def test_key_that_cannot_be_registered_says_so_and_offers_nothing(order: Page) -> None:
    item = order.locator(f"{SECTION} li").nth(2)
    assert "No such key can be registered" in item.inner_text()
    assert item.locator("button").count() == 0


def test_events_and_links_say_what_was_withheld_of_them(order: Page) -> None:
    event = order.inner_text(".event .withheld")
    assert "order.reason" in event
    assert "1 attribute withheld" in event
    assert "1 attribute withheld of the link to 33333333" in order.inner_text(".links .withheld")


def test_long_stack_is_folded_and_unfolds_with_the_keyboard(order: Page) -> None:
    assert _lines(order) == [line.strip() for line in STACK.split("\n")[:8]]
    button = order.locator(".stack + button")
    assert button.inner_text() == "13 more lines"
    button.press("Enter")
    assert _lines(order) == [line.strip() for line in STACK.split("\n")]
    assert button.get_attribute("aria-expanded") == "true"
    button.press("Enter")
    assert len(_lines(order)) == 8


def test_frames_stand_further_in_than_what_they_belong_to(order: Page) -> None:
    order.click(".stack + button")
    lefts = order.eval_on_selector_all(
        ".stack .line", "all => all.map(one => parseFloat(getComputedStyle(one).paddingLeft))"
    )
    cell = (lefts[1] - lefts[0]) / 2
    assert cell > 4
    indents = [len(line) - len(line.lstrip()) for line in STACK.split("\n")]
    assert lefts == pytest.approx([(indent + 2) * cell for indent in indents], abs=0.5)


def test_message_that_may_leave_stands_above_the_stack(order: Page) -> None:
    assert order.inner_text(".event .words") == "more than 20 orders a minute"


def test_stack_of_another_tracer_is_shown_whole(
    store: SqliteStore, serving: Serving, page: Page
) -> None:
    lines = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "KeyError: 'b'"]
    _open(page, store, serving, _failed(stack="\n".join(lines)), f"{1:016x}")
    assert _lines(page) == [line.strip() for line in lines]
    assert page.locator(".stack + button").count() == 0


def test_hostile_keys_and_stacks_are_only_text(
    store: SqliteStore, serving: Serving, page: Page
) -> None:
    keys = [HOSTILE, 'a"}); import os #', "app.*", "\u202eevil", "x" * 9000]
    spans = _failed(stack=f"{HOSTILE}\n  {HOSTILE}:1 in {HOSTILE}\n{'y' * 3000}", keys=keys)
    _open(page, store, serving, spans, f"{1:016x}")
    assert HOSTILE in _lines(page)[0]
    assert page.locator("main img, main script, .paste").count() == 0
    assert page.locator(f"{SECTION} li").count() == 5
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        for selector in ("html", "[data-detail]"):
            box = "one => one.scrollWidth - one.clientWidth"
            assert page.eval_on_selector(selector, box) == 0
    assert page.title() == "place order · turntrace"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_on_the_withheld_ground_can_be_read(order: Page, theme: str) -> None:
    order.emulate_media(color_scheme="light" if theme == "light" else "dark")
    ratios: dict[str, float] = order.evaluate(_CONTRASTS)
    assert set(ratios) == {"h3", "p", ".dim", ".paste code", ".stack .dim", ".stack b"}
    assert min(ratios.values()) >= 4.5, ratios


_CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const light = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
            .map((part) => part / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : colour;
    };
    const ratio = (element) => {
        const both = [light(getComputedStyle(element).color), light(ground(element))];
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    };
    const names = ["h3", "p", ".dim", ".paste code"]
        .map((name) => [name, `section.withheld ${name}`]);
    for (const name of [".stack .dim", ".stack b"]) names.push([name, name]);
    return Object.fromEntries(names.map(([name, selector]) => [
        name, Math.min(...[...document.querySelectorAll(selector)].map(ratio)),
    ]));
}"""


def _failed(*, stack: str, keys: list[Any] | None = None) -> list[StoredSpan]:
    story = Story()
    event = StoredEvent(
        name="exception", time_ns=START_NS, attributes={"exception.stacktrace": stack}
    )
    facts: dict[str, Any] = {"turntrace.withheld.keys": keys} if keys else {}
    story.add("place order", "", 0, 10, facts, error="x.Y", events=(event,))
    return story.spans
