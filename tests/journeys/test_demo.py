"""`make demo ONCE=1`: exit code 0 only for a whole trace, and nothing typed in what it stored."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGE = "A scandinavian kitchen for qzcanary Agathe, please."


def demo(kept: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "renovation.demo", "--once",
         "--message", MESSAGE, "--keep-requests", str(kept)],
        env={**os.environ, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )  # fmt: skip


def test_the_demo_prints_the_turn_and_keeps_nothing_that_was_typed(tmp_path: Path) -> None:
    # Whatever its user has configured: the demo shows what happens without any configuration.
    theirs = {"OTEL_ENABLED": "false", "TURNTRACE_ENVIRONMENT": "production"}
    done = demo(tmp_path, **theirs, HTTP_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "POST /api/sessions",
        "socket.io chat:user_message",
        "invoke_agent renovation",
        "chat gemini-2.5-flash",
        "execute_tool get_style_examples",
        "SELECT style_catalog",
    ):
        assert name in done.stdout
    received = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"socket.io chat:user_message" in received
    for typed in (b"qzcanary", b"Agathe", b"scandinavian", b"Scandinavian"):
        assert typed not in received


def test_the_demo_fails_when_the_assistant_cannot_answer(tmp_path: Path) -> None:
    done = demo(tmp_path, GEMINI_BASE_URL="http://127.0.0.1:9", GOOGLE_API_KEY="none")
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr


@pytest.fixture
def staying_demo() -> Iterator[subprocess.Popen[str]]:
    """The demo as a person starts it; ended whatever a test makes of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "renovation.demo"], stdout=subprocess.PIPE, text=True
    )
    limit = threading.Timer(90.0, process.kill)  # ends the reading, too
    limit.start()
    yield process
    limit.cancel()
    process.terminate()
    process.communicate(timeout=30)


def test_the_demo_leaves_both_pages_open_until_it_is_interrupted(
    staying_demo: subprocess.Popen[str],
) -> None:
    assert staying_demo.stdout is not None
    urls: dict[str, str] = {}
    for line in staying_demo.stdout:
        if found := re.fullmatch(r"  (chat|its turn|all turns) +(http://127\.0\.0\.1:\S+)\n", line):
            urls[found[1]] = found[2]
        if line.startswith("Ctrl-C"):
            break
    assert set(urls) == {"chat", "its turn", "all turns"}
    pages = {name: httpx.get(url) for name, url in urls.items()}
    assert {name: page.status_code for name, page in pages.items()} == dict.fromkeys(urls, 200)
    # The chat page links to the view of this demo, wherever that is.
    assert f'data-view-url="{urls["all turns"].rstrip("/")}"' in pages["chat"].text
    assert urls["its turn"].startswith(urls["all turns"])

    staying_demo.send_signal(signal.SIGINT)
    assert staying_demo.wait(30.0) == 0
    for url in urls.values():
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
