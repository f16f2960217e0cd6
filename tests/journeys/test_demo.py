"""`make demo ONCE=1`: exit code 0 only for a whole trace, and nothing typed in what it stored."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
