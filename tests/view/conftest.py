"""A view over a real store: spoken to in-process, over a port, and with a real Chromium."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from otlp_requests import SMALL_LIMITS, URL
from starlette.testclient import TestClient

from turntrace.store.sqlite import SqliteStore
from turntrace.view.app import build_app
from turntrace.view.server import make_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import uvicorn
    from playwright.sync_api import Browser

    from turntrace.view.live import Live

WAIT_SECONDS = 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "view.sqlite")
    yield store
    store.close()


@pytest.fixture
def client(store: SqliteStore) -> Iterator[TestClient]:
    with TestClient(build_app(store, limits=SMALL_LIMITS), base_url=URL) as client:
        yield client


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A view that answers on a port of its own."""

    url: str
    live: Live
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self.server.should_exit = True
        self.thread.join(WAIT_SECONDS)


@pytest.fixture
def serving(store: SqliteStore, request: pytest.FixtureRequest) -> Iterator[Serving]:
    """Serve the store; ``@pytest.mark.parametrize("serving", ["TOKEN"], indirect=True)``."""
    app = build_app(store, token=getattr(request, "param", None))
    is_ready = threading.Event()
    server = make_server(app, announce=is_ready.set)
    config = server.config
    config.host, config.port = "127.0.0.1", 0
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert is_ready.wait(WAIT_SECONDS)
    port = server.servers[0].sockets[0].getsockname()[1]
    serving = Serving(
        url=f"http://127.0.0.1:{port}", live=app.state.live, server=server, thread=thread
    )
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start one browser for all tests of a file; each test opens a context of its own.

    Not for a whole session: while it runs, its event loop is in the way of the async tests'.
    """
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if executable is None:
        pytest.skip("no Chromium: apt install chromium (or set CHROMIUM to its path)")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("no Playwright: make setup-dev (or pip install playwright)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
