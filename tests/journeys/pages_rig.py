"""What the tests of the pages stand on: the view and the backend as processes, and browser tabs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_server
from threading import Event
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from renovation.page import missing_libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from playwright.sync_api import Browser, ConsoleMessage, Page, WebSocketRoute

START_SECONDS = 60.0
ARRIVE_SECONDS = 15.0


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the machine's Chromium; skip where there is none, or nothing to show in it."""
    if missing_libraries():
        pytest.skip("the pages' libraries are not there: run `make front-end` (needs npm)")
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: make setup-dev")
    with api.sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next(filter(None, map(shutil.which, names)), playwright.chromium.executable_path)
        if not Path(path).exists():
            pytest.skip("needs Chromium: .venv/bin/playwright install --with-deps chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass(kw_only=True)
class Stage:
    """A running view and a running backend that sends to it."""

    view_url: str
    chat_url: str
    kept: Path
    """Where every byte lies that the view received."""

    def received(self) -> bytes:
        return b"\n".join(path.read_bytes() for path in sorted(self.kept.iterdir()))

    def trace(self, trace_id: str, *names: str) -> dict[str, dict[str, Any]]:
        """Wait until the trace holds a span of each name; return its spans by name."""
        found: dict[str, dict[str, Any]] = {}

        def is_there() -> bool:
            answer = httpx.get(f"{self.view_url}/api/traces/{trace_id}")
            if answer.status_code == httpx.codes.OK:
                found.update({span["name"]: span for span in answer.json()["spans"]})
            return set(names) <= set(found)

        wait_for(is_there, lambda: f"of {names} only these arrived: {sorted(found)}")
        return found


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Start both as anybody would, on ports and with files of their own."""
    view_port, chat_port = _free_port(), _free_port()
    made = Stage(
        view_url=f"http://127.0.0.1:{view_port}",
        chat_url=f"http://127.0.0.1:{chat_port}",
        kept=folder / "kept",
    )
    theirs = ("OTEL_", "TURNTRACE_", "RENOVATION_", "GOOGLE_", "GEMINI_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(theirs)},
        "OTEL_EXPORTER_OTLP_ENDPOINT": made.view_url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "RENOVATION_VIEW_URL": made.view_url,
        "RENOVATION_DATABASE": str(folder / "renovation.sqlite3"),
    }
    kept = ["--keep-requests", str(made.kept), "--store", str(folder / "view.sqlite")]
    view = ["turntrace.cli", "view", "--port", str(view_port), *kept]
    backend = ["renovation", "--port", str(chat_port)]
    with (
        _running(view, environment, f"{made.view_url}/api/health", folder / "view.out"),
        _running(backend, environment, f"{made.chat_url}/health/ready", folder / "backend.out"),
    ):
        yield made


def wait_for(is_true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Ask until it is true; fail with what `otherwise` says when that takes too long."""
    deadline = time.monotonic() + ARRIVE_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            pytest.fail(otherwise())
        Event().wait(0.05)


@contextmanager
def _running(
    module: list[str], environment: Mapping[str, str], ready_url: str, output: Path
) -> Iterator[None]:
    with output.open("wb") as file:
        command = [sys.executable, "-m", *module]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not _answers(ready_url):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            Event().wait(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Tab:
    """A browser tab that keeps what its console said and what went over its websocket."""

    page: Page
    troubles: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(ARRIVE_SECONDS * 1000)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("websocket", lambda socket: socket.on("framesent", self._sent))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.type}: {message.text} at {message.location}")

    def _sent(self, frame: str | bytes) -> None:
        self.sent.append(frame if isinstance(frame, str) else repr(frame))


class ChatTab(Tab):
    """The chat page as a person uses it."""

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.get_by_text("connected", exact=True).wait_for(state="attached")

    def write(self, text: str) -> None:
        self.page.get_by_label("Your message").fill(text)
        self.page.keyboard.press("Enter")

    def say(self, text: str) -> str:
        """Send a message, wait for the whole answer, and return the id of its trace."""
        links = self.page.get_by_role("link", name="see this turn")
        before = links.count()
        self.write(text)
        links.nth(before).wait_for()
        return str(links.nth(before).get_attribute("href")).rpartition("/")[2]

    def messages(self, of: str) -> list[str]:
        """Return what the user or the assistant said, as the page shows it."""
        return self.page.locator(f"article.{of} .words").all_inner_texts()


class Tabs:
    """The tabs of one test, all in one browser profile."""

    def __init__(self, browser: Browser, stage: Stage) -> None:
        self._context = browser.new_context()
        self._stage = stage
        self._opened: list[Tab] = []
        self.sockets: list[WebSocketRoute] = []
        """The websockets of tabs that go through us, to be closed under their feet."""

    def close(self) -> None:
        """Close all; none may have complained on its console."""
        self._context.close()
        assert [tab.troubles for tab in self._opened if tab.troubles] == []

    def page(self, url: str) -> Tab:
        """Open any page."""
        tab = Tab(self._context.new_page())
        self._opened.append(tab)
        tab.page.goto(url)
        return tab

    def chat(self, url: str = "", *, is_through_us: bool = False) -> ChatTab:
        """Open the chat page; through us only, a websocket can be cut."""
        tab = ChatTab(self._context.new_page())
        self._opened.append(tab)
        if is_through_us:
            tab.page.route_web_socket(re.compile("transport=websocket"), self._pass_on)
        tab.open(url or self._stage.chat_url)
        return tab

    def _pass_on(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.connect_to_server()
