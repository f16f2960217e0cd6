"""50,000 spans at once, alone and while another thread computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from harness import Scenario, beside, in_this_run, run
from result import assert_that_nothing_is_lost
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SCENARIOS = [
    Scenario(
        name="50,000 at once",
        script=(),
        work=Work(burst=50_000, flush_seconds=60.0),
        quick_share=1.0,
    ),
    Scenario(
        name="50,000 at once beside a busy thread",
        script=(),
        work=Work(burst=50_000, flush_seconds=60.0, has_busy_thread=True),
        quick_share=0.1,
    ),
]


@pytest.mark.parametrize(("scenario", "share"), in_this_run(SCENARIOS))
def test_a_burst_costs_no_span_and_ends_each_within_a_millisecond(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    tell(result)
    assert_that_nothing_is_lost(result)
    assert result.duplicates == 0
    assert result.report["end_p99_us"] <= 1_000


@beside(SCENARIOS, *[scenario.name for scenario in SCENARIOS])
def test_the_official_exporter_is_measured_beside(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "official", tmp_path)
    tell(result)
    assert result.ended > 0
    assert result.foreign == 0
