"""Composition root: configure() builds the stages in the order a span travels through them.

record ──▶ sample ──▶ guard ──▶ export ──▶ an OTLP receiver
"""

from __future__ import annotations

import atexit
import logging
import platform
import threading
import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from opentelemetry import trace as trace_api

from turntrace import attributes as keys
from turntrace.errors import ConfigurationError
from turntrace.export.http_exporter import OtlpHttpExporter
from turntrace.guard.schema import Schema
from turntrace.guard.stage import GuardStage
from turntrace.instrument import switch
from turntrace.instrument.socketio.server import use_token_events
from turntrace.record import Resource, TracerProvider
from turntrace.sample.rules import SamplingPolicy
from turntrace.sample.stage import SampleStage
from turntrace.settings import Settings, load

if TYPE_CHECKING:
    from turntrace.export.contract import ExportCounts, SpanSink
    from turntrace.record.span_record import AttributeValue

logger = logging.getLogger("turntrace")

_lock = threading.Lock()
_active: Telemetry | None = None


class Telemetry:
    """The running pipeline, as ``configure`` returns it."""

    def __init__(
        self,
        settings: Settings,
        policy: SamplingPolicy | None,
        provider: TracerProvider | None,
        exporter: SpanSink | None,
    ) -> None:
        self.settings = settings
        self.provider = provider
        self.policy = policy
        self._exporter = exporter

    def force_flush(self, timeout_seconds: float = 5.0) -> bool:
        """Send what has ended; True only if all of it was acknowledged within the time."""
        return self._exporter is None or self._exporter.force_flush(timeout_seconds)

    def shutdown(self, timeout_seconds: float = 2.0) -> bool:
        """Flush and stop within ``timeout_seconds``; True if nothing was left behind.

        May be called twice. Spans that end afterwards are dropped and counted.
        """
        return self._exporter is None or self._exporter.shutdown(timeout_seconds)

    def export_counts(self) -> ExportCounts | None:
        """Return what became of the spans that reached the exporter; None while disabled."""
        return None if self._exporter is None else self._exporter.counts()


def configure(*, policy: SamplingPolicy | None = None, **settings: object) -> Telemetry:
    """Build the pipeline and make it OpenTelemetry's global tracer provider.

    The environment is read first, explicit arguments win. A second call returns the running
    telemetry if what it asks for is what runs, and raises otherwise. At the interpreter's exit
    ``shutdown`` is called; a server that is ended by a signal calls it itself.

    Args:
        policy: Which traces are kept; by default the baseline ratio of the settings.
        settings: Fields of ``turntrace.settings.Settings`` by name.

    Raises:
        ConfigurationError: An argument cannot be used, or another provider is installed already.

    Example:
        >>> telemetry = configure(service_name="renovation")  # doctest: +SKIP
    """
    global _active  # noqa: PLW0603 - OpenTelemetry has one provider per process, so have we
    loaded, warnings = load(settings)
    with _lock:
        if _active is not None:
            _refuse_other(_active, policy, loaded, settings)
            switch(off=not _active.settings.enabled)
            return _active
        switch(off=not loaded.enabled)
        if loaded.log_level:
            logger.setLevel(loaded.log_level.upper())
        for warning in warnings:
            logger.warning("turntrace: %s", warning)
        if not loaded.enabled:
            _active = Telemetry(loaded, policy, None, None)
            return _active
        _active = _build(loaded, policy)
        return _active


def _build(settings: Settings, policy: SamplingPolicy | None) -> Telemetry:
    resource = resource_of(settings)
    schema = Schema(
        vocabulary=keys.Vocabulary(settings.vocabulary), resource_keys=settings.resource_attributes
    )
    exporter = OtlpHttpExporter(
        endpoint=settings.traces_url,
        headers=settings.headers,
        resource={k: v for k, v in resource.attributes.items() if k in schema.resource_keys},
        timeout_seconds=settings.timeout_seconds,
        compression=settings.compression,
        max_queue_size=settings.max_queue_size,
        max_batch_size=settings.max_batch_size,
        schedule_delay_seconds=settings.schedule_delay_seconds,
    )
    guard = GuardStage(schema, exporter.offer)
    sample = SampleStage(
        policy or SamplingPolicy(baseline=settings.sampling_baseline), guard.on_end
    )
    provider = TracerProvider(resource, sample.on_end, decide=sample.decide)
    telemetry = Telemetry(settings, policy, provider, exporter)
    use_token_events(settings.token_events)
    provider.force_flush_stages = telemetry.force_flush
    provider.shutdown_stages = telemetry.shutdown
    _install(provider)
    atexit.register(telemetry.shutdown)
    return telemetry


def _refuse_other(
    running: Telemetry, policy: SamplingPolicy | None, loaded: Settings, given: dict[str, object]
) -> None:
    """Raise if what is asked for explicitly is not what runs already."""
    other = [name for name in given if getattr(loaded, name) != getattr(running.settings, name)]
    if policy is not None and policy != running.policy:
        other.append("policy")
    if other:
        raise ConfigurationError(
            f"configure() was called before with another {', '.join(other)};"
            " call it once, at the start"
        )


def _install(provider: TracerProvider) -> None:
    trace_api.set_tracer_provider(provider)
    installed = trace_api.get_tracer_provider()
    if installed is not provider:
        raise ConfigurationError(
            f"a tracer provider is installed already ({type(installed).__qualname__});"
            " call turntrace.configure() before it, or remove it"
        )


def resource_of(settings: Settings) -> Resource:
    """Return the resource: the operator's attributes, then what we know of this process."""
    values: dict[str, AttributeValue] = {
        keys.SERVICE_NAME: settings.service_name,
        keys.SERVICE_INSTANCE_ID: str(uuid.uuid4()),
        keys.DEPLOYMENT_ENVIRONMENT: settings.environment,
        keys.DEPLOYMENT_ENVIRONMENT_NAME: settings.environment,
        keys.TELEMETRY_SDK_NAME: "turntrace",
        keys.TELEMETRY_SDK_LANGUAGE: "python",
        keys.TELEMETRY_SDK_VERSION: own_version(),
        **settings.resource_attributes,
    }
    return Resource(values)


def own_version() -> str:
    """Return the installed version of turntrace."""
    try:
        return version("turntrace")
    except PackageNotFoundError:
        return f"unknown (python {platform.python_version()})"
