"""Segments that somebody tears, flips or deletes: what is lost is counted, the rest arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from behaviour import Behaviour
from collector import CollectorProcess
from harness import IS_QUICK, SenderProcess, judge
from result import assert_that_the_books_are_true
from spool_vandal import HOW, damage, segments
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

DOWN = Behaviour(do="refuse", seconds=600.0)
SHARES = [1.0] if IS_QUICK else [1.0, 0.1]
RATES = {1.0: 1_000.0, 0.1: 10_000.0}
"""So many spans a second that most segments are not held in memory when they are damaged."""


@pytest.mark.parametrize("how", ["flipped"] if IS_QUICK else HOW)
@pytest.mark.parametrize("share", SHARES)
def test_damage_while_the_process_runs_is_counted_exactly(
    how: str, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    work = Work(seconds=8.0, share=share, rate=RATES[share])
    with CollectorProcess([DOWN]) as collector:
        with SenderProcess("turntrace", work, collector.endpoint, tmp_path) as sender:
            sender.go()
            sender.let_pass(6.5)
            found = segments(tmp_path / "spool")
            for path in (found[0], found[-3], found[-1]):
                damage(path, how)
            collector.play()
            report = sender.finish()
        result = judge(
            f"3 segments {how} while running, 1,000 spans a second", [sender], collector, report
        )
    tell(result)
    assert sender.complaints() == [line for line in sender.complaints() if "turntrace" in line]
    assert_that_the_books_are_true(result)
    assert 0 < result.lost == result.dropped, result.said
    assert (result.said["waiting"], result.said["on_disk"]) == (0, 0)


@pytest.mark.parametrize("how", ["torn"] if IS_QUICK else HOW)
@pytest.mark.parametrize("share", SHARES)
def test_damage_between_two_processes_is_counted_and_the_rest_arrives(
    how: str, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    first_work = Work(seconds=4.0, share=share, rate=RATES[share], flush_seconds=0.2)
    second_work = Work(seconds=1.0, share=share, rate=RATES[share])
    with CollectorProcess([DOWN]) as collector:
        with SenderProcess("turntrace", first_work, collector.endpoint, tmp_path) as first:
            first.go()
            left = judge("", [first], collector, first.finish())
        found = segments(tmp_path / "spool")
        damage(found[len(found) // 2], how)
        collector.play()
        with SenderProcess("turntrace", second_work, collector.endpoint, tmp_path) as second:
            second.go()
            report = second.finish()
        fault = f"a segment {how} between two processes, 1,000 spans a second"
        result = judge(fault, [first, second], collector, report)
    tell(result)
    assert_that_the_books_are_true(left)
    assert left.said["on_disk"] == left.ended
    assert second.complaints() == [line for line in second.complaints() if "turntrace" in line]
    assert_that_the_books_are_true(result)
    assert result.duplicates == 0
    # What cannot be read of a dead process's segment was never adopted, if nobody counted it.
    assert left.said["on_disk"] - result.said["adopted"] == result.lost - result.dropped
    assert 0 < result.lost <= 512
    assert (result.said["waiting"], result.said["on_disk"]) == (0, 0)
