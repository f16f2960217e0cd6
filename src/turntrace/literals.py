"""Tells a name that stands in somebody's code from one that was put together while it ran.

What a user typed is never a constant of a program: a name that is one may leave in a trace.
"""

from __future__ import annotations

import enum
import os
import re
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from types import FrameType

_DOCTEST: Final = re.compile(r"<doctest [\w.]{1,256}\[\d{1,6}\]>", re.ASCII)

MAX_MODULES: Final = 500
"""Modules whose texts are remembered; of more, those from then on."""
MAX_MEMBERS: Final = 1_000
"""Members of enums whose judgement is remembered; of more, those from then on."""
_MAX_TEXT: Final = 256
"""Characters of a text that is remembered."""


class _ModuleCode(NamedTuple):
    """What stands in the code of a module."""

    texts: frozenset[str]
    members: frozenset[tuple[str, str]]
    """Names of classes outside of functions, each with a name that its body uses."""


_NO_CODE: Final = _ModuleCode(frozenset(), frozenset())
_modules: dict[str, _ModuleCode] = {}
_members: dict[int, tuple[enum.Enum, bool]] = {}
"""By the id of a member that is held, so not reused: whether code declares it."""


def is_literal(text: str, frame: FrameType | None, *, frames: int = 1) -> bool:
    """Tell whether ``text`` is a literal in the code of ``frame`` or of its callers.

    A declared member of an enum is one too. Of code that comes from no file nothing counts, for it
    may have been compiled from a text. Variables are not, not even upper-case ones: what
    they hold may have been assigned while the program ran. Never raises.

    Args:
        text: What is asked about.
        frame: Where to begin; frames of awaiting coroutines are its callers too.
        frames: How many frames to look at.
    """
    if issubclass(type(text), enum.Enum):
        return is_declared(text)  # type: ignore[arg-type] # it is one
    if type(text) is not str:
        return False  # a type of its own may compare as it likes
    while frame is not None and frames > 0:
        code, space = frame.f_code, frame.f_globals
        if _holds(code, text) and (
            is_loaded_from(code.co_filename, space) or is_interactive(space)
        ):
            return True
        frame = frame.f_back
        frames -= 1
    return False


def _holds(code: CodeType, text: str) -> bool:
    for constant in code.co_consts:
        kind = constant.__class__
        if kind is str:
            if constant == text:
                return True
        elif kind in (tuple, frozenset) and text in constant:
            return True
    return False


def is_declared(member: enum.Enum) -> bool:
    """Tell whether code declares a member of an enum, with the text it has.

    An enum can be made at run time of any texts, and be given members later. So a member counts
    if its module holds the class, and has the body of such a class in its code, outside of
    functions, which names the member; or if the text stands in the module's code. One without a
    text counts as well. Combined flags are no members.
    """
    found = _members.get(id(member))
    if found is None:
        found = (member, _is_in_code(member))
        if len(_members) >= MAX_MEMBERS:
            _members.clear()
        _members[id(member)] = found
    return found[1]


def text_of(member: enum.Enum) -> str | None:
    """Return the text that stands for a member: its own, or its value's; None if neither is one."""
    text = member if isinstance(member, str) else member._value_
    return str.__str__(text) if issubclass(type(text), str) else None


def _is_in_code(member: enum.Enum) -> bool:
    kind = type(member)
    if kind._member_map_.get(member._name_) is not member:
        return False
    text = text_of(member)
    if text is None:
        return True
    name, qualname = kind.__module__, kind.__qualname__
    space = getattr(sys.modules.get(name), "__dict__", {})
    if is_interactive(space):
        return True
    code = _code_of(name)
    if text in code.texts:
        return True
    return (qualname, member._name_) in code.members and _held(space, qualname) is kind


def _held(space: Any, qualname: str) -> object:
    """Return what a module holds under the name of a class."""
    found: object = None
    for name in qualname.split("."):
        found = space.get(name)
        space = vars(found) if isinstance(found, type) else {}
    return found


def is_interactive(space: dict[str, Any]) -> bool:
    """Tell whether these are the globals of a prompt, a notebook or ``python -c``."""
    main = sys.modules.get("__main__")
    return space is getattr(main, "__dict__", None) and "__file__" not in space


def is_loaded_from(filename: object, space: dict[str, Any]) -> bool:
    """Tell whether a code's file is that of its module: ``compile`` takes any text for a name."""
    file = dict.get(space, "__file__")
    if type(file) is not str or type(filename) is not str:
        return False
    if file == filename or ("doctest" in sys.modules and _DOCTEST.fullmatch(filename)):
        return True
    # A frozen app's code knows less of its path, and its file has another ending; one that came
    # without its source was compiled elsewhere.
    stem = _stem(filename)
    if file.endswith(".pyc"):
        stem = "/" + stem.rpartition("/")[2]
    return _stem(file).endswith(stem)


def _stem(path: str) -> str:
    path = path.replace("\\", "/").rstrip("/")
    return "/" + os.path.splitext(path)[0].lstrip("/")  # noqa: PTH122 - Path costs more


def texts_of(module_name: str) -> frozenset[str]:
    """Return the texts of up to 256 characters that stand in a module's code."""
    return _code_of(module_name).texts


def _code_of(module_name: str) -> _ModuleCode:
    found = _modules.get(module_name)
    if found is None:
        found = _read(module_name)
        if len(_modules) >= MAX_MODULES:
            _modules.clear()
        _modules[module_name] = found
    return found


def _read(module_name: str) -> _ModuleCode:
    module = sys.modules.get(module_name)
    loader = getattr(module, "__loader__", None)
    filename = getattr(module, "__file__", None) or ""
    # The name it was started by, as `python -m` is given it.
    name = getattr(getattr(module, "__spec__", None), "name", None) or module_name
    if not hasattr(loader, "get_code") and filename.endswith(".py"):
        loader = SourceFileLoader(name, filename)
    try:
        code = loader.get_code(name) if loader is not None else None
    except Exception:  # noqa: BLE001 - a loader of somebody's own; it has no code for us
        code = None
    return _NO_CODE if code is None else _standing_in(code)


def _standing_in(code: CodeType) -> _ModuleCode:
    texts: set[str] = set()
    members: set[tuple[str, str]] = set()
    waiting: list[object] = [code]
    while waiting:
        constant = waiting.pop()
        if isinstance(constant, CodeType):
            waiting.extend(constant.co_consts)
            # A function has no __qualname__ of its own to store, the body of a class does.
            if "__qualname__" in constant.co_names and "<locals>" not in constant.co_qualname:
                members.update((constant.co_qualname, name) for name in constant.co_names)
        elif isinstance(constant, (tuple, frozenset)):
            waiting.extend(constant)
        elif isinstance(constant, str) and len(constant) <= _MAX_TEXT:
            texts.add(constant)
    return _ModuleCode(frozenset(texts), frozenset(members))
