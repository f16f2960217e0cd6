"""Tells the app's metrics what became of every span, as OpenTelemetry's ``otel.sdk.*`` metrics.

Names, units and attributes are those of the semantic conventions for SDK metrics. The processor
is what holds a span in memory, the exporter what keeps it on disk and sends it.
"""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from turntrace.attributes import ERROR_TYPE, SERVER_ADDRESS, SERVER_PORT
from turntrace.failsafe import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from turntrace.export.ledger import Health

PROCESSED: Final = "otel.sdk.processor.span.processed"
QUEUE_SIZE: Final = "otel.sdk.processor.span.queue.size"
QUEUE_CAPACITY: Final = "otel.sdk.processor.span.queue.capacity"
EXPORTED: Final = "otel.sdk.exporter.span.exported"
INFLIGHT: Final = "otel.sdk.exporter.span.inflight"

# Attributes of metrics only: no span has them, so they are in no table of what spans let out.
_COMPONENT_NAME: Final = "otel.component.name"
_COMPONENT_TYPE: Final = "otel.component.type"
_PROCESSOR: Final = "turntrace.export.shipper.Shipper"
"""No type of the conventions is what we are; they ask for the name of the class then."""
_EXPORTER: Final = "otlp_http_span_exporter"

_SCOPE: Final = "turntrace"
_UNIT: Final = "{span}"
_REJECTED: Final = "rejected"
_NEVER_EXPORTED: Final = {"queue_full": "queue_full", "shutdown": "already_shutdown"}
"""Reasons of spans that never left memory, in the words of the conventions."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_Attributes = dict[str, str | int]
_Observed = tuple[int, _Attributes]


class _Source(NamedTuple):
    """What is read, and how its components are called."""

    health: Callable[[], Health]
    max_queue_size: int
    processor: _Attributes
    exporter: _Attributes


class SdkMetrics:
    """The instruments, made once in a process, and the books that they show at present."""

    def __init__(self) -> None:
        self.source: _Source | None = None
        self._instances = itertools.count()
        self._is_registered = threading.Lock()
        """Taken for good by who makes the instruments; nobody waits for it."""
        self._highest: dict[tuple[str, str, str], int] = {}

    def show(self, health: Callable[[], Health], max_queue_size: int, endpoint: str) -> None:
        """Observe these books from now on."""
        number = next(self._instances)
        self.source = _Source(
            health,
            max_queue_size,
            _component(_PROCESSOR, number),
            {**_component(_EXPORTER, number), **_server(endpoint)},
        )
        if self._is_registered.acquire(blocking=False):  # twice the same name is a conflict
            self._register()

    def forget_highest(self) -> None:
        """Begin anew in a forked child, whose books do."""
        self._highest.clear()

    def _register(self) -> None:
        meter = metrics.get_meter(_SCOPE)
        for name, observe, is_counter, description in _INSTRUMENTS:
            create = (
                meter.create_observable_counter
                if is_counter
                else meter.create_observable_up_down_counter
            )
            callback = self._callback(name, observe, is_counter=is_counter)
            create(name, [callback], unit=_UNIT, description=description)

    def _callback(
        self, name: str, observe: Callable[[_Source], Iterable[_Observed]], *, is_counter: bool
    ) -> Callable[[CallbackOptions], list[Observation]]:
        def observations(_options: CallbackOptions) -> list[Observation]:
            source = self.source
            found: list[Observation] = []
            with Guarded("sdk metrics"):
                for value, attributes in observe(source) if source else ():
                    shown = self._never_less(name, value, attributes) if is_counter else value
                    found.append(Observation(shown, attributes))
            return found

        return observations

    def _never_less(self, name: str, value: int, attributes: _Attributes) -> int:
        """Return ``value``, or the highest so far.

        A span in passing may be in no count for a moment, and a counter that goes down by one is
        taken for a process that began anew.
        """
        key = (name, str(attributes[_COMPONENT_NAME]), str(attributes.get(ERROR_TYPE, "")))
        self._highest[key] = max(value, self._highest.get(key, 0))
        return self._highest[key]


def emit_sdk_metrics(
    health: Callable[[], Health], *, max_queue_size: int, endpoint: str = ""
) -> None:
    """Let whatever meter provider the app has, or sets later, observe these books.

    Nothing is counted or kept: ``health`` is called when somebody collects metrics. A later call
    replaces the books, under further component names; a forked child goes on with its own. What
    fails is swallowed and said once.

    Args:
        health: Returns the books; may be called from any thread.
        max_queue_size: How many spans memory takes.
        endpoint: The collector's URL; only its host and port are told.

    Example:
        >>> from turntrace.export.ledger import Health
        >>> emit_sdk_metrics(Health, max_queue_size=2048, endpoint="http://localhost:4318")
        >>> stop_sdk_metrics()
    """
    with Guarded("sdk metrics"):
        _METRICS.show(health, max_queue_size, endpoint)


def stop_sdk_metrics() -> None:
    """Observe nothing any more, until the next `emit_sdk_metrics`."""
    _METRICS.source = None


def _component(kind: str, number: int) -> _Attributes:
    return {_COMPONENT_TYPE: kind, _COMPONENT_NAME: f"{kind}/{number}"}


def _server(endpoint: str) -> _Attributes:
    url = urlsplit(endpoint)
    port = url.port or _DEFAULT_PORTS.get(url.scheme)
    return {
        **({SERVER_ADDRESS: url.hostname} if url.hostname else {}),
        **({SERVER_PORT: port} if url.hostname and port else {}),
    }


def _processed(source: _Source) -> Iterator[_Observed]:
    """Yield how many left memory, for the disk or the collector, and how many did not."""
    health = source.health()
    dropped = {kind: health.dropped.get(reason, 0) for reason, kind in _NEVER_EXPORTED.items()}
    later = sum(health.dropped.values()) - sum(dropped.values())
    gone = health.acknowledged + health.rejected + health.handed_over
    yield gone + later + health.on_disk, source.processor
    for kind, count in dropped.items():
        if count:
            yield count, {**source.processor, ERROR_TYPE: kind}


def _exported(source: _Source) -> Iterator[_Observed]:
    """Yield how many the collector took, and how many it never will, by reason."""
    health = source.health()
    yield health.acknowledged, source.exporter
    failed = {_REJECTED: health.rejected}
    failed |= {kind: n for kind, n in health.dropped.items() if kind not in _NEVER_EXPORTED}
    for kind, count in failed.items():
        if count:
            yield count, {**source.exporter, ERROR_TYPE: kind}


def _queue_size(source: _Source) -> Iterator[_Observed]:
    yield source.health().waiting, source.processor


def _queue_capacity(source: _Source) -> Iterator[_Observed]:
    yield source.max_queue_size, source.processor


def _inflight(source: _Source) -> Iterator[_Observed]:
    yield source.health().on_disk, source.exporter


_INSTRUMENTS: Final = (
    (PROCESSED, _processed, True, "Spans for which the processing has finished."),
    (QUEUE_SIZE, _queue_size, False, "Spans held in memory."),
    (QUEUE_CAPACITY, _queue_capacity, False, "Spans that memory can hold."),
    (EXPORTED, _exported, True, "Spans for which the export has finished."),
    (INFLIGHT, _inflight, False, "Spans on disk that no collector has acknowledged."),
)
_METRICS: Final = SdkMetrics()


def _begin_anew_in_child() -> None:
    _METRICS.forget_highest()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
