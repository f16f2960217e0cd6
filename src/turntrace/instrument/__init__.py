"""Hooks into other libraries: ``BUILTIN`` lists them, one file each.

Adding one is one file, one row here, one test and one row in the docs.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from turntrace.errors import ConfigurationError, MissingLibraryError
from turntrace.failsafe import swallowed

if TYPE_CHECKING:
    from turntrace.instrument.contract import Instrumentation

logger = logging.getLogger("turntrace")


class Builtin(NamedTuple):
    """One row: where the hooks are and what they need."""

    module: str
    requires: str
    """The module that must be importable."""
    package: str
    """What to install if it is not."""


BUILTIN: dict[str, Builtin] = {
    "asgi": Builtin("turntrace.instrument.asgi", "starlette", "starlette"),
    "socketio": Builtin("turntrace.instrument.socketio", "socketio", "python-socketio"),
    "langgraph": Builtin("turntrace.instrument.langgraph", "langchain_core", "langgraph"),
    "sqlalchemy": Builtin("turntrace.instrument.sqlalchemy", "sqlalchemy", "sqlalchemy"),
    "httpx": Builtin("turntrace.instrument.httpx", "httpx", "httpx"),
    "aiohttp": Builtin("turntrace.instrument.aiohttp", "aiohttp", "aiohttp"),
    "logging": Builtin("turntrace.instrument.log_records", "logging", "the standard library"),
}

_on: dict[str, Instrumentation] = {}
_is_switched_off = False


def switch(*, off: bool) -> None:
    """Make ``instrument()`` do nothing; ``configure`` says so where telemetry is switched off."""
    global _is_switched_off  # noqa: PLW0603 - the hooks are per process, so is this
    _is_switched_off = off


def instrument(*names: str) -> tuple[str, ...]:
    """Switch instrumentations on; without names, every one whose library is installed.

    Returns the names that are on: none where ``configure`` found telemetry switched off. Asking
    twice changes nothing. May be called before or after the libraries are imported and their
    objects made.

    Raises:
        ConfigurationError: A name is unknown.
        MissingLibraryError: A library asked for by name is not installed.

    Example:
        >>> instrument("sqlalchemy")  # doctest: +SKIP
        ('sqlalchemy',)
    """
    unknown = sorted(set(names) - set(BUILTIN))
    if unknown:
        raise ConfigurationError(
            f"turntrace.instrument() knows no {', '.join(unknown)}; it knows {', '.join(BUILTIN)}"
        )
    if _is_switched_off:
        return ()
    for name in names or BUILTIN:
        if name in _on:
            continue
        row = BUILTIN[name]
        if find_spec(row.requires) is None:
            if names:
                raise MissingLibraryError(
                    f"turntrace.instrument({name!r}) needs {row.package}, which is not installed;"
                    f" run: pip install {row.package}"
                )
            continue
        try:
            hooks: Instrumentation = import_module(row.module).INSTRUMENTATION
            hooks.instrument()
        except Exception as error:
            if names:
                raise
            swallowed(f"turntrace.instrument({name!r})", error)
            continue
        _on[name] = hooks
    return tuple(_on)


def uninstrument() -> None:
    """Switch every instrumentation off again."""
    while _on:
        _, hooks = _on.popitem()
        hooks.uninstrument()
