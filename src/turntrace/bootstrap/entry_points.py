"""What OpenTelemetry's own start-up finds of turntrace: provider, configurator, instrumentors.

All of them keep still where somebody else's telemetry was chosen. Reads the three variables that
choose, which are settings of OpenTelemetry's loader and not of turntrace.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import trace as trace_api

from turntrace import pipeline
from turntrace.bootstrap.start import configured
from turntrace.bootstrap.startup import sitecustomize
from turntrace.record import TracerProvider

NAME: Final = "turntrace"
CONFIGURATORS: Final = "opentelemetry_configurator"

_CHOICES: Final = (
    "OTEL_PYTHON_DISTRO",
    "OTEL_PYTHON_CONFIGURATOR",
    "OTEL_PYTHON_TRACER_PROVIDER",
)


def is_chosen() -> bool:
    """Return whether the operator named turntrace, or named nobody and nobody else is there."""
    named = [os.environ[variable] for variable in _CHOICES if os.environ.get(variable)]
    if named:
        return NAME in named
    groups = ("opentelemetry_distro", CONFIGURATORS)
    return all(found.name == NAME for group in groups for found in entry_points(group=group))


def tracer_provider() -> trace_api.TracerProvider:
    """Return the provider that ``OTEL_PYTHON_TRACER_PROVIDER=turntrace`` asks for."""
    running = pipeline.running() if configured() else None
    provider = None if running is None else running.provider
    return trace_api.NoOpTracerProvider() if provider is None else provider


class Configurator:
    """Configures turntrace if it is chosen, else lets the next configurator do its work.

    The loader takes the first one that it finds if none is named, and that may be this one.
    """

    def configure(self, **options: Any) -> None:
        """Configure; ``options`` are the loader's and go to the other configurator only."""
        if is_chosen():
            configured()
            return
        for found in entry_points(group=CONFIGURATORS):
            if found.name != NAME:
                found.load()().configure(**options)
                return


class _Instrumentor:
    """One instrumentation, as the loader wants it: something to call, then to ``instrument``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> _Instrumentor:
        return self

    def instrument(self, **_options: Any) -> None:
        """Put hooks on when the library is imported, if the spans would be turntrace's own."""
        if isinstance(trace_api.get_tracer_provider(), TracerProvider):
            sitecustomize.wait_for([self._name])


asgi = _Instrumentor("asgi")
socketio = _Instrumentor("socketio")
langgraph = _Instrumentor("langgraph")
sqlalchemy = _Instrumentor("sqlalchemy")
httpx = _Instrumentor("httpx")
aiohttp = _Instrumentor("aiohttp")
