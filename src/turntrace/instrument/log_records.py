"""`logging`: the ids of the current span on every record of every logger.

Only inside a span: a format that names them everywhere needs ``TraceContextFilter`` on its
handler, which is there also where telemetry is switched off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turntrace.logs import trace_logging

if TYPE_CHECKING:
    from collections.abc import Callable


class _LogRecords:
    """The hooks of `logging`."""

    def __init__(self) -> None:
        self._undo: Callable[[], None] | None = None

    def instrument(self) -> None:
        """Put the hook on."""
        if self._undo is None:
            self._undo = trace_logging(outside=None)

    def uninstrument(self) -> None:
        """Take it off."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


INSTRUMENTATION: Final = _LogRecords()
