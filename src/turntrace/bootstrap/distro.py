"""The distribution that `opentelemetry-instrument` starts when turntrace is chosen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined] # untyped

from turntrace.bootstrap.entry_points import is_chosen
from turntrace.bootstrap.start import configured

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger("turntrace")

OWN_MODULES: Final = "turntrace."
COVERED: Final = frozenset(
    {"aiohttp-client", "asgi", "fastapi", "httpx", "langchain", "sqlalchemy", "starlette"}
)
"""Instrumentors of others for what turntrace traces itself: each call would be two spans."""


class Distro(BaseDistro):  # type: ignore[misc] # as above
    """Configures turntrace and leaves out the instrumentors of others that would double it."""

    def _configure(self, **_options: Any) -> None:
        configured()

    def load_instrumentor(self, entry_point: EntryPoint, **options: Any) -> None:
        """Load one instrumentor, unless turntrace has its own for the library."""
        if entry_point.name in COVERED and not entry_point.value.startswith(OWN_MODULES):
            logger.debug("turntrace: left out %s, turntrace traces it", entry_point.value)
            return
        super().load_instrumentor(entry_point, **options)


def distro() -> Distro | None:
    """Return the distribution if it is chosen; else None, which the loader passes over."""
    return Distro() if is_chosen() else None
