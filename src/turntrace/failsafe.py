"""Telemetry never breaks the app: what fails inside it is counted and said once, then swallowed."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from turntrace.type_names import WITHHELD, safe_type

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger("turntrace")

_seen: dict[tuple[str, str], int] = {}
_MAX_PLACES = 1000
_FILE = re.compile(r"[\w./\\:+@-]{1,1024}\.pyc?", re.ASCII)


def swallowed(place: str, error: BaseException) -> None:
    """Count an error of our own at ``place`` and log its type the first time, without its text.

    The text is left out because an exception of a traced library may quote what a user typed.
    """
    kind = safe_type(type(error))
    key = (place, kind)
    count = _seen.get(key, 0)
    if count == 0 and len(_seen) >= _MAX_PLACES:
        return
    _seen[key] = count + 1
    if count == 0:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        line = _place(trace) if trace else "unknown line"
        with suppress(Exception):  # a filter of the app's own may raise
            logger.warning(
                "turntrace: %s failed with %s at %s; the app is not affected, this part of the"
                " trace is missing. Said once per kind; please report it.",
                place,
                kind,
                line,
            )


def _place(trace: TracebackType) -> str:
    """Return file and line; whoever compiles code may call its file anything."""
    name = trace.tb_frame.f_code.co_filename
    return f"{name if _FILE.fullmatch(name) else WITHHELD}:{trace.tb_lineno}"


def failures() -> dict[str, int]:
    """Return how often each place swallowed an error, as ``{"place: Type": count}``."""
    return {f"{place}: {kind}": count for (place, kind), count in tuple(_seen.items())}


class Guarded:
    """Context manager that lets no ``Exception`` of our own code out.

    Example:
        >>> with Guarded("example"):
        ...     raise KeyError("never seen by the app")
    """

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Swallow what is an ``Exception``; let cancellation and exits through."""
        if error is None or not isinstance(error, Exception):
            return False
        swallowed(self._place, error)
        return True
