"""Names that may stand in a span: what the app registered or wrote, never a client's."""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatchcase
from typing import Any

from turntrace.literals import is_literal
from turntrace.socket_spans import OTHER

RESERVED = frozenset({"connect", "disconnect"})

_PLAIN = re.compile(r"[A-Za-z][\w:./-]{0,63}", re.ASCII)
_MAX_NAMES = 1000
_FRAMES = 8
"""Callers that are looked at: an app's own helpers around ``emit`` are few."""


def handled_name(server: Any, namespace: str, event: object) -> str | None:
    """Return the name of a received event as its handler was registered.

    ``*`` if only a catch-all takes it, None if nobody does.
    """
    if not isinstance(event, str):
        return None
    catch_all = False
    for place in (namespace, OTHER):
        handlers = server.handlers.get(place) or {}
        if event in handlers and event not in RESERVED:
            return event
        catch_all = catch_all or OTHER in handlers
        if event in RESERVED and event in handlers:
            catch_all = True
    for place in (namespace, OTHER):
        handler = server.namespace_handlers.get(place)
        if handler is None:
            continue
        method = f"on_{event}"
        if event not in RESERVED and (
            callable(getattr(type(handler), method, None)) or method in vars(handler)
        ):
            return event
        # A method that __getattr__ makes up proves nothing about the event's name.
        if _has_own_trigger(handler) or hasattr(handler, method):
            catch_all = True
    return OTHER if catch_all else None


def _has_own_trigger(handler: Any) -> bool:
    return not type(handler).trigger_event.__module__.startswith("socketio.")


def namespace_name(server: Any, namespace: str) -> str:
    """Return ``namespace`` if the app registered it, ``*`` otherwise."""
    if namespace in server.handlers or namespace in server.namespace_handlers:
        return namespace
    allowed = getattr(server, "namespaces", None)
    if allowed and allowed != OTHER and namespace in allowed:
        return namespace
    return namespace if namespace == "/" else OTHER


class EmittedNames:
    """Judges the names of emitted events; remembers at most 1,000 of them."""

    def __init__(self, token_patterns: tuple[str, ...]) -> None:
        self._patterns = token_patterns
        self._known: dict[str, tuple[str, bool]] = {}

    def judge(self, event: object) -> tuple[str, bool]:
        """Return the name for a span and whether the event carries a token.

        ``*`` stands for a name that no caller's code holds as a constant: an app may emit under a
        name that a client made up. Call it from a wrapper of ``emit``: it looks at its caller's
        callers.
        """
        if not isinstance(event, str):
            return OTHER, False
        known = self._known.get(event)
        if known is not None:
            return known
        is_token = any(fnmatchcase(event, pattern) for pattern in self._patterns)
        if is_token:
            known = (OTHER, True)  # counted, never named
        else:
            frame = sys._getframe(2)  # noqa: SLF001 - inspect.stack() reads source files
            if _PLAIN.fullmatch(event) is None or not is_literal(event, frame, frames=_FRAMES):
                return OTHER, False
            known = (event, False)
        if len(self._known) < _MAX_NAMES:
            self._known[str.__str__(event)] = known
        return known
