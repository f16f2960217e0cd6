"""What an outage costs the app: memory, threads, and the time that `end()` takes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from behaviour import Behaviour
from collector import CollectorProcess
from harness import IS_QUICK, Scenario, SenderProcess, judge, run
from result import assert_that_nothing_is_lost
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

LARGE = Scenario(
    name="attribute values of 200 KB, 50 spans a second, collector down 10 s",
    script=(Behaviour(seconds=2.0), Behaviour(do="refuse", seconds=10.0)),
    work=Work(seconds=14.0, rate=50.0, attribute_bytes=200_000),
)
STOPPED_SECONDS = 30.0
EACH = pytest.mark.parametrize(
    ("exporter", "share"), [("turntrace", 1.0), ("turntrace", 0.1), ("official", 1.0)]
)


@pytest.mark.skipif(IS_QUICK, reason="for the full run")
@EACH
def test_large_values_do_not_pile_up_in_memory_while_the_collector_is_down(
    exporter: str, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(LARGE, share, exporter, tmp_path)
    growth_kib = result.report["rss_growth_kib"]
    tell(replace(result, note=f"memory +{growth_kib / 1024:.1f} MB"))
    if exporter == "turntrace":
        assert_that_nothing_is_lost(result)
        assert growth_kib <= 32 * 1024


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory: what a disk takes its time for is no fault of the collector."""
    memory = Path("/dev/shm")  # noqa: S108 - made private below
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="turntrace-faults-", dir=memory) as folder:
        yield Path(folder)


@pytest.mark.skipif(IS_QUICK, reason="for the full run")
@EACH
def test_a_stopped_collector_blocks_no_thread_of_the_app_and_leaves_none_behind(
    exporter: str, share: float, memory_folder: Path, tell: Callable[[Result], None]
) -> None:
    work = Work(seconds=STOPPED_SECONDS + 4.0, share=share, flush_seconds=30.0)
    with CollectorProcess() as collector:
        with SenderProcess(exporter, work, collector.endpoint, memory_folder) as sender:
            sender.go()
            sender.let_pass(2.0)
            collector.pause()
            sender.let_pass(STOPPED_SECONDS)
            collector.go_on()
            report = sender.finish()
        result = judge("collector stopped (SIGSTOP) for 30 s", [sender], collector, report)
    waited_ms = report["end_waited_max_us"] / 1000
    took_ms = report["end_max_us"] / 1000
    tell(replace(result, note=f"end() took {took_ms:.1f} ms at most, waited {waited_ms:.1f}"))
    if exporter == "turntrace":
        assert_that_nothing_is_lost(result)
        assert waited_ms <= 5.0
        assert report["threads_after"] == report["threads_before"]
