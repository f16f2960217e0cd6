"""A wall clock that jumps by an hour while the collector asks for a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from behaviour import Behaviour
from harness import Scenario, in_this_run, run
from result import assert_that_nothing_is_lost
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

BUSY = Behaviour(do="status", code=429, retry_after="date+2", seconds=5.0)
SCENARIOS = [
    Scenario(
        name=f"wall clock {'+' if hours > 0 else '-'}1 h during 429",
        script=(Behaviour(seconds=1.0), BUSY),
        work=Work(seconds=8.0, clock_jump_seconds=hours * 3600.0),
    )
    for hours in (1, -1)
]


@pytest.mark.parametrize(("scenario", "share"), in_this_run(SCENARIOS))
def test_a_clock_that_jumps_costs_no_span_and_stretches_no_wait(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    tell(result)
    assert_that_nothing_is_lost(result)
    assert result.report["is_flushed"]
    assert result.report["flush_seconds"] <= scenario.work.flush_seconds
    assert result.answers["status_429"] >= 2, "it asked again after the wait"
