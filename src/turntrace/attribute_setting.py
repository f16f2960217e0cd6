"""The settings of the guard: attributes of the app's own with their shapes, and denied hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from turntrace.errors import ConfigurationError
from turntrace.setting_kinds import Kind, UnusableError, patterns
from turntrace.shapes import DECLARABLE, declared

_KEY: Final = re.compile(r"[A-Za-z](?:[\w.:/-]{0,63}|[\w.:/-]{0,61}\.\*)", re.ASCII)
_MAX_KEYS: Final = 1_000
_HOST: Final = re.compile(
    r"\*|(?:\*\.)?[\w-]{1,63}(?:\.[\w-]{1,63}){0,126}\.?(?::\d{1,5})?", re.ASCII
)
_ADDRESS: Final = re.compile(r"\[(?P<bare>[^\]]*)\](?::\d{1,5})?")
_MAX_HOST: Final = 253


def attributes() -> Kind:
    """Read ``key:shape`` pairs; a shape is a name, or words with ``|`` between them."""

    def parse(text: str) -> dict[str, object]:
        found: dict[str, object] = {}
        for part in text.split(","):
            if part.strip():
                key, separator, shape = part.strip().rpartition(":")
                if not separator:
                    raise UnusableError("is not a list like plan.tier:id,app.*:id")
                words = [word.strip() for word in shape.split("|")]
                if len(words) > 1 and not all(words):
                    raise UnusableError("holds a word that is empty")
                found[key.strip()] = words[0] if len(words) == 1 else tuple(words)
        return _checked(found)

    def accept(value: object) -> dict[str, object]:
        if isinstance(value, Mapping):
            return _checked(dict(value))
        if isinstance(value, str):
            return parse(value)
        raise UnusableError("is no mapping of keys to shapes")

    return Kind(
        takes="a mapping of keys to shapes",
        reads="`key:shape`, separated by commas; a shape is one of "
        + ", ".join(f"`{name}`" for name in DECLARABLE)
        + ", or words like `free|pro`",
        parse=parse,
        accept=accept,
    )


def _checked(found: dict[Any, object]) -> dict[str, object]:
    if len(found) > _MAX_KEYS:
        raise UnusableError(f"holds more than {_MAX_KEYS} keys; one like app.* covers many")
    for key, shape in found.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise UnusableError("holds a key that is not like plan.tier or app.*")
        try:
            declared(shape)
        except ConfigurationError as error:
            raise UnusableError(f"asks for a shape that cannot be used: {error}") from None
    return found


def _is_host(name: str) -> bool:
    if _HOST.fullmatch(name):
        return True
    in_brackets = _ADDRESS.fullmatch(name)
    try:
        return bool(ip_address(in_brackets["bare"] if in_brackets else name))
    except ValueError:
        return False


def hosts() -> Kind:
    """Read a list of hosts, ``*.example.com`` for every host below one."""
    names = patterns()

    def checked(found: tuple[str, ...]) -> tuple[str, ...]:
        if not all(len(name) <= _MAX_HOST and _is_host(name) for name in found):
            raise UnusableError("holds a host that is not like api.example.com or *.example.com")
        return found

    return Kind(
        takes=names.takes,
        reads="host names, `*.example.com` for every host below one, separated by commas",
        parse=lambda text: checked(names.parse(text)),
        accept=lambda value: checked(names.accept(value)),
        show=names.show,
    )
