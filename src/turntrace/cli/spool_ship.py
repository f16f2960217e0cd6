"""`turntrace spool ship`: send for processes that only write, until it is stopped."""

from __future__ import annotations

import queue
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from turntrace.cli.cleaning import clean
from turntrace.cli.commands import EXIT_OK
from turntrace.cli.spool_place import LastWarning, open_shipper, root_of, settings_of
from turntrace.setting_kinds import origin

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from turntrace.export.shipper import Shipper

_LOOK_SECONDS: Final = 1.0
_LINE_SECONDS: Final = 60.0
_GOODBYE_SECONDS: Final = 1.5


def run(arguments: argparse.Namespace) -> int:
    """Ship until SIGTERM or SIGINT; return the exit code."""
    stops: queue.SimpleQueue[None] = queue.SimpleQueue()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stops.put(None)  # unlike an Event, safe wherever the signal interrupts this thread

    settings = settings_of(arguments)
    heard = LastWarning.listening()
    shipper = open_shipper(settings, heard)
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        shipper.start()
        _say(
            f"sends what {clean(settings.service_name)} writes to {clean(str(root_of(settings)))}"
            f" on to {origin(settings.traces_url)}"
        )
        _work(shipper, heard, stops)
    finally:
        shipper.shutdown(_GOODBYE_SECONDS)
        for number, handler in before.items():
            signal.signal(number, handler)
    return EXIT_OK


def _work(shipper: Shipper, heard: LastWarning, stops: queue.SimpleQueue[None]) -> None:
    """Say once a minute what was sent and what is wrong, if anything, until it is time to stop."""
    said, next_line = 0, 0.0
    while True:
        try:
            stops.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            counts = shipper.counts()
            is_news = counts.acknowledged > said or heard.text
            if is_news and time.monotonic() >= next_line:
                next_line = time.monotonic() + _LINE_SECONDS
                trouble = f": {heard.text}" if heard.text else ""
                _say(f"{counts.acknowledged:,} spans sent, {counts.on_disk:,} wait{trouble}")
                said, heard.text = counts.acknowledged, ""
        else:
            return


def _say(text: str) -> None:
    sys.stdout.write(f"turntrace spool ship: {text}\n")
    sys.stdout.flush()
