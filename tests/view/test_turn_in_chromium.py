"""The Turn page in a real browser, over a real store and a real port."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from turn_stories import (
    CONNECT_TRACE_ID,
    HOSTILE,
    START_NS,
    TRACE_ID,
    Story,
    connection,
    eight_seconds,
    long_turn,
)

from turntrace.view.turn_document import turn_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from conftest import Serving
    from turntrace.store.contract import StoredSpan
    from turntrace.store.sqlite import SqliteStore

MAX_WAIT_MS = 10_000
ROWS = ".wf-row.span"
SELECTED = f"{ROWS}.sel"
CATALOG = f"{14:016x}"
"""The slow statement of the turn of eight seconds."""
TOOLS = f"{11:016x}"
"""Its node with two tools, five spans below it."""


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
        reduced_motion="reduce",
    )
    context.set_default_timeout(MAX_WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Open a page that must not complain."""
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []


@pytest.fixture
def turn(store: SqliteStore, serving: Serving, page: Page) -> Page:
    """Open the turn of eight seconds."""
    return _open(page, store, serving, eight_seconds().spans)


def _open(page: Page, store: SqliteStore, serving: Serving, spans: list[StoredSpan]) -> Page:
    store.write(spans).result(10)
    page.goto(f"{serving.url}/turns/{spans[0].trace_id}")
    page.wait_for_selector(ROWS)
    return page


def _names(page: Page) -> list[str]:
    return page.locator(f"{ROWS} .name").all_text_contents()


def _wait_for(page: Page, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument)


def _wait_for_text(page: Page, selector: str, text: str) -> None:
    _wait_for(
        page,
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)",
        [selector, text],
    )


# ---- What is drawn ---------------------------------------------------------------------------


def test_rows_stand_nested_as_they_were_recorded(turn: Page) -> None:
    drawn = turn.eval_on_selector_all(
        ROWS,
        "rows => rows.map(row => [row.dataset.span, Number(row.getAttribute('aria-level')) - 1,"
        " row.querySelector('.name').textContent])",
    )
    document = turn_document(eight_seconds().spans)
    assert drawn == [[row["id"], row["depth"], row["name"]] for row in document["rows"]]


def test_bars_stand_where_the_spans_were(turn: Page) -> None:
    share = turn.evaluate(
        """id => {
            const track = document.querySelector(`#row-${id} .track`).getBoundingClientRect();
            const bar = document.querySelector(`#row-${id} .bar`).getBoundingClientRect();
            return [(bar.left - track.left) / track.width, bar.width / track.width];
        }""",
        CATALOG,
    )
    assert share == pytest.approx([2312 / 8214, 2296 / 8214], abs=0.005)


def test_summary_and_words_are_shown(turn: Page) -> None:
    stats = turn.inner_text("[data-stats]")
    for fact in ("ok", "8.21 s", "5.65 s", "8,282", "$0.00201", "2 calls", "21 spans, 2 errors"):
        assert fact in stats
    where = turn.inner_text("[data-where]").replace("\n", " ")
    assert "Where 8.21 s went" in where
    assert "SELECT style_catalog 2.30 s" in where


def test_first_token_is_one_line_through_every_row(turn: Page) -> None:
    shares = turn.eval_on_selector_all(
        ".track",
        "tracks => tracks.map(track =>"
        " parseFloat(getComputedStyle(track, '::after').left) / track.clientWidth)",
    )
    assert shares == pytest.approx([5650 / 8214] * 23, abs=0.01)
    assert turn.locator(".diamond:not(.hollow)").count() == 1


def test_link_leads_to_the_connection(turn: Page, store: SqliteStore) -> None:
    store.write([connection()]).result(10)
    turn.reload()
    turn.click("[data-ids] a")
    _wait_for_text(turn, "[data-name]", "socket.io connect /")
    assert f"/turns/{CONNECT_TRACE_ID}#{'22' * 8}" in turn.url


# ---- Selecting -------------------------------------------------------------------------------


def test_first_failure_is_selected_at_first(turn: Page) -> None:
    assert turn.inner_text(f"{SELECTED} .name") == "UPDATE renovation_sessions"
    _wait_for_text(turn, "[data-detail] .failure", "sqlalchemy.exc.OperationalError")


def test_selecting_a_span_shows_its_details_and_its_address(turn: Page) -> None:
    turn.click(f"#row-{CATALOG} .name")
    _wait_for_text(turn, "[data-detail] dl", "postgresql")
    assert turn.inner_text("[data-detail] h2 bdi") == "SELECT style_catalog"
    assert turn.url.endswith(f"#{CATALOG}")


def test_address_of_a_span_selects_it(turn: Page, serving: Serving) -> None:
    turn.goto(f"{serving.url}/turns/{TRACE_ID}#{CATALOG}")
    turn.reload()
    _wait_for_text(turn, f"{SELECTED} .name", "SELECT style_catalog")


def test_withheld_attributes_are_counted(turn: Page) -> None:
    turn.click(f"#row-{15:016x} .name")
    _wait_for_text(turn, "[data-detail] .withheld", "3 attributes withheld")


def test_part_of_the_words_leads_to_its_span(turn: Page) -> None:
    turn.click("[data-where] button:has-text('style_catalog')")
    assert turn.inner_text(f"{SELECTED} .name") == "SELECT style_catalog"


def test_ids_and_the_whole_trace_can_be_copied(turn: Page) -> None:
    def copied() -> str:
        return str(turn.evaluate("navigator.clipboard.readText()"))

    turn.click(f"#row-{CATALOG} .name")
    turn.click("[data-copied=span]")
    _wait_for_text(turn, "[data-copied=span]", "Copied")
    assert copied() == CATALOG
    turn.click("[data-copy-id]")
    _wait_for_text(turn, "[data-copy-id]", "Copied")
    assert copied() == TRACE_ID
    turn.click("[data-copy-json]")
    _wait_for_text(turn, "[data-copy-json]", "Copied")
    assert json.loads(copied())["span_count"] == 21


def test_json_can_be_kept_as_a_file(turn: Page) -> None:
    with turn.expect_download() as download:
        turn.click("a[download]")
    assert download.value.suggested_filename == f"turn-{TRACE_ID[:12]}.json"
    assert json.loads(download.value.path().read_bytes())["span_count"] == 21


# ---- Folding, finding, keys ------------------------------------------------------------------


def test_folded_row_says_how_many_it_hides_and_draws_them_inside(turn: Page) -> None:
    turn.click(f"#row-{TOOLS} .twist")
    assert turn.locator(ROWS).count() == 16
    assert turn.inner_text(f"#row-{TOOLS} .hidden-count") == "+5 folded"
    assert turn.locator(f"#row-{TOOLS} .ghost").count() == 5
    assert turn.inner_text("[data-count]") == "21 spans, 5 folded"
    turn.click("[data-fold-all]")
    assert _names(turn)[10:14] == [
        "node tools",
        "execute_tool get_style_examples",
        "GET style:{key}",
        "SELECT style_catalog",
    ]


def test_finding_marks_counts_and_goes_through_the_matches(turn: Page) -> None:
    turn.keyboard.press("/")
    turn.keyboard.type("style_c")
    _wait_for_text(turn, "[data-count]", "1 match")
    assert turn.inner_text(f"#row-{CATALOG} mark") == "style_c"
    turn.fill("[data-find]", "gemini")
    _wait_for_text(turn, "[data-count]", "2 matches")
    turn.keyboard.press("Enter")
    assert turn.inner_text("[data-count]") == "1 of 2 matches"
    turn.keyboard.press("Escape")
    turn.fill("[data-find]", "nobody wrote this")
    _wait_for_text(turn, "[data-count]", "no match")


def test_match_inside_a_fold_is_brought_to_light(turn: Page) -> None:
    turn.click("[data-fold-all]")
    assert turn.locator(f"#row-{CATALOG}").count() == 0
    turn.fill("[data-find]", "catalog")
    turn.press("[data-find]", "Enter")
    assert turn.inner_text(f"{SELECTED} .name") == "SELECT style_catalog"


def test_keys_move_fold_and_jump(turn: Page) -> None:
    turn.click(f"#row-{TOOLS} .name")
    turn.keyboard.press("j")
    assert turn.inner_text(f"{SELECTED} .name") == "execute_tool get_style_examples"
    turn.keyboard.press("ArrowUp")
    turn.keyboard.press("ArrowLeft")
    assert turn.get_attribute(f"#row-{TOOLS}", "aria-expanded") == "false"
    turn.keyboard.press("ArrowLeft")
    assert turn.inner_text(f"{SELECTED} .name") == "invoke_agent renovation"
    turn.keyboard.press("k")
    turn.keyboard.press("ArrowDown")
    turn.keyboard.press("ArrowRight")
    assert turn.inner_text(f"{SELECTED} .name") == "node agent"
    turn.keyboard.press("Escape")
    assert turn.locator(SELECTED).count() == 0


def test_key_c_leaves_only_what_the_turn_waited_for(turn: Page) -> None:
    turn.keyboard.press("c")
    assert turn.locator(ROWS).count() == 9
    assert turn.get_attribute("[data-path-only]", "aria-pressed") == "true"
    assert "SELECT chat_messages" not in _names(turn)
    turn.keyboard.press("c")
    assert turn.locator(ROWS).count() == 21


def test_question_mark_lists_the_keys(turn: Page) -> None:
    turn.keyboard.press("?")
    assert "critical path only" in turn.inner_text("dialog[open]")


# ---- Turns that are not whole, or not nice ---------------------------------------------------


def test_running_turn_says_so_and_follows_what_arrives(
    store: SqliteStore, serving: Serving, page: Page
) -> None:
    spans = _now(page, eight_seconds().spans)
    _open(page, store, serving, spans[1:8])
    _wait_for_text(page, "[data-notice]", "This turn is running")
    assert "parent not here (not kept, or not arrived)" in page.inner_text(f"#row-{7:016x} .said")
    store.write([spans[0], *spans[8:]]).result(10)
    _wait_for_text(page, "[data-count]", "21 spans")
    _wait_for(page, "() => document.querySelector('[data-notice]').hidden")
    assert "ok" in page.inner_text("[data-stats]")


def test_selection_and_folds_stay_while_spans_arrive(
    store: SqliteStore, serving: Serving, page: Page
) -> None:
    spans = _now(page, eight_seconds().spans)
    _open(page, store, serving, spans[:16])
    page.click(f"#row-{TOOLS} .twist")
    page.click(f"#row-{TOOLS} .name")
    store.write(spans[16:]).result(10)
    _wait_for_text(page, "[data-count]", "21 spans, 5 folded")
    assert page.get_attribute(SELECTED, "data-span") == TOOLS


def test_names_and_values_of_others_are_only_text(
    store: SqliteStore, serving: Serving, page: Page
) -> None:
    story = Story()
    facts = {"turntrace.turn.outcome": HOSTILE, "session.id": HOSTILE, HOSTILE: HOSTILE}
    root = story.add(HOSTILE, "", 0, 10, facts, error=HOSTILE, service=HOSTILE)
    story.add("SELECT " + HOSTILE, root, 1, 5, {"db.system.name": "sqlite"})
    _open(page, store, serving, story.spans)
    page.click(f"#row-{1:016x} .name")
    _wait_for_text(page, "[data-detail] dl", HOSTILE)
    page.fill("[data-find]", "<img")
    _wait_for_text(page, "[data-count]", "2 matches")
    assert page.locator("main img, main script").count() == 0
    assert page.title() == f"{HOSTILE} · turntrace"


def test_turn_of_2000_spans_stays_quick(store: SqliteStore, serving: Serving, page: Page) -> None:
    _open(page, store, serving, long_turn(2000).spans)
    assert page.locator(ROWS).count() < 150
    longest_ms = page.evaluate(
        """async () => {
            const rows = document.querySelector("[data-rows]");
            let longest = 0;
            for (let step = 0; step < 40; step += 1) {
                const since = performance.now();
                document.dispatchEvent(new KeyboardEvent("keydown", { key: "j" }));
                scrollBy(0, 900);
                await new Promise(requestAnimationFrame);
                longest = Math.max(longest, performance.now() - since);
            }
            return longest;
        }"""
    )
    assert longest_ms < 1000
    page.fill("[data-find]", "table_1999")
    page.press("[data-find]", "Enter")
    assert page.inner_text(f"{SELECTED} .name") == "SELECT table_1999"
    assert page.locator(SELECTED).bounding_box()["y"] < 900


# ---- Screens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_page_never_scrolls_sideways(
    store: SqliteStore, serving: Serving, page: Page, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    story = eight_seconds()
    story.spans[0] = replace(story.spans[0], name="y" * 300)
    story.add("x" * 300, story.spans[0].span_id, 10, 3, {"app." + "k" * 200: "v" * 900})
    _open(page, store, serving, story.spans)
    page.click(f"#row-{22:016x} .name")
    _wait_for_text(page, "[data-detail] dl", "kkk")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_a_span_takes_two_lines_and_its_details_come_from_below(
    store: SqliteStore, serving: Serving, page: Page
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    _open(page, store, serving, eight_seconds().spans)
    assert page.locator(SELECTED).count() == 0
    name = page.locator(f"#row-{CATALOG} .name").bounding_box()
    bar = page.locator(f"#row-{CATALOG} .bar").bounding_box()
    assert name is not None
    assert bar is not None
    assert bar["y"] >= name["y"] + name["height"] - 2
    page.click(f"#row-{CATALOG} .name")
    sheet = page.locator("[data-detail]").bounding_box()
    row = page.locator(SELECTED).bounding_box()
    assert sheet is not None
    assert row is not None
    assert sheet["y"] + sheet["height"] == pytest.approx(844, abs=1)
    assert row["y"] + row["height"] <= sheet["y"]


def test_without_javascript_the_plain_list_is_shown(
    store: SqliteStore, serving: Serving, chromium: Browser
) -> None:
    store.write(eight_seconds().spans).result(10)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{serving.url}/turns/{TRACE_ID}")
    page.wait_for_url("**?plain")
    assert page.locator("table.plain tbody tr").count() == 21
    context.close()


def _now(page: Page, spans: list[StoredSpan]) -> list[StoredSpan]:
    """Return the spans as if the last of them had just ended, by the clock of the browser."""
    page.goto("about:blank")
    last_ns = max(span.end_ns for span in spans)
    late_ns = int(page.evaluate("Date.now()")) * 1_000_000 - last_ns
    assert late_ns > -START_NS
    return [
        replace(span, start_ns=span.start_ns + late_ns, end_ns=span.end_ns + late_ns)
        for span in spans
    ]
