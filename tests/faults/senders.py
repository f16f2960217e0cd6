"""The exporters that are compared, each with a tracer in front of it, as an app would have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer
    from work import Work

HEALTH_FIELDS: Final = (
    "ended",
    "adopted",
    "acknowledged",
    "rejected",
    "sampled_out",
    "waiting",
    "on_disk",
    "handed_over",
)


class Sender(Protocol):
    """One exporter with a tracer in front of it."""

    tracer: Tracer

    def flush(self, seconds: float) -> bool:
        """Send what waits."""
        ...

    def close(self, seconds: float) -> None:
        """Stop for good."""
        ...

    def said(self) -> dict[str, Any]:
        """Return what it says became of the spans: ``sent``, and whatever else it counts."""
        ...


class Official:
    """The SDK with a BatchSpanProcessor and the OTLP/HTTP exporter, by their defaults."""

    def __init__(self, endpoint: str, work: Work) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        self._sent = 0
        owner = self

        class Counting(OTLPSpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                result = super().export(spans)
                owner._sent += len(spans) * (result is SpanExportResult.SUCCESS)
                return result

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": work.service}),
            sampler=ParentBasedTraceIdRatio(work.share),
        )
        self._provider.add_span_processor(BatchSpanProcessor(Counting(endpoint=endpoint)))
        self.tracer = self._provider.get_tracer("faults")

    def flush(self, seconds: float) -> bool:
        return self._provider.force_flush(int(seconds * 1000))

    def close(self, seconds: float) -> None:
        del seconds  # it takes none
        self._provider.shutdown()

    def said(self) -> dict[str, Any]:
        return {"sent": self._sent}


class Turntrace:
    """turntrace as every app configures it, by its defaults."""

    def __init__(self, endpoint: str, work: Work) -> None:
        from opentelemetry import trace

        import turntrace

        self._telemetry = turntrace.configure(
            traces_endpoint=endpoint, service_name=work.service, baseline=work.share
        )
        self.tracer = trace.get_tracer("faults")

    def flush(self, seconds: float) -> bool:
        return self._telemetry.force_flush(seconds)

    def close(self, seconds: float) -> None:
        self._telemetry.shutdown(seconds)

    def said(self) -> dict[str, Any]:
        health: Any = self._telemetry.health()
        told: dict[str, Any] = {name: getattr(health, name) for name in HEALTH_FIELDS}
        return {**told, "dropped": dict(health.dropped), "sent": health.acknowledged}


SENDERS: Final[dict[str, Callable[[str, Work], Sender]]] = {
    "official": Official,
    "turntrace": Turntrace,
}
"""By the name that a table shows; each takes the collector's URL."""
