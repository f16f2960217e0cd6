"""The app's own attribute keys: which there are, and what their values look like."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING

from turntrace.attributes import KEYS, holds_content
from turntrace.errors import ConfigurationError
from turntrace.shapes import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turntrace.shapes import Shape

MAX_REGISTERED = 1_000
"""Keys and families that an app may register."""

KNOWN: set[str] = set(KEYS)
"""Keys of ours and of the app: who sets one of these is not asked where it comes from."""

_KEY = re.compile(r"[A-Za-z][\w.:/-]{0,63}", re.ASCII)
_FAMILY = re.compile(r"[A-Za-z][\w.:/-]{0,61}\.\*", re.ASCII)

_exact: dict[str, Shape] = {}
_families: dict[str, Shape] = {}
_listeners: list[weakref.WeakMethod[Callable[[], None]]] = []


def register_attributes(attributes: Mapping[str, object]) -> None:
    """Let attributes of the app's own leave, each in the shape of its values.

    May be called at any time, before or after ``configure``; the last word on a key counts. For
    numbers, booleans and enum members under a key that stands in the code no call is needed: they
    leave as they are. ``app.*`` covers all keys below ``app`` that stand in the code.

    Args:
        attributes: By key: ``"id"``, ``"word"``, ``"number"``, ``"count"``, ``"flag"``,
            ``"type"``, ``"route"``, ``"host"``, ``"model"`` or ``"version"`` (see
            ``docs/guide/privacy.md``); an ``Enum`` class; or a list of the words that may leave.

    Raises:
        ConfigurationError: A key or a shape cannot be used; nothing is registered then.

    Example:
        >>> register_attributes({"plan.tier": ["free", "pro"], "plan.id": "id"})
    """
    exact: dict[str, Shape] = {}
    families: dict[str, Shape] = {}
    for key, asked in attributes.items():
        name, shape = entry(key, asked)
        (families if name.endswith(".*") else exact)[name] = shape
    if len({*_exact, *exact}) + len({*_families, *families}) > MAX_REGISTERED:
        raise ConfigurationError(
            f"an app may register {MAX_REGISTERED} attributes; register a family like 'app.*'"
        )
    _exact.update(exact)
    _families.update({family[:-1]: shape for family, shape in families.items()})
    KNOWN.update(exact)
    for reference in tuple(_listeners):
        changed = reference()
        if changed is not None:
            changed()


def entry(key: object, asked: object) -> tuple[str, Shape]:
    """Check one registration; see ``register_attributes``."""
    if not isinstance(key, str) or not (_KEY.fullmatch(key) or _FAMILY.fullmatch(key)):
        raise ConfigurationError(
            "an attribute key must be up to 64 letters, digits and `_ . : / -`, like 'plan.tier',"
            " or a family like 'plan.*'"
        )
    if key in KEYS:
        raise ConfigurationError(f"{key} is a key of turntrace's own; its shape is fixed")
    if holds_content(key):
        raise ConfigurationError(f"{key} holds content by its definition: use a key of your own")
    try:
        return str.__str__(key), declared(asked)
    except ConfigurationError as error:
        raise ConfigurationError(f"{key}: {error}") from None


def registered(key: str) -> Shape | None:
    """Return the shape of a key that was registered by itself."""
    return _exact.get(key)


def family(key: str) -> Shape | None:
    """Return the shape of the longest family that covers ``key``."""
    covering = [prefix for prefix in _families if key.startswith(prefix)]
    if not covering or holds_content(key):
        return None
    return _families[max(covering, key=len)]


def on_change(method: Callable[[], None]) -> None:
    """Call a bound method, held weakly, after each registration."""
    _listeners[:] = [one for one in _listeners if one() is not None]
    _listeners.append(weakref.WeakMethod(method))
