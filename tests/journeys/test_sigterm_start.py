"""Told to end while it still starts: what is open is closed, the telemetry last."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from ending_backend import UVICORN, EndingBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORDER = ["start", "server", "model", "local gemini", "telemetry"]

BOUND_SECONDS = 10.0
"""Far less than what hangs would take, and enough for a busy machine."""

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])

STUCK = """
import asyncio, sys
from renovation.__main__ import main
from renovation.database import Database

async def prepare(database):
    print("the database is asked", flush=True)
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            if sys.argv[1] == "gives up":
                raise

Database.prepare = prepare
sys.exit(main(["--port", "0"]))
"""


def stuck(what: str) -> tuple[str, ...]:
    """Return a backend whose database never answers, and what it does when it is cancelled."""
    return (sys.executable, "-c", STUCK, what)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[None]:
    """Keep everybody else away from the database file; they wait for 5 s."""
    with closing(sqlite3.connect(tmp_path / "renovation.sqlite3")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


async def said(backend: EndingBackend, text: str) -> None:
    async with asyncio.timeout(90.0):
        while text not in backend.output():
            assert backend.process.poll() is None, backend.output()
            await asyncio.sleep(0.02)


@SIGNALS
async def test_a_signal_gives_up_a_start_that_hangs_and_closes_what_is_open(
    number: signal.Signals, tmp_path: Path, collector: Any
) -> None:
    with EndingBackend(tmp_path, collector.url, stuck("gives up")) as backend:
        await said(backend, "the database is asked")
        backend.process.send_signal(number)
        end = await backend.ended()
    assert backend.closed() == ORDER, backend.output()
    assert end.exit_code == 0
    assert end.seconds < BOUND_SECONDS
    assert backend.lines("Shutdown begins", signal=number.name)
    assert not backend.lines_at("ERROR")


async def test_a_start_that_does_not_give_up_is_left_behind_within_the_limit(
    tmp_path: Path, collector: Any
) -> None:
    hard = {"RENOVATION_SHUTDOWN_LIMIT_SECONDS": "0.5"}
    with EndingBackend(tmp_path, collector.url, stuck("goes on"), **hard) as backend:
        await said(backend, "the database is asked")
        backend.process.send_signal(signal.SIGTERM)
        end = await backend.ended()
    assert end.exit_code == 1
    assert end.seconds < BOUND_SECONDS
    assert backend.lines("Close took too long and was cancelled", resource="start")
    assert backend.closed() == ["telemetry"]


async def test_a_second_signal_does_not_wait_for_a_start_to_give_up(
    tmp_path: Path, collector: Any
) -> None:
    with EndingBackend(tmp_path, collector.url, stuck("goes on")) as backend:
        await said(backend, "the database is asked")
        backend.process.send_signal(signal.SIGINT)
        await backend.logged("Shutdown begins", signal="SIGINT")
        backend.process.send_signal(signal.SIGINT)
        end = await backend.ended()
    assert end.exit_code == 1
    assert end.seconds < BOUND_SECONDS
    assert backend.lines("Left open", resource="start", reason="a second signal")
    assert backend.closed() == ["telemetry"]


@pytest.mark.usefixtures("locked")
async def test_under_plain_uvicorn_a_locked_database_is_given_up_and_the_signal_kills(
    tmp_path: Path, collector: Any
) -> None:
    away = {"GEMINI_BASE_URL": "http://127.0.0.1:9"}
    with EndingBackend(tmp_path, collector.url, UVICORN, **away) as backend:
        await backend.logged("Waiting for application startup.")
        backend.process.send_signal(signal.SIGTERM)
        end = await backend.ended()
    assert end.exit_code == -signal.SIGTERM, backend.output()
    assert end.seconds < BOUND_SECONDS
    assert backend.closed() == ["start", "server", "model", "telemetry"]
    assert not backend.lines_at("ERROR")
