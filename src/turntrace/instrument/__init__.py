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
_claims: dict[str, object] = {}
"""By name: a token of the thread that put the hooks on, or is about to."""
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
            _put_on(name, _imported(row.module))
        except Exception as error:
            if names:
                raise
            swallowed(f"turntrace.instrument({name!r})", error)
    return tuple(_on)


def _imported(module: str) -> Instrumentation:
    try:
        found = import_module(module)
    except RuntimeError:
        # Two threads that import each other's modules: Python refuses the one of them, once.
        found = import_module(module)
    hooks: Instrumentation = found.INSTRUMENTATION
    return hooks


def _put_on(name: str, hooks: Instrumentation) -> None:
    """Put the hooks on, unless another thread is at it; no lock, as that one may be importing."""
    claim = object()
    if _claims.setdefault(name, claim) is not claim:  # atomic
        return
    try:
        hooks.instrument()
        _on[name] = hooks
    finally:
        if name not in _on:
            del _claims[name]
    if _is_switched_off:  # by another thread, meanwhile
        uninstrument()


def uninstrument() -> None:
    """Switch every instrumentation off again."""
    for name in reversed(tuple(_on)):
        hooks = _on.pop(name, None)
        if hooks is not None:
            hooks.uninstrument()
            _claims.pop(name, None)
