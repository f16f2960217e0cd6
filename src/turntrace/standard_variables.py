"""Standard variables that set nothing here: what is wrong with a value, and what is used instead.

Reads no environment itself: `turntrace.settings` hands it the texts.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from opentelemetry import environment_variables

if TYPE_CHECKING:
    from collections.abc import Callable


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


NO_SETTINGS: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "OTEL_PROPAGATORS": (_fault_of_propagators, "tracecontext,baggage"),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": (_unless("128"), "128"),
    "OTEL_ATTRIBUTE_COUNT_LIMIT": (_unless("128"), "128"),
    "OTEL_SPAN_EVENT_COUNT_LIMIT": (_unless("128"), "128"),
    "OTEL_SPAN_LINK_COUNT_LIMIT": (_unless("128"), "128"),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": (_unless(), "the guard's own limits"),
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": (_unless(), "the guard's own limits"),
    "TURNTRACE_SPOOL_DIR": (_unless(), "memory only"),
    **{
        f"OTEL_EXPORTER_OTLP_{signal}{name}": (_unless(), instead)
        for signal in ("TRACES_", "")
        for name, instead in (
            ("CERTIFICATE", "the system's certificates"),
            ("CLIENT_KEY", "no client certificate"),
            ("CLIENT_CERTIFICATE", "no client certificate"),
        )
    },
}
"""By variable: a function that returns the fault of a text, or nothing; what is used instead."""


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
