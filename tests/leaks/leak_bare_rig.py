"""What the bare probes stand on: somebody's code on our provider, with our guard or without it."""

from __future__ import annotations

import logging
import os
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util._once import Once

import turntrace
from turntrace import failsafe, pipeline
from turntrace.export import otlp
from turntrace.guard.propagation import GuardedPropagator
from turntrace.instrument import switch
from turntrace.record import EventRecord, LinkRecord, Resource, Span, SpanRecord, TracerProvider
from turntrace.testing.taps import LogTap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

SERVICE = "bare"
SEND_SECONDS = 20.0


ELSEWHERE = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7, True, TraceFlags(1))
"""A span of another process."""


def remote(tracestate: str) -> Context:
    """Return the context of a request that came from ``ELSEWHERE``."""
    carrier = {
        "traceparent": f"00-{ELSEWHERE.trace_id:032x}-{ELSEWHERE.span_id:016x}-01",
        "tracestate": tracestate,
    }
    return TraceContextTextMapPropagator().extract(carrier)


class Bare:
    """A careless app in this process; the tracer is not one of ours."""

    def __init__(self) -> None:
        self.tracer: Tracer = trace.get_tracer("careless.app", "1.0")
        self.carriers: list[dict[str, str]] = []
        """Headers of calls to strangers."""

    def call(self) -> None:
        """Call a stranger with the context of now, as HTTP clients do."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        self.carriers.append(carrier)

    def fail(self, error: BaseException) -> None:
        """Record an exception by hand, and let the same one out of a span."""
        span = self.tracer.start_span("work")
        span.record_exception(error)
        span.end()
        try:
            with self.tracer.start_as_current_span("work"):
                raise error
        except type(error):
            pass

    def resource(self) -> dict[str, Any]:
        """Return the attributes of the provider's resource, as anybody may change them."""
        provider: Any = trace.get_tracer_provider()
        return dict(provider.resource.attributes)


@contextmanager
def clean_process() -> Iterator[None]:
    """Let telemetry be configured as if it were the first of this process, and forget it again."""
    propagator, level = propagate.get_global_textmap(), logging.getLogger("turntrace").level
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("OTEL_", "TURNTRACE_")):
                patch.delenv(name)
        patch.setattr(failsafe, "_seen", {})  # what is said once, others want to hear
        patch.setattr(pipeline, "_active", None)
        patch.setattr(pipeline, "_said_for_now", None)
        patch.setattr(trace, "_TRACER_PROVIDER", None)
        patch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
        switch(off=False)
        try:
            yield
        finally:
            running = pipeline.running()
            if running is not None:
                running.shutdown(0.0)
            propagate.set_global_textmap(propagator)
            logging.getLogger("turntrace").setLevel(level)


@contextmanager
def guarded(endpoint: str, spools: Path) -> Iterator[tuple[Bare, dict[str, bytes]]]:
    """Run the app on what ``configure()`` builds, instrumented; fill in what left beside the wire.

    On leaving, everything that was recorded has been sent to ``endpoint``.
    """
    lines: list[str] = []
    tap = LogTap(lines.append)
    raw: dict[str, bytes] = {}
    with clean_process():
        telemetry = turntrace.configure(
            service_name=SERVICE, endpoint=endpoint, log_level="debug", spool_dir=str(spools)
        )
        tap.install()
        try:
            turntrace.instrument("langgraph", "sqlalchemy", "httpx")
            bare = Bare()
            yield bare, raw
            assert telemetry.force_flush(SEND_SECONDS)
            counts = telemetry.export_counts()
            assert counts is not None
            assert counts.acknowledged == counts.offered > 0, counts  # a lost span hides a leak
        finally:
            turntrace.uninstrument()
            tap.remove()
    raw["own log lines of the app"] = "\n".join(lines).encode()
    raw["headers to strangers"] = repr(bare.carriers).encode()


@contextmanager
def unguarded(resource: Mapping[str, Any]) -> Iterator[tuple[Bare, list[SpanRecord]]]:
    """Run the app on a pipeline without any guard: recorder, a plain copy, encoder."""
    records: list[SpanRecord] = []

    def keep(span: Span) -> None:
        records.append(_copied(span))

    with clean_process():
        provider = TracerProvider(Resource(dict(resource)), keep)
        provider.describe_exception = _described
        trace.set_tracer_provider(provider)
        propagator = propagate.get_global_textmap()
        while isinstance(propagator, GuardedPropagator):
            propagator = propagator.inner
        propagate.set_global_textmap(propagator)
        yield Bare(), records


def encoded(resource: Mapping[str, Any], records: list[SpanRecord]) -> bytes:
    """Return the request that would be sent."""
    return otlp.encode_request(otlp.Resource(_plain(resource)), records)


def _described(error: BaseException) -> dict[str, Any]:
    """Say of an exception what the OpenTelemetry SDK says of it."""
    return {
        "exception.type": type(error).__qualname__,
        # Not exception.message, which the recorder keeps apart for the guard to decide on.
        "exception.text": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
    }


def _copied(span: Span) -> SpanRecord:
    """Turn a span into a record as it is."""
    return SpanRecord(
        span.trace_id.to_bytes(16, "big"),
        span.span_id.to_bytes(8, "big"),
        span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
        False,
        span.local_trace.flags,
        span.get_span_context().trace_state.to_header(),
        str(span.name),
        span.kind.value,
        span.start_time,
        span.end_time or span.start_time,
        _plain(span.attributes),
        tuple(EventRecord(str(e.name), e.timestamp, _plain(e.attributes)) for e in span.events),
        tuple(
            LinkRecord(
                link.context.trace_id.to_bytes(16, "big"),
                link.context.span_id.to_bytes(8, "big"),
                link.context.trace_state.to_header(),
                0,
                _plain(link.attributes or {}),
            )
            for link in span.links
        ),
        span.status_code.value,
        span.status_description or "",
        0,
        0,
        0,
        span.scope,
    )


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): value if isinstance(value, (str, bool, int, float, bytes)) else repr(value)
        for key, value in attributes.items()
    }
