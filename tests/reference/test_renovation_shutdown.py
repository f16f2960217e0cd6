"""Closing what is open: order, limits, errors, hurry, and the telemetry last whatever happens."""

import asyncio
import logging

import pytest
from virtual_time import in_virtual_time, now

from renovation import shutdown as shutdown_module
from renovation.shutdown import CANCEL_SECONDS, Close, Outcome, Shutdown

FOREVER = 1e6


class Rig:
    """A shutdown whose resources write down when they were closed."""

    def __init__(self, *, limit_seconds: float = 10.0, telemetry_seconds: float = 0.0) -> None:
        self.closed: list[tuple[str, float]] = []
        self.shutdown = Shutdown(
            limit_seconds=limit_seconds,
            telemetry=self.taking("telemetry", telemetry_seconds),
            telemetry_limit_seconds=2.0,
        )

    def taking(self, name: str, seconds: float) -> Close:
        async def close() -> None:
            await asyncio.sleep(seconds)
            self.closed.append((name, now()))

        return close

    def opened(
        self, name: str, *, takes: float = 0.0, limit_seconds: float = 5.0, order: int = 0
    ) -> None:
        self.shutdown.opened(
            name, self.taking(name, takes), limit_seconds=limit_seconds, order=order
        )

    def names(self) -> list[str]:
        return [name for name, _ in self.closed]

    async def outcomes(self) -> dict[str, Outcome]:
        return {end.name: end.outcome for end in await self.shutdown.close()}


@in_virtual_time
async def test_what_was_opened_last_is_closed_first_and_the_telemetry_at_the_end() -> None:
    rig = Rig()
    for name in ("gemini", "database", "turns"):
        rig.opened(name, takes=1.0)
    await rig.shutdown.close()
    assert rig.closed == [("turns", 1.0), ("database", 2.0), ("gemini", 3.0), ("telemetry", 3.0)]
    assert rig.shutdown.is_clean


@in_virtual_time
async def test_an_explicit_order_goes_before_that_of_opening() -> None:
    rig = Rig()
    rig.opened("turns", order=-1)
    for name in ("gemini", "database"):
        rig.opened(name)
    rig.opened("files", order=1)
    await rig.shutdown.close()
    assert rig.names() == ["turns", "database", "gemini", "files", "telemetry"]


@in_virtual_time
async def test_a_resource_over_its_limit_is_cancelled_and_the_next_one_goes_on() -> None:
    rig = Rig()
    rig.opened("database")
    rig.opened("turns", takes=FOREVER, limit_seconds=3.0)
    assert await rig.outcomes() == {
        "turns": Outcome.OVERRAN,
        "database": Outcome.CLOSED,
        "telemetry": Outcome.CLOSED,
    }
    assert rig.closed == [("database", 3.0), ("telemetry", 3.0)]
    assert not rig.shutdown.is_clean


@in_virtual_time
async def test_a_cancelled_close_may_still_tidy_up() -> None:
    rig = Rig()
    tidied = []

    async def close() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(CANCEL_SECONDS / 2)
            tidied.append(now())

    rig.shutdown.opened("turns", close, limit_seconds=1.0)
    assert (await rig.outcomes())["turns"] is Outcome.OVERRAN
    assert tidied == [1.0 + CANCEL_SECONDS / 2]


@in_virtual_time
async def test_a_close_that_resists_cancellation_is_left_behind() -> None:
    rig = Rig()
    is_over = asyncio.Event()

    async def stubborn() -> None:
        while not is_over.is_set():
            try:
                await is_over.wait()
            except asyncio.CancelledError:
                continue

    rig.opened("database")
    rig.shutdown.opened("turns", stubborn, limit_seconds=1.0)
    outcomes = await rig.outcomes()
    is_over.set()
    assert outcomes["turns"] is Outcome.OVERRAN
    assert rig.closed[0] == ("database", 1.0 + CANCEL_SECONDS)


@in_virtual_time
async def test_an_error_stops_nothing_else() -> None:
    rig = Rig()
    rig.opened("database")
    rig.shutdown.opened("turns", _fail, limit_seconds=1.0)
    rig.opened("sockets")
    assert (await rig.outcomes())["turns"] is Outcome.FAILED
    assert rig.names() == ["sockets", "database", "telemetry"]
    assert not rig.shutdown.is_clean


@in_virtual_time
async def test_a_close_that_is_cancelled_from_elsewhere_counts_as_failed() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    rig = Rig()
    rig.shutdown.opened("turns", give_up, limit_seconds=1.0)
    assert (await rig.outcomes())["turns"] is Outcome.FAILED
    assert rig.names() == ["telemetry"]


async def test_an_error_is_logged_by_type_and_place_and_never_by_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.shutdown.opened("database", _fail, limit_seconds=1.0)
    with caplog.at_level(logging.INFO, shutdown_module.__name__):
        await rig.shutdown.close()
    (line,) = [record for record in caplog.records if record.message == "Close failed"]
    fields = vars(line)
    assert (fields["resource"], fields["error"]) == ("database", "ValueError")
    assert fields["place"].endswith("_fail")
    assert "s3cret" not in str([vars(record) for record in caplog.records])


@in_virtual_time
async def test_closing_twice_closes_once_and_tells_both_the_same() -> None:
    rig = Rig()
    rig.opened("database", takes=1.0)
    first = await rig.shutdown.close()
    assert await rig.shutdown.close() == first
    assert rig.names() == ["database", "telemetry"]


@in_virtual_time
async def test_a_concurrent_call_waits_for_the_first() -> None:
    rig = Rig()
    rig.opened("database", takes=1.0)
    first, second = await asyncio.gather(rig.shutdown.close(), rig.shutdown.close())
    assert first == second
    assert rig.closed == [("database", 1.0), ("telemetry", 1.0)]


@in_virtual_time
async def test_a_caller_that_gives_up_does_not_stop_the_closing() -> None:
    rig = Rig()
    rig.opened("database", takes=1.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rig.shutdown.close(), 0.5)
    await rig.shutdown.close()
    assert rig.closed == [("database", 1.0), ("telemetry", 1.0)]


@in_virtual_time
async def test_the_hard_limit_skips_the_rest_and_the_telemetry_keeps_its_own_time() -> None:
    rig = Rig(limit_seconds=4.0, telemetry_seconds=1.5)
    rig.opened("gemini")
    rig.opened("database", takes=FOREVER)
    rig.opened("turns", takes=3.0)
    assert await rig.outcomes() == {
        "turns": Outcome.CLOSED,
        "database": Outcome.OVERRAN,
        "gemini": Outcome.SKIPPED,
        "telemetry": Outcome.CLOSED,
    }
    assert rig.closed == [("turns", 3.0), ("telemetry", 5.5)]


@in_virtual_time
async def test_a_telemetry_that_takes_too_long_is_cancelled_too() -> None:
    rig = Rig(telemetry_seconds=FOREVER)
    assert await rig.outcomes() == {"telemetry": Outcome.OVERRAN}
    assert now() == 2.0
    assert not rig.shutdown.is_clean


@in_virtual_time
async def test_a_hurry_cuts_the_current_close_short_and_skips_to_the_telemetry() -> None:
    rig = Rig(telemetry_seconds=1.0)
    rig.opened("database")
    rig.opened("turns", takes=4.0)
    asyncio.get_running_loop().call_later(1.0, rig.shutdown.hurry)
    assert await rig.outcomes() == {
        "turns": Outcome.SKIPPED,
        "database": Outcome.SKIPPED,
        "telemetry": Outcome.CLOSED,
    }
    assert rig.closed == [("telemetry", 2.0)]


@in_virtual_time
async def test_a_hurry_does_not_cut_the_telemetry() -> None:
    rig = Rig(telemetry_seconds=1.0)
    asyncio.get_running_loop().call_later(0.5, rig.shutdown.hurry)
    assert await rig.outcomes() == {"telemetry": Outcome.CLOSED}


@in_virtual_time
async def test_the_worst_of_all_ends_within_the_bound() -> None:
    async def stubborn() -> None:
        until = now() + 100.0
        while now() < until:
            try:
                await asyncio.sleep(until - now())
            except asyncio.CancelledError:
                continue

    shutdown = Shutdown(limit_seconds=4.0, telemetry=stubborn, telemetry_limit_seconds=2.0)
    for name in ("gemini", "database", "turns"):
        shutdown.opened(name, stubborn, limit_seconds=3.0)
    await shutdown.close()
    assert now() == pytest.approx(shutdown.bound_seconds)


@in_virtual_time
async def test_before_it_is_over_it_is_not_clean() -> None:
    rig = Rig()
    assert not rig.shutdown.is_clean
    rig.opened("database", takes=1.0)
    closing = asyncio.create_task(rig.shutdown.close())
    await asyncio.sleep(0.5)
    assert not rig.shutdown.is_clean
    await closing
    assert rig.shutdown.is_clean


async def _fail() -> None:
    raise ValueError("s3cret")
