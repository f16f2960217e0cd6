"""A closing that begins while things are still being opened."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from virtual_time import in_virtual_time, now

from renovation.app import create_app
from renovation.settings import Settings
from renovation.shutdown import CANCEL_SECONDS, Outcome, Shutdown

FOREVER = 1e6


class Rig:
    """A shutdown, what it closed, and a start that opens a model and then hangs."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.shutdown = Shutdown(
            limit_seconds=10.0, telemetry=self._closing("telemetry"), telemetry_limit_seconds=2.0
        )

    def open(self, name: str) -> None:
        self.shutdown.opened(name, self._closing(name), limit_seconds=1.0)

    def _closing(self, name: str) -> Any:
        async def close() -> None:
            self.closed.append(name)

        return close

    async def hang(self) -> None:
        self.open("model")
        await asyncio.sleep(FOREVER)

    async def closed_during(self, opening: Coroutine[Any, Any, None]) -> dict[str, Outcome]:
        """Close one second after the start begins; return what became of everything."""
        starting = asyncio.create_task(self.shutdown.start(opening, limit_seconds=3.0))
        await asyncio.sleep(1.0)
        ends = await self.shutdown.close()
        starting.cancel()  # it has ended already, unless the start resists
        await asyncio.wait({starting})
        return {end.name: end.outcome for end in ends}


@in_virtual_time
async def test_a_complete_start_is_nothing_that_is_closed() -> None:
    async def opening() -> None:
        rig.open("model")

    rig = Rig()
    await rig.shutdown.start(opening(), limit_seconds=3.0)
    ends = await rig.shutdown.close()
    assert [end.name for end in ends] == rig.closed == ["model", "telemetry"]


@in_virtual_time
async def test_a_start_that_fails_says_so_and_leaves_what_it_opened_to_the_closing() -> None:
    async def opening() -> None:
        rig.open("model")
        raise ConnectionError("no database")

    rig = Rig()
    with pytest.raises(ConnectionError, match="no database"):
        await rig.shutdown.start(opening(), limit_seconds=3.0)
    await rig.shutdown.close()
    assert rig.closed == ["model", "telemetry"]
    assert rig.shutdown.is_clean


@in_virtual_time
async def test_a_start_is_given_up_before_anything_is_closed() -> None:
    async def opening() -> None:
        try:
            await rig.hang()
        finally:
            rig.closed.append("start")

    rig = Rig()
    assert (await rig.closed_during(opening()))["start"] is Outcome.CLOSED
    assert rig.closed == ["start", "model", "telemetry"]
    assert now() == 1.0
    assert rig.shutdown.is_clean


@in_virtual_time
async def test_who_waits_for_a_start_that_is_given_up_goes_on_without_an_error() -> None:
    rig = Rig()
    starting = asyncio.create_task(rig.shutdown.start(rig.hang(), limit_seconds=3.0))
    await asyncio.sleep(1.0)
    await rig.shutdown.close()
    await starting
    assert rig.shutdown.is_closing


@in_virtual_time
async def test_what_opens_in_spite_of_the_closing_is_closed_and_is_the_last() -> None:
    async def opening() -> None:
        try:
            await rig.hang()
        except asyncio.CancelledError:
            rig.open("database")
        rig.open("turns")

    rig = Rig()
    await rig.closed_during(opening())
    assert rig.closed == ["database", "model", "telemetry"]
    assert rig.shutdown.is_clean


@in_virtual_time
async def test_a_start_that_cannot_put_back_what_it_was_opening_counts_as_failed() -> None:
    async def opening() -> None:
        try:
            await rig.hang()
        finally:
            raise OSError

    rig = Rig()
    assert (await rig.closed_during(opening()))["start"] is Outcome.FAILED
    assert rig.closed == ["model", "telemetry"]
    assert not rig.shutdown.is_clean


@in_virtual_time
async def test_a_start_that_does_not_give_up_in_its_time_is_left_behind() -> None:
    async def opening() -> None:
        until = now() + 100.0
        while now() < until:
            try:
                await asyncio.sleep(until - now())
            except asyncio.CancelledError:
                continue

    rig = Rig()
    rig.open("model")
    assert (await rig.closed_during(opening()))["start"] is Outcome.OVERRAN
    assert rig.closed == ["model", "telemetry"]
    assert now() < 1.0 + 3.0 + 2 * CANCEL_SECONDS
    assert not rig.shutdown.is_clean


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
async def test_a_server_that_is_forced_to_stop_finds_no_error_in_the_lifespan(
    gemini_url: str, tmp_path: Path
) -> None:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'own.sqlite3'}", gemini_base_url=gemini_url
    )
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    asked.put_nowait({"type": "lifespan.startup"})
    before = signal.getsignal(signal.SIGTERM)
    app = create_app(settings)
    serving = asyncio.create_task(app({"type": "lifespan", "state": {}}, asked.get, sent.put))
    assert await sent.get() == {"type": "lifespan.startup.complete"}
    serving.cancel()
    assert await sent.get() == {"type": "lifespan.shutdown.complete"}
    await serving
    assert signal.getsignal(signal.SIGTERM) == before
