"""Tells a name that stands in somebody's code from one that was put together while it ran.

What a user typed is never a constant of a program: a name that is one may leave in a trace.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType


def is_literal(text: str, frame: FrameType | None, *, frames: int = 1) -> bool:
    """Tell whether the code of ``frame``, or of its callers, holds ``text`` as a constant.

    A constant is a literal, a member of an enum, or the value of an upper-case variable of the
    module or of an attribute of one of its classes that the code names.

    Args:
        text: What is asked about.
        frame: Where to begin; frames of awaiting coroutines are its callers too.
        frames: How many frames to look at.
    """
    if isinstance(text, enum.Enum):
        return True
    while frame is not None and frames > 0:
        if _holds(frame.f_code, frame.f_globals, text):
            return True
        frame = frame.f_back
        frames -= 1
    return False


def _holds(code: CodeType, variables: dict[str, Any], text: str) -> bool:
    for constant in code.co_consts:
        kind = constant.__class__
        if kind is str:
            if constant == text:
                return True
        elif kind in (tuple, frozenset) and text in constant:
            return True
    for name in code.co_names:
        value = variables.get(name)
        if name.isupper() and value.__class__ is str and value == text:
            return True
        if isinstance(value, type) and any(
            vars(value).get(attribute) == text for attribute in code.co_names
        ):
            return True
    return False
