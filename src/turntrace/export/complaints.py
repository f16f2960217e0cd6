"""Says what goes wrong on the way to the collector: once a minute, never what may be secret."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from turntrace.export.transport.http_transport import Fate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turntrace.export.transport.http_transport import Outcome

_LOG: Final = logging.getLogger("turntrace")
_INTERVAL_SECONDS: Final = 60.0

_WHY: Final = {
    "cap": "the spool is as large as TURNTRACE_SPOOL_MAX_BYTES allows; the oldest spans go",
    "queue_full": "the spool takes no spans (is the disk full?) and memory is full; the newest go",
    "unanswered": "no collector has ever answered; only the newest spans are kept on disk",
}


class Complaints:
    """Warns about each kind of trouble once a minute.

    Args:
        display_name: The collector's URL without user info, path and query.
    """

    def __init__(self, display_name: str) -> None:
        self._display_name = display_name
        self._quiet_until: dict[str, float] = {}
        self._dropped: Mapping[str, int] = {}

    def hear(self, outcome: Outcome, sent: int, skipped: int) -> None:
        """Warn if ``outcome`` is bad news for a request of ``sent`` spans."""
        if skipped:
            self.say("unencodable", f"{skipped} spans cannot be encoded and are dropped")
        reason = outcome.reason
        if outcome.fate is Fate.TAKEN:
            if outcome.rejected_spans:
                self.say("partial", f"rejected {outcome.rejected_spans} of {sent} spans")
        elif outcome.fate is Fate.UNKNOWN:
            self.say(reason, f"did not take {sent} spans ({reason}); will retry")
        elif outcome.fate is Fate.MISDIRECTED:
            self.say(
                reason,
                f"redirects ({reason}), which is not followed; will retry {sent} spans: set the "
                "endpoint to the collector itself",
            )
        else:
            self.say(reason, f"rejected {sent} spans ({reason}); no retry")

    def hear_of_drops(self, dropped: Mapping[str, int]) -> None:
        """Warn if spans had to go because there was no room."""
        for reason, why in _WHY.items():
            if dropped.get(reason, 0) > self._dropped.get(reason, 0):
                self.say(reason, f"{why} ({dropped[reason]} so far)")
        self._dropped = dropped

    def say(self, kind: str, text: str) -> None:
        """Warn, unless there was a warning of this kind in the last minute."""
        now = time.monotonic()
        if now >= self._quiet_until.get(kind, 0.0):
            self._quiet_until[kind] = now + _INTERVAL_SECONDS
            _LOG.warning(
                "turntrace export: %s %s (said at most once a minute)", self._display_name, text
            )
