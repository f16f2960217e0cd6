"""Says so when the app sets a tracer provider where turntrace's was installed before it."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry import trace

from turntrace.failsafe import Guarded
from turntrace.instrument.patch import Patches
from turntrace.record import TracerProvider

logger = logging.getLogger("turntrace")

_patches = Patches()
_hooked: list[None] = []
_has_been_said = False


def say_if_another_provider_is_set() -> None:
    """Hook ``opentelemetry.trace.set_tracer_provider``; asking twice changes nothing.

    OpenTelemetry takes the first provider of a process and refuses every later one without a word
    on who was first: the app's own exporter would get nothing, and nobody would know why.
    """
    if not _hooked:
        _hooked.append(None)
        _patches.wrap(trace, "set_tracer_provider", _set)


def _set(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    result = wrapped(*args, **kwargs)
    with Guarded("the check of the app's tracer provider"):
        _check(*args, **kwargs)
    return result


def _check(tracer_provider: object) -> None:
    global _has_been_said  # noqa: PLW0603 - said once per process
    installed = trace.get_tracer_provider()
    if _has_been_said or tracer_provider is installed or not isinstance(installed, TracerProvider):
        return
    _has_been_said = True
    logger.warning(
        "turntrace: the app sets a tracer provider of its own (%s), which gets no spans: turntrace"
        " was started before it, and OpenTelemetry takes only one provider. Start the app without"
        " `turntrace run`, or leave that provider out.",
        type(tracer_provider).__qualname__,
    )
