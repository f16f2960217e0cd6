"""Where a name comes from: a constant of the calling code, or something put together.

What a user typed is never a constant of a program, so a name that is one may leave in a trace.
"""

from __future__ import annotations

import re
import sys
from enum import Enum
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from turntrace.literals import is_declared, is_interactive, is_loaded_from, text_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType, FrameType

MAX_SITES: Final = 4_000
"""Pieces of code whose constants are remembered; of more, those from then on."""
MAX_NAMED: Final = 1_000
"""Constants of modules that are remembered for one piece of code; of more, those from then on."""
MAX_COLLECTION: Final = 64
"""Items of a module's tuple, list, set or dictionary among which a key is looked for."""
NOT_A_KEY: Final = "<not a key>"
"""Stands for a key that is no text, and is withheld as any that nobody knows."""

_FILE: Final = re.compile(r"[\w-]{1,64}\.py", re.ASCII)
_LOOKS_LIKE_ONE: Final = re.compile(r"[A-Za-z][\w .:/-]{0,63}", re.ASCII)
_MAX_LENGTH: Final = 64
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
_COLLECTIONS: Final = frozenset({tuple, list, dict, set, frozenset})
_LIBRARIES: Final = ("/site-packages/", "/dist-packages/", "/lib/python")


class Origin(NamedTuple):
    """What is known of a key or a name by where it was given."""

    is_constant: bool
    """It stands in the caller's code."""
    place: str
    """File and line of the caller, for the developer; the file without its folders."""
    is_app: bool
    """The caller is no installed library."""
    member: str | None = None
    """The text of the value given with it, if that is a declared member of an enum."""


class Given(NamedTuple):
    """What is known of a span's name and attributes by where they were given."""

    is_named_by_constant: bool
    name_origin: Origin | None
    """Where the name was given, if it is no constant there."""
    origins: dict[str, Origin] | None
    """Of the attributes that nobody registered, by key."""


class _Site(NamedTuple):
    """What is known of a piece of code."""

    code: CodeType
    """Held, so that neither its id nor those of its constants are used again."""
    is_loaded: bool
    """Whether it comes from a file, as an app's own code does; of other code nothing counts."""
    constants: frozenset[int]
    """Ids of its constants that look like names."""
    named: dict[str, tuple[str, bool]]
    """Texts that a name in it held, each itself: whether they stand in a module."""


_sites: dict[int, _Site] = {}
"""By the id of the code."""
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
            return (
                type(text) is str
                and _LOOKS_LIKE_ONE.fullmatch(text) is not None
                and isinstance(module, str)
                and text in texts_of(module)
            )
        frame = frame.f_back
    return False


def is_constant(text: Any, frame: FrameType) -> bool:
    """Tell whether ``text`` looks like a name and is a constant in the code of ``frame``.

    That very object: text which merely equals a constant may be what a user typed. But if it is
    dotted as keys are, it may as well stand anywhere in that module's code, or in a module whose
    name for it the code uses (see ADR 6). Code counts only if it was loaded from a file.
    """
    kind = type(text)
    if kind is not str:
        return issubclass(kind, str) and issubclass(kind, Enum) and is_declared(text)
    site = _sites.get(id(frame.f_code)) or _look_at(frame)
    if id(text) in site.constants:
        return True
    if not site.is_loaded or not _LOOKS_LIKE_A_KEY.fullmatch(text):
        return False
    return text in texts_of(str(frame.f_globals.get("__name__"))) or _is_named(text, site, frame)


def _is_named(text: str, site: _Site, frame: FrameType) -> bool:
    """Tell whether a name in the code holds a constant of another module; looked up once."""
    known = site.named.get(text)
    if known is not None and known[0] is text:
        return known[1]
    found = _is_module_constant(text, frame)
    if found is None:
        return False
    if len(site.named) >= MAX_NAMED:
        site.named.clear()
    site.named[text] = (text, found)
    return found


def _look_at(frame: FrameType) -> _Site:
    """Return what is known of the code of a frame that was not seen before."""
    code = frame.f_code
    space = frame.f_globals
    is_loaded = is_loaded_from(code.co_filename, space) or is_interactive(space)
    constants = frozenset(_names_in(code.co_consts) if is_loaded else ())
    if len(_sites) >= MAX_SITES:
        _sites.clear()
    site = _sites[id(code)] = _Site(code, is_loaded, constants, {})
    return site


def _names_in(constants: Iterable[object]) -> Iterator[int]:
    """Yield the ids of constants that look like names."""
    for constant in constants:
        if type(constant) is str:
            if len(constant) <= _MAX_LENGTH and _LOOKS_LIKE_ONE.fullmatch(constant):
                yield id(constant)
        elif type(constant) in _SEQUENCES:
            yield from _names_in(constant)  # type: ignore[arg-type] # one of these


def origin(key: Any, value: object, frame: FrameType) -> Origin:
    """Return what is known of ``key``, given with ``value`` by the code of ``frame``."""
    found = unknown(frame)
    if not is_constant(key, frame):
        return found
    is_member = issubclass(type(value), Enum) and is_declared(value)  # type: ignore[arg-type]
    member = text_of(value) if is_member else None  # type: ignore[arg-type] # an enum's
    return Origin(True, found.place, found.is_app, member)


def plain_key(key: object) -> str:
    """Return an attribute key, or the name of an event, as a text of no type of its own.

    A type of its own may claim to equal a text that it does not say. What is no text at all is
    ``NOT_A_KEY``.
    """
    if type(key) is str:
        return key
    return str.__str__(key) if issubclass(type(key), str) else NOT_A_KEY


def origins(
    attributes: Mapping[str, object], known: set[str], frame: FrameType | None = None
) -> dict[str, Origin] | None:
    """Return the origins of those attributes that are not ``known``; None if all are."""
    if known.issuperset(attributes):
        return None
    frame = frame or caller()
    return {
        plain_key(key): origin(key, value, frame)
        for key, value in attributes.items()
        if key not in known
    }


NOTHING_UNKNOWN: Final = Given(is_named_by_constant=True, name_origin=None, origins=None)
"""A constant name, and no attribute that nobody registered."""


def given(
    name: object, attributes: Mapping[str, object] | None, known: set[str], *, depth: int = 2
) -> Given:
    """Return what is known of a name and attributes that are given to a span.

    ``depth`` is how many frames up the first one is that may have given them.
    """
    frame = sys._getframe(depth)  # noqa: SLF001 - inspect.stack() reads source files
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
        has_file = is_loaded_from(code.co_filename, frame.f_globals) and _FILE.fullmatch(name)
        shown = name if has_file else "(code without a file)"
        found = (code, Origin(False, f"{shown}:{frame.f_lineno}", is_app))
        if len(_places) >= MAX_SITES:
            _places.clear()
        _places[at] = found
    return found[1]


def _is_module_constant(text: str, frame: FrameType) -> bool | None:
    """Tell whether the code refers, by a name, to an object that is a constant of its module.

    The name may hold it in a small collection, too. None if no name holds it at all.
    """
    names = frame.f_code.co_names
    space = frame.f_globals
    found: bool | None = None
    for name in names:
        value = space.get(name)
        if _is_held(value, text):
            owners: Iterable[str] = _owners(name, value)
        elif isinstance(value, (type, ModuleType)) and any(
            _is_held(vars(value).get(attribute), text) for attribute in names
        ):
            owners = (value.__module__ if isinstance(value, type) else value.__name__,)
        else:
            continue
        found = False
        if any(text in texts_of(owner) for owner in owners):
            return True
    return found


def _is_held(value: object, text: str) -> bool:
    return value is text or _is_in(value, text)


def _is_in(value: Any, text: str) -> bool:
    if type(value) not in _COLLECTIONS or len(value) > MAX_COLLECTION:
        return False
    return any(item is text for item in tuple(value))


def _owners(name: str, value: object) -> Iterator[str]:
    """Yield the modules that may have made a global."""
    for module_name, module in tuple(sys.modules.items()):
        if getattr(module, "__dict__", {}).get(name) is value:
            yield module_name
