"""One case of the table of faults: sender processes, a scripted collector, and the comparison."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import pytest
from collector import CollectorProcess
from result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from behaviour import Behaviour
    from work import Work

HERE: Final = Path(__file__).parent
IS_QUICK: Final = os.environ.get("QUICK", "0") not in ("", "0")
START_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 120.0
SHARES: Final = (1.0, 0.1)
EVERYWHERE: Final = {"OTEL_BSP_SCHEDULE_DELAY": "500"}
"""What each exporter is told, so that also a fault of some seconds meets requests."""
_ID_BYTES: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault of the collector, and what is sent while it lasts."""

    name: str
    """As the table shows it."""
    script: tuple[Behaviour, ...]
    """Begins when the sender begins."""
    work: Work
    environ: dict[str, str] = field(default_factory=dict)
    quick_share: float | None = None
    """With which sampling ``make faults QUICK=1`` runs it; None: not at all."""

    def is_met(self, result: Result) -> bool:
        """Tell whether requests came while the collector did each thing that it was to do."""
        met = {step.label for step in self.script if step.do != "refuse"}
        return met <= set(result.answers)


class Books(Protocol):
    """What a collector of either kind tells."""

    def ids(self) -> set[bytes]: ...
    def summary(self) -> dict[str, Any]: ...


def in_this_run(scenarios: Iterable[Scenario]) -> list[Any]:
    """Return scenario and share of what this run is to show, as pytest parametrizes."""
    return [
        pytest.param(scenario, share, id=f"{scenario.name}, {share:.0%}")
        for scenario in scenarios
        for share in SHARES
        if not IS_QUICK or share == scenario.quick_share
    ]


def beside(scenarios: Iterable[Scenario], *sampled: str) -> Any:
    """Return the mark of a test that measures the official exporter, in the full run only.

    With a tenth of the spans it is measured in those that ``sampled`` names: elsewhere so few of
    them show nothing that all of them do not.
    """
    cases = [
        pytest.param(scenario, share, id=f"{scenario.name}, {share:.0%}")
        for scenario in scenarios
        for share in SHARES
        if not IS_QUICK and (share == 1.0 or scenario.name in sampled)
    ]
    return pytest.mark.parametrize(("scenario", "share"), cases)


class SenderProcess:
    """A process of ``sender_process.py``; what it started, it kills by its own id."""

    def __init__(
        self,
        exporter: str,
        work: Work,
        endpoint: str,
        folder: Path,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.exporter = exporter
        self.work = work
        folder.mkdir(exist_ok=True)
        self._ids = folder / f"ids-{len(list(folder.glob('ids-*')))}"
        self._errors = self._ids.with_name(self._ids.name.replace("ids", "errors"))
        words = [sys.executable, str(HERE / "sender_process.py"), "--sender", exporter]
        descriptor = os.open(self._ids, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        words += ["--endpoint", endpoint, "--ids", str(descriptor), "--work", work.as_json()]
        inherited = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        own = {"TURNTRACE_SPOOL_DIR": str(folder / "spool"), **EVERYWHERE}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                words,
                env={**inherited, **own, **(environ or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(descriptor,),
            )
        os.close(descriptor)

    def __enter__(self) -> Self:
        try:
            stdout = self._process.stdout
            assert stdout is not None
            is_ready = select.select([stdout], [], [], START_SECONDS)[0]
            assert is_ready, "the sender did not start in time"
            assert stdout.readline() == b"ready\n", self.complaints()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in filter(None, (self._process.stdin, self._process.stdout)):
            pipe.close()

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def let_pass(self, seconds: float) -> None:
        """Return after so long a time, in which it must not end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            pytest.fail(f"the sender ended early: {self.complaints()}")

    def finish(self) -> dict[str, Any]:
        """Wait for its end and return its report."""
        limit = self.work.seconds + self.work.flush_seconds + GRACE_SECONDS
        out, _ = self._process.communicate(timeout=limit)
        assert self._process.returncode == 0, self.complaints()
        report: dict[str, Any] = json.loads(out)
        return report

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(START_SECONDS)

    def ended(self) -> set[bytes]:
        """Return the ids of what was ended and kept; a torn one at the end counts as not ended."""
        data = self._ids.read_bytes()
        whole = len(data) - len(data) % _ID_BYTES
        return {data[at : at + _ID_BYTES] for at in range(0, whole, _ID_BYTES)}

    def complaints(self) -> list[str]:
        """Return the lines that it wrote to standard error."""
        return self._errors.read_text("utf-8", "replace").splitlines()


def _is_ours(name: str) -> bool:
    """Tell whether a variable of the environment is for a case to set, and for nobody else."""
    return name.startswith(("OTEL_", "TURNTRACE_")) or name.lower().endswith(
        ("_proxy", "_ca_bundle")
    )


def run(scenario: Scenario, share: float, exporter: str, folder: Path) -> Result:
    """Run one case to its end."""
    work = replace(scenario.work, share=share)
    with CollectorProcess() as collector:
        result, _ = run_with(collector, scenario, work, exporter, folder)
        return result


def run_with(
    collector: CollectorProcess, scenario: Scenario, work: Work, exporter: str, folder: Path
) -> tuple[Result, SenderProcess]:
    """Run one case at a collector that somebody else looks into."""
    endpoint = collector.endpoint
    with SenderProcess(exporter, work, endpoint, folder, scenario.environ) as sender:
        collector.play(*scenario.script)
        sender.go()
        report = sender.finish()
        return judge(scenario.name, [sender], collector, report), sender


def judge(
    fault: str, senders: Sequence[SenderProcess], collector: Books, report: dict[str, Any]
) -> Result:
    """Compare what was ended with what arrived; ``report`` is the last sender's, if it made one."""
    ended = set().union(*(sender.ended() for sender in senders))
    stored = collector.ids()
    summary = collector.summary()
    assert summary["over_bounds"] == summary["unreadable"] == 0, summary
    return Result(
        fault=fault,
        exporter=senders[0].exporter,
        share=senders[0].work.share,
        is_burst=bool(senders[0].work.burst),
        ended=len(ended),
        stored=len(ended & stored),
        duplicates=summary["duplicates"],
        rejected=summary["rejected"],
        foreign=len(stored - ended),
        answers=summary["answers"],
        report=report,
    )
