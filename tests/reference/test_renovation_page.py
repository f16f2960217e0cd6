"""The chat page as it is served: its headers, its files, and what it says when some are missing."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from renovation_rig import Socket

from renovation.page import STATIC, VENDORED, add_page, missing_libraries
from renovation.settings import DEFAULT_VIEW_URL, SettingError, Settings
from renovation.telemetry import current_trace_id


def put_libraries(folder: Path) -> Path:
    for name in VENDORED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


async def page(vendor: Path, view_url: str = DEFAULT_VIEW_URL) -> str:
    api = FastAPI()
    add_page(api, view_url, vendor=vendor)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=api), base_url="http://test"
    ) as client:
        return (await client.get("/")).text


async def test_the_page_allows_nothing_but_its_own_files(http: httpx.AsyncClient) -> None:
    response = await http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


async def test_nothing_on_the_page_is_inline(http: httpx.AsyncClient) -> None:
    text = (await http.get("/")).text
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", text) == []


async def test_every_file_that_the_page_names_is_served(http: httpx.AsyncClient) -> None:
    named = re.findall(r'(?:src|href)="(static/[^"]+)"', (await http.get("/")).text)
    assert {"static/main.js", "static/chat.css"} <= set(named)
    scripts = [path for path in STATIC.iterdir() if path.suffix == ".js"]
    assert len(scripts) >= 4
    for name in [*named, *(f"static/{path.name}" for path in scripts)]:
        response = await http.get(f"/{name}")
        assert response.status_code == 200, name
        if name.endswith(".js"):
            assert "javascript" in response.headers["content-type"]


def test_every_import_of_the_page_is_an_address() -> None:
    # A bare name would need an import map, which the policy refuses.
    for path in STATIC.glob("*.js"):
        for name in re.findall(r'(?:from|import)\s*\(?\s*"([^"]+)"', path.read_text()):
            assert name.startswith("./"), f"{path.name} imports {name}"


async def test_the_page_says_which_libraries_are_missing_and_how_to_get_them(
    tmp_path: Path,
) -> None:
    vendor = put_libraries(tmp_path)
    (vendor / VENDORED[1]).unlink()
    text = await page(vendor)
    assert f'data-missing="{VENDORED[1]}"' in text
    assert "make front-end" in text


async def test_a_page_with_all_its_libraries_misses_nothing(tmp_path: Path) -> None:
    assert missing_libraries(put_libraries(tmp_path)) == []
    assert 'data-missing=""' in await page(tmp_path)


async def test_the_page_knows_where_the_view_is(tmp_path: Path) -> None:
    text = await page(tmp_path, 'http://view.test:1/"><b>')
    assert 'data-view-url="http://view.test:1/&quot;&gt;&lt;b&gt;"' in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://traces.test/view/", "https://traces.test/view"),
        ("http://127.0.0.1:4319", "http://127.0.0.1:4319"),
        ("  ", DEFAULT_VIEW_URL),
    ],
)
def test_the_address_of_the_view_is_a_setting(given: str, used: str) -> None:
    settings = Settings.from_environment({"RENOVATION_VIEW_URL": given})
    assert settings.view_url == used


@pytest.mark.parametrize(
    "given",
    ["javascript:alert(1)", "4318", "http://", "ftp://a", "http://a:x", "http://[", "http://a?b"],
)
def test_what_is_no_web_address_is_refused_by_name(given: str) -> None:
    with pytest.raises(SettingError, match="RENOVATION_VIEW_URL"):
        Settings.from_environment({"RENOVATION_VIEW_URL": given})


async def test_an_acknowledgement_names_no_trace_when_tracing_is_off(
    user: Socket, session_id: str
) -> None:
    await user.join(session_id)
    await user.say(session_id, "Hello")
    acknowledgement = await user.until("chat:message_ack")
    assert set(acknowledgement) == {"sessionId", "status", "timestamp"}


def test_the_current_trace_is_named_as_the_view_names_it(recorded: object) -> None:
    with trace.get_tracer("test").start_as_current_span("turn") as span:
        assert current_trace_id() == f"{span.get_span_context().trace_id:032x}"
    assert current_trace_id() is None
