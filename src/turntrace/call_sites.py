"""Where a name comes from: a constant of the calling code, or something put together.

What a user typed is never a constant of a program, so a name that is one may leave in a trace.
"""

from __future__ import annotations

import re
import sys
from enum import Enum
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

MAX_SITES: Final = 10_000
"""Pieces of code whose constants are remembered."""
MAX_CONSTANTS: Final = 1_000
"""Constants of one piece of code that are remembered."""
_MAX_MODULES: Final = 200
"""Modules whose constants are remembered."""

_FILE: Final = re.compile(r"[\w-]{1,64}\.py", re.ASCII)
_LOOKS_LIKE_ONE: Final = re.compile(r"[A-Za-z][\w .:/-]{0,63}", re.ASCII)
_LOOKS_LIKE_A_KEY: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+", re.ASCII)

# Frames between a caller and us: the API's proxy, what makes decorators, and our own.
_BETWEEN: Final = frozenset(
    {
        "opentelemetry.trace",
        "opentelemetry.util._decorator",
        "contextlib",
        "turntrace.call_sites",
        "turntrace.record.provider",
        "turntrace.record.scope",
        "turntrace.record.span",
        "turntrace.record.tracer",
    }
)
_WRAPPERS: Final = frozenset({"inner", "async_wrapper"})
"""What ``contextlib`` and OpenTelemetry call the function they put around a decorated one."""
_SEQUENCES: Final = frozenset({tuple, frozenset})
_LIBRARIES: Final = ("/site-packages/", "/dist-packages/", "/lib/python")


class Origin(NamedTuple):
    """What is known of a key or a name by where it was given."""

    is_constant: bool
    """It stands in the caller's code."""
    is_member: bool
    """The value given with it is a declared member of an enum."""
    place: str
    """File and line of the caller, for the developer; the file without its folders."""
    is_app: bool
    """The caller is no installed library."""


class Given(NamedTuple):
    """What is known of a span's name and attributes by where they were given."""

    is_named_by_constant: bool
    name_origin: Origin | None
    """Where the name was given, if it is no constant there."""
    origins: dict[str, Origin] | None
    """Of the attributes that nobody registered, by key."""


_sites: dict[int, tuple[CodeType, dict[str, str]]] = {}
"""By the id of a code object that is held, so not reused: its constants that were asked about."""
_modules: dict[str, frozenset[str]] = {}


_places: dict[tuple[int, int], tuple[CodeType, Origin]] = {}
"""By the id of a code object that is held, and the instruction: an origin of no constant there."""


def caller() -> FrameType:
    """Return the frame that called into OpenTelemetry's API or ours."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    while frame.f_globals.get("__name__") in _BETWEEN and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _decorates(text: object) -> bool:
    """Tell whether the API's proxy is starting a span for a function it decorates as ``text``.

    The decorator was written in the function's module: it has to stand there.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
        if frame.f_code.co_name in _WRAPPERS:
            module = getattr(frame.f_locals.get("func"), "__module__", None)
            return isinstance(module, str) and text in _constants(module)
        frame = frame.f_back
    return False


def is_constant(text: Any, frame: FrameType) -> bool:
    """Tell whether ``text`` looks like a name and is a constant in the code of ``frame``.

    That very object: text which merely equals a constant may be what a user typed. It stands in
    that code; or, if it is dotted as keys are, in a module whose name for it the code uses (see
    ADR 6). Judged once for each place and text. Never raises.
    """
    if text.__class__ is not str:
        return isinstance(text, Enum) and isinstance(text, str) and _is_member(text)
    code = frame.f_code
    site = _sites.get(id(code))
    if site is not None and site[1].get(text) is text:
        return True
    if not _LOOKS_LIKE_ONE.fullmatch(text):
        return False
    if not _holds(code.co_consts, text) and not (
        _LOOKS_LIKE_A_KEY.fullmatch(text) and _is_module_constant(text, frame)
    ):
        return False
    if site is None and len(_sites) < MAX_SITES:
        site = _sites[id(code)] = (code, {})
    if site is not None and len(site[1]) < MAX_CONSTANTS:
        site[1][text] = text
    return True


def _holds(constants: Iterable[object], text: str) -> bool:
    for constant in constants:
        if constant is text:
            return True
        if constant.__class__ in _SEQUENCES and _holds(constant, text):
            return True
    return False


def origin(key: Any, value: object, frame: FrameType) -> Origin:
    """Return what is known of ``key``, given with ``value`` by the code of ``frame``."""
    found = unknown(frame)
    if not is_constant(key, frame):
        return found
    is_member = isinstance(value, Enum) and _is_member(value)
    return found._replace(is_constant=True, is_member=is_member)


def origins(
    attributes: Mapping[str, object], known: set[str], frame: FrameType | None = None
) -> dict[str, Origin] | None:
    """Return the origins of those attributes that are not ``known``; None if all are."""
    if known.issuperset(attributes):
        return None
    frame = frame or caller()
    return {key: origin(key, value, frame) for key, value in attributes.items() if key not in known}


NOTHING_UNKNOWN: Final = Given(is_named_by_constant=True, name_origin=None, origins=None)
"""A constant name, and no attribute that nobody registered."""


def given(name: object, attributes: Mapping[str, object] | None, known: set[str]) -> Given:
    """Return what is known of a name and attributes that the caller's caller gives to a span."""
    frame = sys._getframe(2)  # noqa: SLF001 - inspect.stack() reads source files
    while frame.f_globals.get("__name__") in _BETWEEN and frame.f_back is not None:
        frame = frame.f_back
    is_named = is_constant(name, frame) or _decorates(name)
    found = None
    if attributes and not known.issuperset(attributes):
        found = origins(attributes, known, frame)
    if is_named and found is None:
        return NOTHING_UNKNOWN
    return Given(is_named, None if is_named else unknown(frame), found)


def unknown(frame: FrameType) -> Origin:
    """Return the origin of a name that is no constant of the code of ``frame``."""
    code = frame.f_code
    at = (id(code), frame.f_lasti)
    found = _places.get(at)
    if found is None:
        filename = code.co_filename.replace("\\", "/")
        is_app = not any(part in filename for part in _LIBRARIES)
        # Whoever compiles code may call its file anything.
        name = filename.rpartition("/")[2]
        shown = name if _FILE.fullmatch(name) else "(code without a file)"
        found = (code, Origin(False, False, f"{shown}:{frame.f_lineno}", is_app))
        if len(_places) < MAX_SITES:
            _places[at] = found
    return found[1]


def _is_member(value: Enum) -> bool:
    """Tell whether an enum declares this value; one of flags may be put together."""
    return type(value).__members__.get(value.name) is value


def _is_module_constant(text: str, frame: FrameType) -> bool:
    """Tell whether the code refers, by a name, to an object that is a constant of a module."""
    names = frame.f_code.co_names
    space = frame.f_globals
    for name in names:
        value = space.get(name)
        if value is text:
            owners: Iterable[str] = _owners(name, text, space)
        elif isinstance(value, (type, ModuleType)) and any(
            vars(value).get(attribute) is text for attribute in names
        ):
            owners = (value.__module__ if isinstance(value, type) else value.__name__,)
        else:
            continue
        if any(text in _constants(owner) for owner in owners):
            return True
    return False


def _owners(name: str, text: str, space: dict[str, Any]) -> Iterator[str]:
    """Yield the modules that may have made a global: its own, and whom it was imported from."""
    yield str(space.get("__name__"))
    for module_name, module in tuple(sys.modules.items()):
        if getattr(module, "__dict__", {}).get(name) is text:
            yield module_name


def _constants(module_name: str) -> frozenset[str]:
    """Return the short texts that stand in a module's code."""
    found = _modules.get(module_name)
    if found is None:
        module = sys.modules.get(module_name)
        loader = getattr(module, "__loader__", None)
        filename = getattr(module, "__file__", None) or ""
        if not hasattr(loader, "get_code") and filename.endswith(".py"):
            loader = SourceFileLoader(module_name, filename)
        try:
            code = loader.get_code(module_name) if loader is not None else None
        except Exception:  # noqa: BLE001 - a loader of somebody's own; it has no code for us
            code = None
        found = frozenset() if code is None else frozenset(_texts(code))
        if len(_modules) < _MAX_MODULES:
            _modules[module_name] = found
    return found


def _texts(code: CodeType) -> Iterator[str]:
    waiting: list[object] = [code]
    while waiting:
        constant = waiting.pop()
        if isinstance(constant, CodeType):
            waiting.extend(constant.co_consts)
        elif isinstance(constant, (tuple, frozenset)):
            waiting.extend(constant)
        elif isinstance(constant, str) and _LOOKS_LIKE_ONE.fullmatch(constant):
            yield constant
