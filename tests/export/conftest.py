"""Fixtures: a collector, and shippers that are shut down after the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from export_collector import Collector, running_collector
from export_shippers import make_shipper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turntrace.export.shipper import Shipper


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(params=["in memory", "on disk"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Return where shippers spool: nowhere, and on disk."""
    return tmp_path if request.param == "on disk" else None


@pytest.fixture
def make_exporter(collector: Collector, root: Path | None) -> Iterator[Callable[..., Shipper]]:
    """Return a factory of shippers that aim at the collector and retry soon."""
    made: list[Shipper] = []

    def make(**settings: Any) -> Shipper:
        shipper = make_shipper(
            **{
                "endpoint": collector.endpoint,
                "root": root,
                "schedule_delay_seconds": 60.0,
                "backoff_seconds": (0.02, 0.1),
            }
            | settings
        )
        made.append(shipper)
        return shipper

    yield make
    for shipper in made:
        shipper.shutdown(0.0)
