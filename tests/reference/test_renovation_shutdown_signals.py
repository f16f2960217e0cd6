"""Signals: who gets them, which one counts, and what happens to a process that hangs."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from virtual_time import in_virtual_time, now

from renovation.shutdown import Shutdown
from renovation.signals import SAME_WISH_SECONDS, SIGNALS, Signals

HANGING = """
import asyncio, signal, time
from renovation.shutdown import Shutdown
from renovation.signals import Signals

async def nothing():
    pass

async def main():
    shutdown = Shutdown(limit_seconds=0.1, telemetry=nothing, telemetry_limit_seconds=0.1)
    Signals(shutdown, last_act=lambda: print("last act", flush=True)).install()
    signal.raise_signal(signal.SIGTERM)
    time.sleep(60)  # the loop hangs

asyncio.run(main())
"""


class Rig:
    """Handlers that a server had put there, ours in front of them, and a slow resource."""

    def __init__(self, *, takes_seconds: float = 0.0, server_stops: bool = True) -> None:
        self.happened: list[str] = []
        self._server_stops = server_stops
        self._takes_seconds = takes_seconds
        self.shutdown = Shutdown(
            limit_seconds=60.0, telemetry=self._deliver, telemetry_limit_seconds=1.0
        )
        self.signals = Signals(
            self.shutdown, last_act=lambda: None, leave=lambda: self.happened.append("leave")
        )
        self.shutdown.opened("server", self.signals.stop_server, limit_seconds=2.0)
        self.shutdown.opened("turns", self._finish_turns, limit_seconds=30.0)

    @contextmanager
    def installed(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._server_handler) for number in SIGNALS}
        try:
            self.signals.install()
            yield
            self.signals.restore()
            assert {signal.getsignal(number) for number in SIGNALS} == {self._server_handler}
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _server_handler(self, number: int, _frame: Any) -> None:
        self.happened.append(f"server got {signal.Signals(number).name}")
        if self._server_stops:
            self.signals.note_server_stopped()

    async def _finish_turns(self) -> None:
        await asyncio.sleep(self._takes_seconds)
        self.happened.append("turns")

    async def _deliver(self) -> None:
        self.happened.append("telemetry")


async def over(rig: Rig) -> None:
    """Let the shutdown that a signal has begun run to its end."""
    await asyncio.sleep(0)
    await rig.shutdown.close()
    await asyncio.sleep(0)


@in_virtual_time
async def test_the_server_gets_the_signal_when_the_turns_are_finished() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        rig = Rig(takes_seconds=3.0)
        with rig.installed():
            signal.raise_signal(number)
            await over(rig)
        assert rig.happened == ["turns", f"server got {number.name}", "telemetry"]


@in_virtual_time
async def test_sigquit_reaches_the_server_as_sigterm() -> None:
    rig = Rig()
    with rig.installed():
        signal.raise_signal(signal.SIGQUIT)
        await over(rig)
    assert rig.happened == ["turns", "server got SIGTERM", "telemetry"]


@in_virtual_time
async def test_a_server_that_stops_by_itself_is_sent_no_signal() -> None:
    rig = Rig()
    with rig.installed():
        rig.signals.note_server_stopped()
        await rig.shutdown.close()
    assert rig.happened == ["turns", "telemetry"]


@in_virtual_time
async def test_a_server_that_does_not_stop_is_left_behind_after_the_telemetry() -> None:
    rig = Rig(server_stops=False)
    with rig.installed():
        signal.raise_signal(signal.SIGTERM)
        await over(rig)
    assert rig.happened == ["turns", "server got SIGTERM", "telemetry", "leave"]


@in_virtual_time
async def test_the_same_signal_again_is_a_hurry() -> None:
    rig = Rig(takes_seconds=3.0)
    with rig.installed():
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0.1)
        signal.raise_signal(signal.SIGINT)
        await over(rig)
    assert rig.happened == ["telemetry", "leave"]
    assert now() == pytest.approx(0.1)


@in_virtual_time
async def test_another_signal_at_once_is_the_same_wish() -> None:
    rig = Rig(takes_seconds=3.0)
    with rig.installed():
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(SAME_WISH_SECONDS / 2)
        signal.raise_signal(signal.SIGTERM)
        await over(rig)
    assert rig.happened == ["turns", "server got SIGINT", "telemetry"]


@in_virtual_time
async def test_another_signal_later_is_a_hurry() -> None:
    rig = Rig(takes_seconds=3.0)
    with rig.installed():
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(SAME_WISH_SECONDS * 1.5)
        signal.raise_signal(signal.SIGTERM)
        await over(rig)
    assert rig.happened == ["telemetry", "leave"]


@in_virtual_time
async def test_a_signal_that_the_server_has_noted_before_is_not_lost() -> None:
    server = uvicorn.Server(uvicorn.Config("nothing:app"))
    rig = Rig(server_stops=False)
    before = {number: signal.signal(number, server.handle_exit) for number in SIGNALS}
    try:
        for _ in range(2):  # which would make uvicorn leave the lifespan alone
            signal.raise_signal(signal.SIGINT)
        rig.signals.install()
        await over(rig)
        rig.signals.restore()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert rig.happened == ["turns", "telemetry", "leave"]
    assert server.should_exit
    assert not server.force_exit


@in_virtual_time
async def test_a_handler_that_is_not_python_s_is_left_alone() -> None:
    def getsignal(number: int) -> Any:
        return None if number == signal.SIGQUIT else known(number)

    known = signal.getsignal
    before = [known(number) for number in SIGNALS]
    rig = Rig()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "getsignal", getsignal)  # as it tells of one from C
        rig.signals.install()
        taken = [known(one) != was for one, was in zip(SIGNALS, before, strict=True)]
        rig.signals.restore()
    assert taken == [True, True, False]
    assert [known(number) for number in SIGNALS] == before


async def test_away_from_the_main_thread_the_signals_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    async def install() -> None:
        rig = Rig()
        rig.signals.install()
        rig.signals.restore()

    thread = threading.Thread(target=lambda: asyncio.run(install()))
    thread.start()
    thread.join(10.0)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_process_whose_loop_hangs_ends_after_its_last_act() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "last act\n")


def test_the_thread_that_watches_ends_with_a_clean_shutdown() -> None:
    before = set(threading.enumerate())

    async def serve() -> list[threading.Thread]:
        rig = Rig()
        with rig.installed():
            watching = [*set(threading.enumerate()) - before]
            signal.raise_signal(signal.SIGTERM)
            await over(rig)
        return watching

    (thread,) = asyncio.run(serve())
    thread.join(5.0)
    assert not thread.is_alive()
