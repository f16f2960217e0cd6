"""Outages of a collector, case by case, for our exporter and the official one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from behaviour import Behaviour
from harness import Scenario, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Result

IS_QUICK = os.environ.get("QUICK", "0") not in ("", "0")

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

_FINE = Behaviour(seconds=2.0)
SCENARIOS = [
    Scenario(
        name="down 5 s",
        script=(_FINE, Behaviour(do="refuse", seconds=5.0)),
        seconds=10.0,
        is_quick=True,
    ),
    Scenario(name="hangs 15 s", script=(_FINE, Behaviour(do="hang", seconds=15.0)), seconds=25.0),
    Scenario(
        name="302 to a login page for 5 s",
        script=(_FINE, Behaviour(do="redirect", code=302, seconds=5.0)),
        seconds=10.0,
        is_quick=True,
    ),
]
WANTED = [scenario for scenario in SCENARIOS if scenario.is_quick or not IS_QUICK]


@pytest.mark.parametrize("scenario", WANTED, ids=lambda scenario: scenario.name)
def test_what_we_say_was_sent_is_at_the_collector_and_the_rest_is_counted(
    scenario: Scenario, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, "memory", tmp_path)
    tell(result)
    said = result.report["said"]
    assert (result.foreign, result.falsely_sent) == (0, 0)
    assert said["ended"] == result.ended
    assert said["sent"] + said["rejected"] + sum(said["dropped"].values()) == result.ended


@pytest.mark.skipif(IS_QUICK, reason="the official exporter's figures are for the full run")
@pytest.mark.parametrize("scenario", WANTED, ids=lambda scenario: scenario.name)
def test_the_official_exporter_is_measured_beside(
    scenario: Scenario, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, "official", tmp_path)
    tell(result)
    assert result.ended > 0
    assert result.foreign == 0
