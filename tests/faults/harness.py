"""One case of the table of faults: a sender process, a scripted collector, and a verdict."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collector import CollectorProcess

if TYPE_CHECKING:
    from behaviour import Behaviour

HERE: Final = Path(__file__).parent
START_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 120.0
_ID_BYTES: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault, and what is sent while it lasts."""

    name: str
    """As the table shows it."""
    script: tuple[Behaviour, ...]
    """Begins when the sender begins."""
    seconds: float
    """How long spans are ended; long enough for the collector to come back."""
    rate: float = 500.0
    flush_seconds: float = 10.0
    environ: dict[str, str] = field(default_factory=dict)
    is_quick: bool = False
    """Whether ``make faults QUICK=1`` runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of one case."""

    fault: str
    sender: str
    ended: int
    """Spans whose ``end()`` returned."""
    stored: int
    """Of those, how many the collector has."""
    duplicates: int
    rejected: int
    foreign: int
    """Spans at the collector that this sender never ended."""
    report: dict[str, Any]
    """What the sender itself said (see `senders.main`); empty if it was killed."""

    @property
    def lost(self) -> int:
        """Spans that neither arrived nor were refused by the collector."""
        return max(0, self.ended - self.stored - self.rejected)

    @property
    def said_sent(self) -> int:
        """How many spans the sender says were acknowledged."""
        return int(self.report.get("said", {}).get("sent", 0))

    @property
    def falsely_sent(self) -> int:
        """How many of them the collector does not have."""
        return max(0, self.said_sent - self.stored)

    @property
    def verdict(self) -> str:
        """Return what the table says."""
        faults = [
            f"{self.lost / self.ended:.0%} lost" if self.lost else "",
            f"{self.falsely_sent} counted as sent, though nobody took them"
            if self.falsely_sent
            else "",
            f"{self.foreign} foreign" if self.foreign else "",
        ]
        return "; ".join(filter(None, faults)) or "all arrived"


def run(scenario: Scenario, sender: str, folder: Path) -> Result:
    """Run one case to its end; kills nothing but what it started."""
    ids = folder / "ids"
    with CollectorProcess() as collector:
        process = _start(scenario, sender, collector.endpoint, ids)
        try:
            _wait_for_line(process)
            collector.play(*scenario.script)
            report = _finish(process, scenario)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(START_SECONDS)
            for pipe in filter(None, (process.stdin, process.stdout)):
                pipe.close()
        return judge(scenario.name, sender, ids, collector, report)


def judge(
    fault: str, sender: str, ids: Path, collector: CollectorProcess, report: dict[str, Any]
) -> Result:
    """Compare what was ended with what arrived."""
    ended = read_ids(ids)
    stored = collector.ids()
    summary = collector.summary()
    assert summary["over_bounds"] == summary["unreadable"] == 0, summary
    return Result(
        fault=fault,
        sender=sender,
        ended=len(ended),
        stored=len(ended & stored),
        duplicates=summary["duplicates"],
        rejected=summary["rejected"],
        foreign=len(stored - ended),
        report=report,
    )


def read_ids(path: Path) -> set[bytes]:
    """Return the ids of what was ended; a torn one at the end counts as not ended."""
    data = path.read_bytes()
    whole = len(data) - len(data) % _ID_BYTES
    return {data[at : at + _ID_BYTES] for at in range(0, whole, _ID_BYTES)}


def _start(scenario: Scenario, sender: str, endpoint: str, ids: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(HERE / "senders.py"), "--sender", sender, "--endpoint", endpoint]
    words += ["--ids", str(ids), "--rate", str(scenario.rate), "--seconds", str(scenario.seconds)]
    words += ["--flush-seconds", str(scenario.flush_seconds)]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TURNTRACE_"))}
    return subprocess.Popen(
        words,
        env={**inherited, **scenario.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the official exporter prints a traceback for every failure
    )


def _wait_for_line(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    is_ready = select.select([process.stdout], [], [], START_SECONDS)[0]
    assert is_ready, "the sender did not start in time"
    assert process.stdout.readline() == b"ready\n"


def _finish(process: subprocess.Popen[bytes], scenario: Scenario) -> dict[str, Any]:
    limit = scenario.seconds + scenario.flush_seconds + GRACE_SECONDS
    out, _ = process.communicate(b"go\n", timeout=limit)
    assert process.returncode == 0, f"the sender ended with {process.returncode}"
    report: dict[str, Any] = json.loads(out)
    return report
