"""Disks that are full, closed, or not what they should be: the app never notices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from behaviour import Behaviour
from collector import CollectorProcess
from disks import is_superuser, may_mount, mounted
from harness import IS_QUICK, Scenario, SenderProcess, judge, run_with
from result import assert_that_nothing_is_lost, assert_that_the_books_are_true
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

DISK_BYTES = 400_000
FILE_BYTES = 1_000
"""What a file may take where no disk can be mounted: a few spans."""
SHARES = [1.0] if IS_QUICK else [1.0, 0.1]
FAST = {1.0: 500.0, 0.1: 5_000.0}
"""So many spans a second, with either sampling, that the small disk and the memory are full."""
DOWN = (Behaviour(seconds=1.0), Behaviour(do="refuse", seconds=9.0))
FULL = Scenario(name="disk full, collector down 9 s", script=DOWN, work=Work(seconds=12.0))
CLOSED = Scenario(name="", script=(), work=Work(seconds=3.0))


def assert_that_only_we_complain(sender: SenderProcess, *, least: int, most: int) -> None:
    """Claim that nothing went wrong in the app, and how often we spoke of the spool."""
    complaints = sender.complaints()
    assert [line for line in complaints if not line.startswith("turntrace")] == []
    assert least <= len([line for line in complaints if "spool" in line]) <= most, complaints


@pytest.mark.parametrize("share", SHARES)
def test_a_full_disk_drops_only_what_memory_cannot_hold_either_counted_and_recovers(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    work = replace(FULL.work, share=share, rate=FAST[share])
    if not may_mount(tmp_path):
        work = replace(work, file_limit_bytes=FILE_BYTES)
        result, sender = _run(FULL, work, tmp_path)
    else:
        with mounted(tmp_path / "disk", f"size={DISK_BYTES}") as disk:
            scenario = replace(FULL, environ={"TURNTRACE_SPOOL_DIR": str(disk / "spool")})
            result, sender = _run(scenario, work, tmp_path)
    tell(result)
    assert_that_the_books_are_true(result)
    assert 0 < result.lost == result.dropped, result.said
    assert (result.said["waiting"], result.said["on_disk"]) == (0, 0)
    assert_that_only_we_complain(sender, least=1, most=2)


def _run(scenario: Scenario, work: Work, folder: Path) -> tuple[Result, SenderProcess]:
    with CollectorProcess() as collector:
        return run_with(collector, scenario, work, "turntrace", folder)


@pytest.mark.skipif(IS_QUICK, reason="for the full run")
def test_the_spool_is_used_again_when_there_is_room_again(
    tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    if not may_mount(tmp_path):
        pytest.skip("needs a disk of its own: run as a user that may mount")
    with (
        CollectorProcess([Behaviour(do="refuse", seconds=600.0)]) as collector,
        mounted(tmp_path / "disk", "size=8m") as disk,
    ):
        ballast = disk / "ballast"
        environ = {"TURNTRACE_SPOOL_DIR": str(disk / "spool")}
        work = Work(seconds=14.0, rate=200.0)
        with SenderProcess("turntrace", work, collector.endpoint, tmp_path, environ) as sender:
            sender.go()
            sender.let_pass(1.0)
            _fill(ballast)
            sender.let_pass(3.0)
            ballast.unlink()
            used = _used_bytes(disk)
            sender.let_pass(7.0)
            grown = _used_bytes(disk) - used
            collector.play()
            report = sender.finish()
        result = judge("disk full for 3 s, collector down", [sender], collector, report)
    tell(result)
    assert_that_nothing_is_lost(result)
    assert grown > 100_000, "spans go to the disk again"
    assert_that_only_we_complain(sender, least=0, most=1)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def _used_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.seg"))


@pytest.mark.parametrize("share", SHARES)
def test_a_read_only_disk_costs_no_span_while_the_collector_is_well(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    if not may_mount(tmp_path):
        pytest.skip("needs a disk of its own: run as a user that may mount")
    with mounted(tmp_path / "disk", "ro,size=64k") as disk:
        environ = {"TURNTRACE_SPOOL_DIR": str(disk / "spool")}
        scenario = replace(CLOSED, name="read-only disk", environ=environ)
        _assert_that_memory_does(scenario, share, tmp_path, tell)


@pytest.mark.parametrize("share", SHARES)
def test_a_user_without_permission_loses_no_span_while_the_collector_is_well(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    if not is_superuser():
        pytest.skip("only the superuser can become nobody")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    scenario = replace(
        CLOSED,
        name="no permission, as an unprivileged user",
        work=replace(CLOSED.work, is_unprivileged=True),
        environ={"TURNTRACE_SPOOL_DIR": str(closed / "spool")},
    )
    _assert_that_memory_does(scenario, share, tmp_path, tell)
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("share", SHARES)
def test_a_file_in_the_place_of_the_spool_costs_no_span_while_the_collector_is_well(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    (tmp_path / "spool").write_text("mine")
    scenario = replace(CLOSED, name="a file where the spool should be")
    _assert_that_memory_does(scenario, share, tmp_path, tell)
    assert (tmp_path / "spool").read_text() == "mine"


def _assert_that_memory_does(
    scenario: Scenario, share: float, folder: Path, tell: Callable[[Result], None]
) -> None:
    result, sender = _run(scenario, replace(scenario.work, share=share), folder)
    tell(result)
    assert_that_nothing_is_lost(result)
    assert result.duplicates == 0
    assert_that_only_we_complain(sender, least=1, most=1)


@pytest.mark.skipif(IS_QUICK, reason="for the full run")
@pytest.mark.parametrize("share", SHARES)
def test_without_a_disk_an_outage_drops_what_memory_cannot_hold_and_counts_it(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    (tmp_path / "spool").write_text("mine")
    scenario = replace(FULL, name="no disk at all, collector down 9 s")
    work = replace(scenario.work, share=share, rate=FAST[share])
    result, sender = _run(scenario, work, tmp_path)
    tell(result)
    assert_that_the_books_are_true(result)
    assert 0 < result.lost == result.dropped, result.said
    assert (result.said["waiting"], result.said["on_disk"]) == (0, 0)
    assert_that_only_we_complain(sender, least=1, most=2)
