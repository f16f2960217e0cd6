"""Claims about the ``otel.sdk.*`` metrics: the conventions' names, and books that still add up."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics
from opentelemetry.metrics import _internal as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import otel_attributes as official_keys
from opentelemetry.semconv._incubating.metrics import otel_metrics as official
from opentelemetry.util._once import Once

from turntrace import failsafe
from turntrace.export import sdk_metrics
from turntrace.export.ledger import Health
from turntrace.export.sdk_metrics import SdkMetrics, emit_sdk_metrics, stop_sdk_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEALTH = Health(
    ended=139,
    adopted=3,
    acknowledged=60,
    rejected=5,
    sampled_out=20,
    dropped={"queue_full": 4, "shutdown": 2, "cap": 7, "unencodable": 1},
    waiting=11,
    on_disk=30,
    handed_over=2,
)
OFFICIAL = {
    value
    for name, value in vars(official).items()
    if name.startswith(("OTEL_SDK_PROCESSOR_SPAN", "OTEL_SDK_EXPORTER_SPAN"))
    and isinstance(value, str)
    and not value.endswith(".count")
}


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process does: nobody has set a meter provider, nothing is registered."""
    monkeypatch.setattr(api, "_METER_PROVIDER", None)
    monkeypatch.setattr(api, "_METER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(api, "_PROXY_METER_PROVIDER", api._ProxyMeterProvider())
    monkeypatch.setattr(sdk_metrics, "_METRICS", SdkMetrics())


@pytest.fixture
def set_provider() -> Iterator[Callable[[], InMemoryMetricReader]]:
    """Return what sets the app's meter provider and returns its reader."""
    made: list[MeterProvider] = []

    def make() -> InMemoryMetricReader:
        reader = InMemoryMetricReader()
        made.append(MeterProvider(metric_readers=[reader]))
        metrics.set_meter_provider(made[-1])
        return reader

    yield make
    for provider in made:
        provider.shutdown()


def emit(health: Callable[[], Health]) -> None:
    emit_sdk_metrics(health, max_queue_size=2048, endpoint="https://user:pw@collector/v1/traces")


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Return each metric by its name."""
    data = reader.get_metrics_data()
    return {
        metric.name: metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def by_error(metric: Any) -> dict[str, int]:
    """Return the values of a metric by ``error.type``; that without one under an empty text."""
    return {
        point.attributes.get("error.type", ""): point.value for point in metric.data.data_points
    }


def test_names_and_units_are_those_of_the_conventions(set_provider: Any) -> None:
    reader = set_provider()
    emit(lambda: HEALTH)
    found = collected(reader)
    assert len(OFFICIAL) == 5
    assert set(found) == OFFICIAL
    assert {metric.unit for metric in found.values()} == {"{span}"}


def test_only_what_never_goes_down_is_a_counter(set_provider: Any) -> None:
    reader = set_provider()
    emit(lambda: HEALTH)
    counters = {name for name, metric in collected(reader).items() if metric.data.is_monotonic}
    assert counters == {
        official.OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
        official.OTEL_SDK_EXPORTER_SPAN_EXPORTED,
    }


def test_every_kept_span_is_processed_or_in_the_queue(set_provider: Any) -> None:
    reader = set_provider()
    emit(lambda: HEALTH)
    found = collected(reader)
    processed = by_error(found["otel.sdk.processor.span.processed"])
    assert processed == {"": 105, "queue_full": 4, "already_shutdown": 2}
    queue = by_error(found["otel.sdk.processor.span.queue.size"])[""]
    assert HEALTH.adds_up
    assert sum(processed.values()) + queue == HEALTH.ended + HEALTH.adopted - HEALTH.sampled_out
    assert by_error(found["otel.sdk.processor.span.queue.capacity"]) == {"": 2048}


def test_every_processed_span_is_exported_in_flight_or_handed_over(set_provider: Any) -> None:
    reader = set_provider()
    emit(lambda: HEALTH)
    found = collected(reader)
    exported = by_error(found["otel.sdk.exporter.span.exported"])
    assert exported == {"": 60, "rejected": 5, "cap": 7, "unencodable": 1}
    inflight = by_error(found["otel.sdk.exporter.span.inflight"])[""]
    processed = by_error(found["otel.sdk.processor.span.processed"])[""]
    assert sum(exported.values()) + inflight + HEALTH.handed_over == processed


def test_components_are_named_and_the_collector_by_host_and_port_alone(set_provider: Any) -> None:
    reader = set_provider()
    emit(lambda: HEALTH)
    found = collected(reader)
    kind = official_keys.OtelComponentTypeValues.OTLP_HTTP_SPAN_EXPORTER.value
    (inflight,) = found["otel.sdk.exporter.span.inflight"].data.data_points
    assert dict(inflight.attributes) == {
        official_keys.OTEL_COMPONENT_TYPE: kind,
        official_keys.OTEL_COMPONENT_NAME: f"{kind}/0",
        "server.address": "collector",
        "server.port": 443,
    }
    (queue,) = found["otel.sdk.processor.span.queue.size"].data.data_points
    assert set(queue.attributes) == {
        official_keys.OTEL_COMPONENT_TYPE,
        official_keys.OTEL_COMPONENT_NAME,
    }


def test_the_books_are_not_opened_while_nobody_collects(set_provider: Any) -> None:
    calls = []

    def health() -> Health:
        calls.append(1)
        return HEALTH

    emit(health)
    reader = set_provider()
    assert not calls
    collected(reader)
    assert calls


def test_a_provider_that_is_set_later_observes_them(set_provider: Any) -> None:
    emit(lambda: HEALTH)
    assert set(collected(set_provider())) == OFFICIAL


def test_without_a_provider_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    emit(lambda: HEALTH)
    assert not caplog.records


@pytest.mark.parametrize("is_early", [True, False])
def test_configured_twice_shows_the_second_alone_without_a_conflict(
    set_provider: Any, caplog: pytest.LogCaptureFixture, is_early: bool
) -> None:
    reader = set_provider() if is_early else None
    emit(lambda: HEALTH)
    calls = []
    emit(lambda: calls.append(1) or Health(ended=1, acknowledged=1))
    exported = collected(reader or set_provider())["otel.sdk.exporter.span.exported"]
    (point,) = exported.data.data_points
    assert point.value == 1
    assert len(calls) == len(OFFICIAL) - 1, "the capacity needs no books, each other one reading"
    assert point.attributes["otel.component.name"] == "otlp_http_span_exporter/1"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_instruments_are_made_once() -> None:
    emit(lambda: HEALTH)
    emit(lambda: HEALTH)
    (meter,) = api._PROXY_METER_PROVIDER._meters
    assert len(meter._instruments) == len(OFFICIAL)


def test_a_counter_does_not_go_down_while_a_span_is_in_passing(set_provider: Any) -> None:
    reader = set_provider()
    books = [Health(ended=9, on_disk=9)]
    emit(lambda: books[-1])
    assert by_error(collected(reader)["otel.sdk.processor.span.processed"]) == {"": 9}
    books.append(Health(ended=9, on_disk=8))
    assert by_error(collected(reader)["otel.sdk.processor.span.processed"]) == {"": 9}


def test_books_that_cannot_be_read_are_no_metrics_and_no_error_of_the_app(
    set_provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failsafe, "_seen", {})

    def health() -> Health:
        raise OSError("no books")

    reader = set_provider()
    emit(health)
    assert set(collected(reader)) == {official.OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY}
    assert failsafe.failures() == {"sdk metrics: OSError": 4}


def test_after_the_end_nothing_is_observed(set_provider: Any) -> None:
    reader = set_provider()
    emit(lambda: HEALTH)
    stop_sdk_metrics()
    assert collected(reader) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_counts_from_its_own_beginning(set_provider: Any) -> None:
    reader = set_provider()
    parent = os.getpid()
    emit(lambda: HEALTH if os.getpid() == parent else Health(ended=2, acknowledged=2))
    collected(reader)
    child = os.fork()
    if not child:
        exported = by_error(collected(reader)["otel.sdk.exporter.span.exported"])
        os._exit(0 if exported.get("") == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
