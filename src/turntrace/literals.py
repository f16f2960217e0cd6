"""Tells a name that stands in somebody's code from one that was put together while it ran.

What a user typed is never a constant of a program: a name that is one may leave in a trace.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, FrameType


def is_literal(text: str, frame: FrameType | None, *, frames: int = 1) -> bool:
    """Tell whether ``text`` is a literal in the code of ``frame`` or of its callers.

    A declared member of an enum is one too. Variables are not, not even upper-case ones: what
    they hold may have been assigned while the program ran. Never raises.

    Args:
        text: What is asked about.
        frame: Where to begin; frames of awaiting coroutines are its callers too.
        frames: How many frames to look at.
    """
    if isinstance(text, enum.Enum):
        return type(text).__members__.get(text.name) is text
    if text.__class__ is not str:
        return False  # a type of its own may compare as it likes
    while frame is not None and frames > 0:
        if _holds(frame.f_code, text):
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
