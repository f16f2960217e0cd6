"""`turntrace spool drain`: send what dead processes have left, then end."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from turntrace.cli.commands import EXIT_NO, EXIT_OK
from turntrace.cli.spool_place import LastWarning, key_of, open_shipper, root_of, settings_of
from turntrace.export.spool.report import Life, look_at

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection
    from pathlib import Path

    from turntrace.export.ledger import ExportCounts
    from turntrace.export.shipper import Shipper

_POLL_SECONDS: Final = 0.05
_GOODBYE_SECONDS: Final = 1.0
_BAR_CELLS: Final = 30
_NOBODYS: Final = frozenset({Life.DEAD, Life.UNKNOWN})


def run(arguments: argparse.Namespace) -> int:
    """Send until nothing is left or the time is over; return the exit code."""
    deadline = time.monotonic() + arguments.timeout
    settings = settings_of(arguments)
    root = root_of(settings)
    if not root.exists():
        return _tell(arguments, _result(None, 0, 0, ""))
    heard = LastWarning.listening()
    key = key_of(settings)
    found = _left(root, key)
    if not found:
        others = _left(root, None)
        return _tell(arguments, _result(None, 0, others, ""))
    shipper = open_shipper(settings, heard)
    try:
        shipper.start()
        _wait(shipper, lambda: _left(root, key, {Life.DEAD}), deadline, _progress(found))
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\n")
        shipper.shutdown(_GOODBYE_SECONDS)
    return _tell(arguments, _result(shipper.counts(), _left(root, key), 0, heard.text))


def _left(root: Path, key: str | None, lives: Collection[Life] = _NOBODYS) -> int:
    """Return how many spans lie in directories of this key, or of all, that nobody holds.

    Those without a lock are among them, although nobody can tell, and nobody takes them.
    """
    processes = look_at(root, key).processes()
    return sum(process.spans for process in processes if process.life in lives)


def _wait(
    shipper: Shipper, left: Callable[[], int], deadline: float, show: Callable[[int], None]
) -> None:
    """Return when nothing is left to send, or at the deadline."""
    times_empty = 0
    while time.monotonic() < deadline:
        counts = shipper.counts()
        show(counts.acknowledged + counts.rejected)
        # Twice, for what is being adopted at this moment is for a moment in neither place.
        is_empty = shipper.is_empty() and not counts.on_disk and not left()
        times_empty = times_empty + 1 if is_empty else 0
        if times_empty > 1:
            return
        time.sleep(_POLL_SECONDS)


def _progress(total: int) -> Callable[[int], None]:
    """Return what draws a bar over itself, where somebody may look at it."""
    if not sys.stderr.isatty():
        return lambda _: None

    def draw(done: int) -> None:
        cells = min(_BAR_CELLS, _BAR_CELLS * done // total)
        bar = "#" * cells + "." * (_BAR_CELLS - cells)
        sys.stderr.write(f"\r[{bar}] {done:,} of {total:,} spans")
        sys.stderr.flush()

    return draw


def _result(counts: ExportCounts | None, left: int, others: int, reason: str) -> dict[str, Any]:
    return {
        "sent": counts.acknowledged if counts else 0,
        "rejected": counts.rejected if counts else 0,
        "dropped": dict(counts.dropped) if counts else {},
        "left": left,
        "of_other_keys": others,
        "reason": reason,
    }


def _tell(arguments: argparse.Namespace, result: dict[str, Any]) -> int:
    is_done = not (result["left"] or result["rejected"] or result["dropped"])
    if arguments.json:
        json.dump(result, sys.stdout, ensure_ascii=True)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(f"turntrace spool drain: {_sentence(result)}\n")
    return EXIT_OK if is_done else EXIT_NO


def _sentence(result: dict[str, Any]) -> str:
    said = [f"{result['sent']:,} spans sent"]
    if result["rejected"]:
        said.append(f"{result['rejected']:,} refused by the collector")
    said += [f"{count:,} dropped ({kind})" for kind, count in result["dropped"].items()]
    if result["left"]:
        said.append(f"{result['left']:,} left on disk")
    if result["of_other_keys"]:
        said.append(
            f"{result['of_other_keys']:,} of another service, endpoint or account are left alone"
        )
    reason = result["reason"]
    if result["left"] and not reason:
        reason = "in directories without a lock, or the time was over"
    return ", ".join(said) + (f": {reason}" if reason and len(said) > 1 else "")
