"""Composition root: configure() builds the stages in the order a span travels through them.

record ──▶ sample ──▶ guard ──▶ export: spool ──▶ shipper ──▶ an OTLP receiver
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import uuid
from typing import TYPE_CHECKING

from opentelemetry import trace as trace_api

from turntrace import attributes as keys
from turntrace.atomic_count import ticks
from turntrace.errors import ConfigurationError
from turntrace.export.assembly import build_shipper
from turntrace.export.ledger import Health
from turntrace.export.sdk_metrics import emit_sdk_metrics, stop_sdk_metrics
from turntrace.failsafe import Guarded
from turntrace.guard import propagation
from turntrace.guard.exceptions import ExceptionDescriber, content_free
from turntrace.guard.schema import Schema
from turntrace.guard.stage import GuardStage
from turntrace.instrument import switch, uninstrument
from turntrace.instrument.http_client import deny_hosts
from turntrace.instrument.socketio.server import use_token_events
from turntrace.own_version import own_version
from turntrace.record import Resource, TracerProvider
from turntrace.registry import entry, register_attributes
from turntrace.sample.rules import SamplingPolicy
from turntrace.sample.stage import SampleStage
from turntrace.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from turntrace.export.contract import SpanSink
    from turntrace.export.ledger import ExportCounts
    from turntrace.record.span_record import AttributeValue, SpanRecord

logger = logging.getLogger("turntrace")

_lock = threading.Lock()
_active: Telemetry | None = None
_said_for_now: tuple[str, ...] | None = None
"""The warnings of `configure_for_now`, while the app may still replace what that has built."""


class Telemetry:
    """The running pipeline, as ``configure`` returns it."""

    def __init__(
        self,
        settings: Settings,
        policy: SamplingPolicy | None,
        provider: TracerProvider | None,
        exporter: SpanSink | None,
        sample: SampleStage | None = None,
    ) -> None:
        self.settings = settings
        self.provider = provider
        self.policy = policy
        self._exporter = exporter
        self._sample = sample
        self._inherited = itertools.count()

    def force_flush(self, timeout_seconds: float = 5.0) -> bool:
        """Send what has ended; True only if all of it was acknowledged within the time.

        Where another process sends (``TURNTRACE_SHIPPER=process``): True if all of it is on disk,
        for that process to take.
        """
        return self._exporter is None or self._exporter.force_flush(timeout_seconds)

    def shutdown(self, timeout_seconds: float = 2.0) -> bool:
        """Flush and stop within ``timeout_seconds``; True if nothing was left behind.

        What no collector has acknowledged by then waits on disk, for the next process of this
        service. May be called twice. Spans that end afterwards are dropped and counted.
        """
        return self._exporter is None or self._exporter.shutdown(timeout_seconds)

    def give_way_to(self, successor: Telemetry) -> None:
        """Stop without a wait; what has ended and was not sent is the successor's to send."""
        atexit.unregister(self.shutdown)
        if self._exporter is None:
            return
        if successor._exporter is None:
            self._exporter.shutdown(0.0)
        else:
            self._exporter.hand_over(successor._inherit)

    def _inherit(self, record: SpanRecord) -> None:
        """Take a span that ended before this pipeline was built, or while it was."""
        next(self._inherited)
        if self._exporter is not None:
            self._exporter.offer(record)

    def export_counts(self) -> ExportCounts | None:
        """Return what became of the spans that reached the exporter; None while disabled."""
        return None if self._exporter is None else self._exporter.counts()

    def health(self) -> Health:
        """Return what became of every span of this process; all zero while disabled.

        Asks neither the network nor the disk.

        Example:
            >>> from turntrace import configure
            >>> health = configure(service_name="renovation").health()  # doctest: +SKIP
            >>> health.dropped, health.adds_up  # doctest: +SKIP
            (mappingproxy({}), True)
        """
        if self._exporter is None or self._sample is None:
            return Health()
        counts = self._exporter.counts()
        # Counted at the first door and read last: a span that got lost in between would show.
        return Health(
            sampled_out=self._sample.sampled_out,
            adopted=counts.adopted,
            acknowledged=counts.acknowledged,
            rejected=counts.rejected,
            dropped=counts.dropped,
            waiting=counts.waiting,
            on_disk=counts.on_disk,
            handed_over=counts.handed_over,
            ended=self._sample.ended + ticks(self._inherited),
        )

    def spool_files(self) -> list[Path]:
        """Return the files in which spans of this process wait, as of this moment."""
        spool = getattr(self._exporter, "spool", None)
        return [] if spool is None else spool.files()

    def _begin_in_child(self) -> None:
        self._inherited = itertools.count()
        if self._sample is not None:
            self._sample.forget()


def configure(*, policy: SamplingPolicy | None = None, **settings: object) -> Telemetry:
    """Build the pipeline and make it OpenTelemetry's global tracer provider.

    The environment is read first, explicit arguments win. A second call returns the running
    telemetry if what it asks for is what runs, and raises otherwise; but what only `turntrace run`
    or OpenTelemetry's start-up configured, it replaces. At the interpreter's exit
    ``shutdown`` is called; a server that is ended by a signal calls it itself.

    Args:
        policy: Which traces are kept; by default the baseline ratio of the settings.
        settings: Fields of ``turntrace.settings.Settings`` by name.

    Raises:
        ConfigurationError: An argument cannot be used, or another provider is installed already.

    Example:
        >>> telemetry = configure(service_name="renovation")  # doctest: +SKIP
    """
    global _active, _said_for_now
    loaded, warnings = load(settings)
    _with_baseline(policy, loaded)
    if "attributes" in settings:
        for key, shape in loaded.attributes.items():
            entry(key, shape)
    with _lock:
        active, said = _active, _said_for_now
        if active is None or (said is not None and not _is_same(active, policy, loaded)):
            unsaid = [warning for warning in warnings if warning not in (said or ())]
            active = _start(loaded, policy, unsaid, active)
        else:
            _refuse_other(active, policy, loaded, settings)
            _switch(active.settings)
        _active, _said_for_now = active, None
        return active


def configure_for_now() -> Telemetry | None:
    """Configure from the environment for an app that has not done it, and may still do it.

    Its own ``configure`` then wins, whatever it asks for. Returns what runs; None while somebody
    else is configuring at this moment.

    Raises:
        ConfigurationError: As ``configure`` does.
    """
    global _active, _said_for_now
    if not _lock.acquire(blocking=False):
        return None
    try:
        if _active is None:
            loaded, warnings = load()
            _active, _said_for_now = _start(loaded, None, warnings, None), tuple(warnings)
        return _active
    finally:
        _lock.release()


def running() -> Telemetry | None:
    """Return the telemetry of this process, if it is configured."""
    return _active


def _is_same(running: Telemetry, policy: SamplingPolicy | None, loaded: Settings) -> bool:
    return loaded == running.settings and policy in (None, running.policy)


def _start(
    settings: Settings,
    policy: SamplingPolicy | None,
    warnings: list[str],
    before: Telemetry | None,
) -> Telemetry:
    """Build what is asked for, in the place of what ran for now."""
    _switch(settings)
    if settings.log_level:
        logger.setLevel(settings.log_level.upper())
    for warning in warnings:
        logger.warning("turntrace: %s", warning)
    provider = None if before is None else before.provider
    if settings.enabled:
        telemetry = _build(settings, policy, provider)
    else:
        telemetry = Telemetry(settings, policy, None, None)
        stop_sdk_metrics()
        if provider is not None:
            provider.switch_off()
            propagation.remove()
    if before is not None:
        before.give_way_to(telemetry)
    return telemetry


def _switch(settings: Settings) -> None:
    """Let hooks be put on, or take off those that the app put on too early."""
    switch(off=not settings.enabled)
    if not settings.enabled:
        uninstrument()


def _with_baseline(policy: SamplingPolicy | None, settings: Settings) -> SamplingPolicy:
    """Return the policy with the settings' baseline if it has none of its own."""
    if policy is None:
        policy = SamplingPolicy()
    if not isinstance(policy, SamplingPolicy):
        raise ConfigurationError(
            f"policy is a {type(policy).__qualname__}; it must be a turntrace.SamplingPolicy, with"
            " rules of your own (see turntrace.rules)"
        )
    try:
        return policy.with_default(settings.sampling_baseline)
    except Exception as error:
        raise ConfigurationError(
            f"policy is a {type(policy).__qualname__} that cannot be used"
            f" ({type(error).__name__}); let its __init__ call super().__init__()"
        ) from error


def _build(
    settings: Settings, policy: SamplingPolicy | None, provider: TracerProvider | None
) -> Telemetry:
    resource = resource_of(settings)
    schema = Schema(
        vocabulary=keys.Vocabulary(settings.vocabulary), resource_keys=settings.resource_attributes
    )
    exporter = build_shipper(
        settings,
        {k: v for k, v in resource.attributes.items() if schema.has_resource_key(k)},
    )
    guard = GuardStage(schema, exporter.offer)
    sample = SampleStage(_with_baseline(policy, settings), guard.on_end)
    if provider is None:
        provider = TracerProvider(resource, sample.on_end, decide=sample.decide)
        _install(provider)
    else:  # OpenTelemetry takes only one provider in the life of a process
        provider.redirect(resource, sample.on_end, decide=sample.decide)
    telemetry = Telemetry(settings, policy, provider, exporter, sample)
    use_token_events(settings.token_events)
    provider.force_flush_stages = telemetry.force_flush
    provider.shutdown_stages = telemetry.shutdown
    _guard_the_rest(settings, provider)
    atexit.register(telemetry.shutdown)
    emit_sdk_metrics(
        telemetry.health, max_queue_size=settings.max_queue_size, endpoint=settings.traces_url
    )
    return telemetry


def _guard_the_rest(settings: Settings, provider: TracerProvider) -> None:
    """Guard what leaves by other ways than spans that ended: exceptions, outgoing headers."""
    messages = content_free if settings.exception_messages == "safe" else None
    provider.describe_exception = ExceptionDescriber(messages)
    propagation.install()
    with Guarded("the denied hosts"):
        deny_hosts(settings.denied_hosts)
    _register(settings.attributes)


def _register(attributes: Mapping[str, object]) -> None:
    """Declare what the operator asks for; what cannot be declared is said, in one line."""
    refused: dict[str, ConfigurationError] = {}
    for key, shape in attributes.items():
        try:
            register_attributes({key: shape})
        except ConfigurationError as error:
            refused[key] = error
    if refused:
        key, reason = next(iter(refused.items()))
        logger.warning(
            "turntrace: TURNTRACE_ATTRIBUTES=%r holds %s that cannot be used: %s; using the rest",
            key,
            "a key" if len(refused) == 1 else f"{len(refused)} keys",
            reason,
        )


def _begin_in_child() -> None:
    if _active is not None:
        _active._begin_in_child()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


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
