"""Variables that set nothing here, although a user of OpenTelemetry may set them, and why.

Reads no environment itself: `turntrace.settings` hands it the texts.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import environment_variables

if TYPE_CHECKING:
    from collections.abc import Callable


class NoSetting(NamedTuple):
    """A variable that changes nothing, which is said if somebody sets it."""

    find_fault: Callable[[str], str]
    """Return what is wrong with a text, or nothing."""

    instead: str
    """What is used instead."""

    reason: str
    """Why it sets nothing."""


def _fault_of_propagators(names: str) -> str:
    """Ask as OpenTelemetry's API does, which reads this variable itself when it is imported."""
    for name in map(str.strip, names.split(",")):
        if name.lower() == "none":
            return ""
        try:
            next(iter(entry_points(group="opentelemetry_propagator", name=name))).load()()
        except Exception:  # noqa: BLE001 - other people's code, from other people's packages
            return "names a propagator that is not installed or cannot be loaded"
    return ""


def _unless(only: str = "") -> Callable[[str], str]:
    return lambda text: "" if text == only else "is not supported yet"


_LIMIT: Final = NoSetting(_unless("128"), "128", "the limit is fixed")
_LENGTH: Final = NoSetting(
    _unless(), "the guard's own limits", "the guard cuts texts at 2048 characters"
)

NO_SETTINGS: Final[dict[str, NoSetting]] = {
    "OTEL_PROPAGATORS": NoSetting(
        _fault_of_propagators,
        "tracecontext,baggage",
        "OpenTelemetry's API reads it; said only if a name in it cannot be loaded, which also"
        " stops every library that imports that API before turntrace",
    ),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _LIMIT,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LENGTH,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LENGTH,
}
"""By variable; a value at fault is one warning."""

IGNORED: Final[dict[str, str]] = {
    "OTEL_METRICS_EXPORTER": "of metrics, which turntrace does not export",
    "OTEL_METRIC_*": "of metrics",
    "OTEL_METRICS_*": "of metrics",
    "OTEL_EXPORTER_OTLP_METRICS_*": "of metrics",
    "OTEL_EXPORTER_PROMETHEUS_*": "of metrics",
    "OTEL_LOGS_EXPORTER": "of logs, which stay the app's own: only their ids are turntrace's",
    "OTEL_BLRP_*": "of logs",
    "OTEL_LOGRECORD_*": "of logs",
    "OTEL_EXPORTER_OTLP_LOGS_*": "of logs",
    "OTEL_EXPORTER_OTLP_INSECURE": "of gRPC; over HTTP the URL says whether it is `https`",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE": "of gRPC",
    "OTEL_EXPORTER_ZIPKIN_*": "of an exporter that turntrace does not have; OTLP is sent",
    "OTEL_EXPORTER_JAEGER_*": "of an exporter that turntrace does not have; Jaeger takes OTLP",
    "OTEL_CONFIG_FILE": "there is no configuration by file",
    "OTEL_EXPERIMENTAL_CONFIG_FILE": "there is no configuration by file",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": (
        "nothing is detected; `OTEL_RESOURCE_ATTRIBUTES` says what is known"
    ),
    "OTEL_SEMCONV_STABILITY_OPT_IN": "`TURNTRACE_VOCABULARY` chooses the names",
    "OTEL_INSTRUMENTATION_*": "of OpenTelemetry's own instrumentations",
    "OTEL_PYTHON_*": "of OpenTelemetry's API and SDK for Python",
}
"""By variable or family of them; nothing is said, because others may read them."""


def import_propagators() -> None:
    """Import OpenTelemetry's propagators, with the standard ones if the environment's do not load.

    The import raises for an unknown name in OTEL_PROPAGATORS, and would stop the app. A variable
    that nobody sets stands in for it, as the environment is not ours to change.
    """
    try:
        importlib.import_module("opentelemetry.propagate")
    except Exception:  # noqa: BLE001 - as above; `load` warns
        name = environment_variables.OTEL_PROPAGATORS
        environment_variables.OTEL_PROPAGATORS = "TURNTRACE_NO_PROPAGATORS"
        try:
            importlib.import_module("opentelemetry.propagate")
        finally:
            environment_variables.OTEL_PROPAGATORS = name
