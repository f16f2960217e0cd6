"""The processes of a load test: started on free ports, read through /proc, ended one by one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
START_SECONDS = 90.0
STOP_SECONDS = 10.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_OURS = ("OTEL_", "TURNTRACE_", "RENOVATION_", "GOOGLE_", "GEMINI_", "DATABASE_URL")


class CannotRunError(Exception):
    """The test cannot go on; the text says why."""


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program of ours and end it, and only it, afterwards."""
    # In a session of its own: Ctrl-C is the load test's, which then ends them one by one.
    running = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, *command],
        env={**clean_environment(), **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()


def clean_environment() -> dict[str, str]:
    """Return this environment without what configures us, and without proxies."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and not name.lower().endswith("_proxy")
    }
    return {**clean, "XDG_STATE_HOME": tempfile.gettempdir()}  # no spool in anybody's home


def first_line(running: subprocess.Popen[bytes]) -> str:
    """Wait for the address a program prints when it listens."""
    output = _output(running)
    line = output.readline().decode().strip()
    if not line:
        raise CannotRunError(f"{running.args!r} ended at once; its standard error says why")
    return line


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A running reference backend."""

    url: str
    running: subprocess.Popen[bytes]

    @classmethod
    @contextmanager
    def serve(cls, environment: Mapping[str, str]) -> Iterator[Backend]:
        """Start one on a free port and wait until it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(HERE / "load_server.py"), "--port", str(port)]
        with process(command, environment) as running:
            backend = cls(url=f"http://127.0.0.1:{port}", running=running)
            backend._wait_until_ready()
            yield backend

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.running.poll() is not None:
                raise CannotRunError(f"the backend ended with code {self.running.returncode}")
            try:
                with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2.0):  # noqa: S310 - our own
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise CannotRunError(f"the backend was not ready within {START_SECONDS:.0f} s")

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads so far, user and system."""
        text = Path(f"/proc/{self.running.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()  # the name before it may hold anything
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def resident_megabytes(self) -> float:
        """Return what it occupies, after it has given back what it merely kept."""
        self.running.send_signal(signal.SIGUSR1)
        if _output(self.running).readline() != b"tidy\n":
            raise CannotRunError("the backend ended")
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


def _output(running: subprocess.Popen[bytes]) -> IO[bytes]:
    assert running.stdout is not None
    return running.stdout
