"""A collector that is away, busy or slow: each kept span arrives all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from behaviour import Behaviour
from harness import Scenario, beside, in_this_run, run
from result import assert_that_nothing_is_lost
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

BATCH_SPANS = 512
_FINE = Behaviour(seconds=2.0)
_SHORT = Work(seconds=7.0)
SCENARIOS = [
    Scenario(
        name="down 5 s",
        script=(_FINE, Behaviour(do="refuse", seconds=5.0)),
        work=Work(seconds=9.0),
        quick_share=1.0,
    ),
    Scenario(
        name="hangs 15 s",
        script=(_FINE, Behaviour(do="hang", seconds=15.0)),
        work=Work(seconds=20.0, flush_seconds=20.0),
    ),
    Scenario(
        name="429, Retry-After in seconds",
        script=(_FINE, Behaviour(do="status", code=429, retry_after="2", seconds=4.0)),
        work=_SHORT,
    ),
    Scenario(
        name="429, Retry-After a date",
        script=(_FINE, Behaviour(do="status", code=429, retry_after="date+2", seconds=4.0)),
        work=_SHORT,
    ),
    Scenario(
        name="503 for 4 s",
        script=(_FINE, Behaviour(do="status", code=503, seconds=4.0)),
        work=_SHORT,
        quick_share=0.1,
    ),
    Scenario(
        name="closes mid-body for 4 s",
        script=(_FINE, Behaviour(do="close_in_body", seconds=4.0)),
        work=_SHORT,
    ),
    Scenario(
        name="2 s per request for 10 s",
        script=(Behaviour(after_seconds=2.0, seconds=10.0),),
        work=Work(seconds=10.0),
    ),
]
LONG = Scenario(
    name="down 60 s",
    script=(_FINE, Behaviour(do="refuse", seconds=60.0)),
    work=Work(seconds=65.0, flush_seconds=20.0),
)
LOST_ACKNOWLEDGEMENT = Scenario(
    name="acknowledgement lost for 2 s",
    script=(_FINE, Behaviour(do="lose_acknowledgement", seconds=2.0)),
    work=Work(seconds=5.0),
    quick_share=1.0,
)
EACH = pytest.mark.parametrize(("scenario", "share"), in_this_run(SCENARIOS))


@EACH
def test_each_kept_span_arrives_once(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    tell(result)
    assert scenario.is_met(result), result.answers
    assert_that_nothing_is_lost(result)
    if "closes" not in scenario.name and "hangs" not in scenario.name:
        assert result.duplicates == 0
    # One request, one wait: how often it may ask in 4 s, and once more when it is told to flush.
    assert result.answers.get("status_429", 0) <= 4


@pytest.mark.parametrize(("scenario", "share"), in_this_run([LONG]))
def test_an_outage_of_a_minute_costs_no_span_and_8_mb_at_most(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    growth_kib = result.report["rss_growth_kib"]
    tell(replace(result, note=f"memory +{growth_kib / 1024:.1f} MB"))
    assert_that_nothing_is_lost(result)
    assert result.duplicates == 0
    assert growth_kib <= 8 * 1024


@pytest.mark.parametrize(("scenario", "share"), in_this_run([LOST_ACKNOWLEDGEMENT]))
def test_no_more_than_the_unacknowledged_batches_comes_twice(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    tell(result)
    assert scenario.is_met(result), result.answers
    assert_that_nothing_is_lost(result)
    unacknowledged = result.answers["lose_acknowledgement"]
    assert 0 < result.duplicates <= unacknowledged * BATCH_SPANS


@beside(
    [*SCENARIOS, LONG, LOST_ACKNOWLEDGEMENT], "down 5 s", LONG.name, "hangs 15 s", "503 for 4 s"
)
def test_the_official_exporter_is_measured_beside(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "official", tmp_path)
    tell(result)
    assert result.ended > 0
    assert result.foreign == 0
