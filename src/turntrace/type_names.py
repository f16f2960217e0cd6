"""How a type is named: a name as it stands in code, never text that somebody made a type of."""

from __future__ import annotations

import builtins
import re
from typing import Any, Final

WITHHELD: Final = "<withheld>"
"""Stands for a name that may be made from text."""

_NAME: Final = r"[A-Za-z_]\w{0,127}"
MODULE: Final = rf"{_NAME}(?:\.{_NAME}){{0,15}}"
QUALNAME: Final = rf"{_NAME}(?:\.(?:{_NAME}|<locals>)){{0,7}}"
_is_module = re.compile(MODULE, re.ASCII).fullmatch
_is_qualname = re.compile(QUALNAME, re.ASCII).fullmatch

# What the interpreter keeps of a class, whatever its attributes say.
_slots: dict[str, Any] = dict(vars(type))
_module_of = _slots["__module__"].__get__
_qualname_of = _slots["__qualname__"].__get__


def safe_type(kind: type) -> str:
    """Return ``module.Type`` of a class, without the module for builtins.

    A class can be made at run time with any text for a name: what does not look like a name is
    ``<withheld>``. No code of the class runs.
    """
    module, name = _module_of(kind), _qualname_of(kind)
    if type(module) is not str or type(name) is not str:
        return WITHHELD
    if not _is_qualname(name):
        return WITHHELD
    if module in {"builtins", "exceptions"}:
        return name if getattr(builtins, name, None) is kind else WITHHELD
    return f"{module}.{name}" if _is_module(module) else WITHHELD


def qualified_type(error: BaseException | type[BaseException]) -> str:
    """Return the name of an exception's type, or of that type, as ``safe_type`` does."""
    kind = type(error)
    return safe_type(error if issubclass(kind, type) else kind)  # type: ignore[arg-type] # a type


def is_builtin(kind: type) -> bool:
    """Tell whether a class is one that Python itself has."""
    return getattr(builtins, str(_qualname_of(kind)), None) is kind
