"""Programs that tests start: in a clean environment, with their output kept, always ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60.0
END_SECONDS = 20.0
BIN = Path(sys.prefix) / "bin"
RUN = [str(BIN / "turntrace"), "run", "--"]
HTTP = urllib3.PoolManager(retries=urllib3.Retry(20, backoff_factor=0.05), timeout=START_SECONDS)


def environment(endpoint: str = "http://127.0.0.1:9", **more: str) -> dict[str, str]:
    """Return the environment without anybody's telemetry settings; ``endpoint`` is the receiver."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "TURNTRACE_")) and name != "PYTHONPATH"
    }
    path = f"{BIN}{os.pathsep}{inherited.get('PATH', '')}"
    defaults = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    return {**inherited, "PATH": path, **defaults, **more}


def finished(
    words: list[str], folder: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        words,
        cwd=folder,
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


class Server:
    """A server program that says in its output on which port it listens."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output
        self.url = self._wait_for_url()

    def output(self) -> str:
        return self._output.read_text()

    def get(self, path: str) -> str:
        answer = HTTP.request("GET", self.url + path, headers={"connection": "close"})
        assert answer.status == 200, self.output()
        return answer.data.decode()

    def terminate(self) -> float:
        """Send SIGTERM and return after how many seconds it had ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(END_SECONDS)
        return time.monotonic() - started

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = re.search(r"http://127\.0\.0\.1:\d+", self.output())
            if found:
                return found[0]
            assert self.process.poll() is None, self.output()
            threading.Event().wait(0.02)
        raise AssertionError(self.output())


@contextmanager
def serving(words: list[str], folder: Path, env: dict[str, str]) -> Iterator[Server]:
    """Run a server, and end all of its processes."""
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            words, cwd=folder, env=env, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield Server(process, output)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(END_SECONDS)
