"""Fixtures: a collector, and exporters that are shut down after the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from export_collector import Collector, running_collector

from turntrace.export.http_exporter import OtlpHttpExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture
def make_exporter(collector: Collector) -> Iterator[Callable[..., OtlpHttpExporter]]:
    """Return a factory of exporters that aim at the collector and retry soon."""
    made: list[OtlpHttpExporter] = []

    def make(**settings: Any) -> OtlpHttpExporter:
        exporter = OtlpHttpExporter(
            **{
                "endpoint": collector.endpoint,
                "resource": {"service.name": "chat"},
                "schedule_delay_seconds": 60.0,
                "timeout_seconds": 5.0,
                "backoff_seconds": (0.02, 0.1),
            }
            | settings
        )
        made.append(exporter)
        return exporter

    yield make
    for exporter in made:
        exporter.shutdown(0.0)
