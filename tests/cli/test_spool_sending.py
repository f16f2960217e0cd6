"""Claims about `turntrace spool drain` and `ship`: what others left on disk arrives, once."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from export.export_collector import Reply, running_collector, wait_until
from faults.spool_model import numbered
from started_program import BIN, START_SECONDS, environment
from turntrace.cli.spool_drain import _progress
from turntrace.export.spool.place import spool_key
from turntrace.export.spool.report import look_at
from turntrace.export.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TURNTRACE = str(BIN / "turntrace")
KILLED = """
import os
import signal
import turntrace
turntrace.configure()
for _ in range(20):
    with turntrace.turn("left behind"):
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITER = """
import sys
import turntrace
telemetry = turntrace.configure()
for line in sys.stdin:
    with turntrace.turn("written"):
        pass
"""


class Service:
    """One service's environment: a spool, and a collector that may come later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "spool"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.env = environment(
            f"http://127.0.0.1:{self.port}",
            OTEL_SERVICE_NAME="chat",
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abc",
            TURNTRACE_SPOOL_DIR=str(self.root),
        )

    def is_killed(self) -> None:
        """Let a process of it end 20 spans and be killed."""
        done = subprocess.run([sys.executable, "-c", KILLED], env=self.env, check=False)
        assert done.returncode == -signal.SIGKILL
        assert look_at(self.root).spans() == 20

    def drain(self, *options: str, **env: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [TURNTRACE, "spool", "drain", "--json", *options],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


@contextmanager
def started(words: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def shipping(service: Service) -> Iterator[subprocess.Popen[str]]:
    words = [TURNTRACE, "spool", "ship"]
    env = {**service.env, "TURNTRACE_SHIPPER": "process"}
    with started(words, env) as shipper:
        assert shipper.stdout is not None
        assert "sends what chat writes to" in shipper.stdout.readline()
        yield shipper


def stopped(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, float]:
    """Stop a process; return its exit code, and after how many seconds it had ended."""
    begun = time.monotonic()
    process.send_signal(number)
    return process.wait(START_SECONDS), time.monotonic() - begun


def test_drain_sends_what_a_killed_process_left(service: Service) -> None:
    service.is_killed()
    with running_collector(service.port) as collector:
        code, told = service.drain()
        assert (code, told["sent"], told["left"]) == (0, 20, 0)
        assert len(set(collector.taken)) == len(collector.taken) == 20
        assert {request.headers["authorization"] for request in collector.requests} == {
            "Bearer abc"
        }
    assert list(service.root.glob("*/*-*")) == []


def test_drain_says_why_something_is_left(service: Service) -> None:
    service.is_killed()
    code, told = service.drain("--timeout", "1")
    assert (code, told["sent"], told["left"]) == (1, 0, 20)
    assert f"http://127.0.0.1:{service.port} did not take 20 spans" in told["reason"]
    assert "Bearer" not in json.dumps(told)
    assert look_at(service.root).spans() == 20


def test_drain_says_it_in_one_sentence(service: Service) -> None:
    service.is_killed()
    done = subprocess.run(
        [TURNTRACE, "spool", "drain", "--timeout", "1"],
        env=service.env,
        capture_output=True,
        text=True,
        check=False,
    )
    start = "turntrace spool drain: 0 spans sent, 20 left on disk: http://127.0.0.1:"
    assert done.stdout.startswith(start)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_drain_tells_what_the_collector_refused(service: Service) -> None:
    service.is_killed()
    with running_collector(service.port) as collector:
        collector.default = Reply(status=400)
        code, told = service.drain()
    assert (code, told["sent"], told["rejected"], told["left"]) == (1, 0, 20, 0)


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_SERVICE_NAME": "other"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20other"},
    ],
)
def test_drain_leaves_what_is_of_another_account(service: Service, env: dict[str, str]) -> None:
    service.is_killed()
    with running_collector(service.port) as collector:
        code, told = service.drain(**env)
        assert (code, told["sent"], told["of_other_keys"]) == (0, 0, 20)
        assert collector.requests == []
    assert look_at(service.root).spans() == 20


def test_drain_takes_nothing_from_a_process_that_lives(service: Service) -> None:
    service.is_killed()
    with spool_of(service) as spool, running_collector(service.port):
        assert spool.append(numbered(1)) is not None
        assert service.drain()[1]["sent"] == 20
        assert [len(spool.read())] == [1]


def test_drain_sends_what_more_processes_left_than_are_adopted_at_a_time(service: Service) -> None:
    for number in range(70):
        with spool_of(service) as spool:
            assert spool.append(numbered(number)) is not None
            spool.after_fork_in_child()  # lets go of everything as the end of a process does
    with running_collector(service.port):
        code, told = service.drain()
    assert (code, told["sent"]) == (0, 70)


@contextmanager
def spool_of(service: Service) -> Iterator[Spool]:
    url = f"http://127.0.0.1:{service.port}/v1/traces"
    headers = {"authorization": "Bearer abc"}
    key = spool_key(service.root, service="chat", endpoint=url, headers=headers)
    spool = Spool(root=service.root, key=key, resource={"service.name": "chat"})
    yield spool
    spool.close()


def test_drain_does_not_wait_for_what_nobody_can_take(service: Service) -> None:
    service.is_killed()
    (lock,) = service.root.glob("*/*-*/lock")
    lock.unlink()
    begun = time.monotonic()
    with running_collector(service.port):
        code, told = service.drain("--timeout", "30")
    assert (code, told["sent"], told["left"]) == (1, 0, 20)
    assert time.monotonic() - begun < 15


def test_drain_makes_nothing_where_nothing_is(service: Service) -> None:
    code, told = service.drain()
    assert (code, told["sent"]) == (0, 0)
    assert not service.root.exists()


@pytest.mark.parametrize("action", ["drain", "ship"])
def test_without_a_spool_they_cannot_run(service: Service, action: str) -> None:
    done = subprocess.run(
        [TURNTRACE, "spool", action],
        env={**service.env, "TURNTRACE_SPOOL_DIR": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--dir" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("action", ["drain", "ship"])
def test_a_file_where_the_spool_should_be_is_said(service: Service, action: str) -> None:
    service.root.write_text("a file")
    done = subprocess.run(
        [TURNTRACE, "spool", action], env=service.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert str(service.root) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_bar_is_drawn_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    _progress(2_000)(1_000)
    monkeypatch.setattr(sys, "stderr", terminal)
    _progress(2_000)(1_000)
    assert file.getvalue() == ""
    assert terminal.getvalue() == f"\r[{'#' * 15}{'.' * 15}] 1,000 of 2,000 spans"


def test_ship_sends_what_an_app_writes_that_lives_on(service: Service) -> None:
    env = {**service.env, "TURNTRACE_SHIPPER": "process"}
    with (
        running_collector(service.port) as collector,
        shipping(service) as shipper,
        started([sys.executable, "-c", WRITER], env) as app,
    ):
        assert app.stdin is not None
        for expected in (1, 2, 3):
            app.stdin.write("\n")
            app.stdin.flush()
            wait_until(lambda at=expected: len(set(collector.taken)) == at, START_SECONDS)
        assert app.poll() is None
        code, seconds = stopped(shipper)
        assert (code, seconds < 2.5) == (0, True)


def test_ship_sends_what_a_killed_process_left_later(service: Service) -> None:
    with running_collector(service.port) as collector, shipping(service) as shipper:
        done = subprocess.run([sys.executable, "-c", KILLED], env=service.env, check=False)
        assert done.returncode == -signal.SIGKILL
        wait_until(lambda: len(set(collector.taken)) == 20, START_SECONDS)
        assert stopped(shipper, signal.SIGINT)[0] == 0


def test_ship_that_is_stopped_leaves_the_rest_on_disk(service: Service) -> None:
    service.is_killed()
    with running_collector(service.port) as collector:
        collector.default = Reply(hangs=True)
        with shipping(service) as shipper:
            wait_until(lambda: collector.requests, START_SECONDS)
            code, seconds = stopped(shipper)
    assert (code, seconds < 2.5) == (0, True)
    assert look_at(service.root).spans() == 20


def test_ship_says_once_what_is_wrong(service: Service) -> None:
    service.is_killed()
    with running_collector(service.port) as collector:
        collector.default = Reply(status=503)
        with shipping(service) as shipper:
            assert shipper.stdout is not None
            line = shipper.stdout.readline()
            tried = len(collector.requests)
            wait_until(lambda: len(collector.requests) > tried, START_SECONDS)
            stopped(shipper)
            rest, errors = shipper.communicate()
    assert "0 spans sent, 20 wait: " in line
    assert "did not take 20 spans (http_503); will retry" in line
    assert (rest, errors) == ("", "")
