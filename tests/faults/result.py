"""What came out of one case: the comparison of what was ended, what arrived, and what was said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row of the table."""

    fault: str
    exporter: str
    share: float
    """Of the traces, how many the sampler kept."""
    is_burst: bool = False
    ended: int
    """Spans that were kept and whose ``end()`` returned."""
    stored: int
    """Of those, how many the collector has."""
    duplicates: int
    rejected: int
    foreign: int
    """Spans at the collector that were never ended."""
    answers: dict[str, int] = field(default_factory=dict)
    """How many requests met each behaviour."""
    report: dict[str, Any]
    """What the sender itself said (see ``sender_process.py``); empty if it was killed."""
    note: str = ""
    """What the table says beside."""

    @property
    def lost(self) -> int:
        """Spans that neither arrived nor were refused by the collector."""
        return max(0, self.ended - self.stored - self.rejected)

    @property
    def said(self) -> dict[str, Any]:
        """What the exporter says became of the spans."""
        told: dict[str, Any] = self.report.get("said", {})
        return told

    @property
    def dropped(self) -> int:
        """How many spans it says it dropped."""
        return sum(self.said["dropped"].values())

    @property
    def falsely_sent(self) -> int:
        """How many spans it says were acknowledged, and the collector does not have."""
        return max(0, int(self.said.get("sent", 0)) - self.stored)

    @property
    def verdict(self) -> str:
        """Return what the table says."""
        is_counted = self.lost == sum(self.said.get("dropped", {}).values())
        share = self.lost / max(1, self.ended)
        faults = [
            f"{share:.2%} lost{', each counted' if is_counted else ''}" if self.lost else "",
            f"{self.falsely_sent} counted as sent, though nobody took them"
            if self.falsely_sent
            else "",
            f"{self.foreign} foreign" if self.foreign else "",
        ]
        outcome = "; ".join(filter(None, faults)) or "all arrived"
        return f"{outcome} ({self.note})" if self.note else outcome

    @property
    def row(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        p99_us = self.report.get("end_p99_us", 0.0)
        return (
            self.fault,
            self.exporter,
            f"{self.share:.0%}",
            f"{self.ended:,}",
            f"{self.lost:,}",
            f"{self.duplicates:,}",
            f"{self.rejected:,}",
            f"{p99_us / 1000:.2f} ms" if self.is_burst else "",
            self.verdict,
        )


def assert_that_the_books_are_true(result: Result) -> None:
    """Claim what holds for one process in every fault: its ledger adds up and is right."""
    said, report = result.said, result.report
    fates = ("acknowledged", "rejected", "sampled_out", "waiting", "on_disk", "handed_over")
    assert said["ended"] + said["adopted"] == sum(said[f] for f in fates) + result.dropped, said
    assert said["ended"] == report["ended"]
    assert said["sampled_out"] == report["ended"] - report["kept"]
    assert said["rejected"] == result.rejected
    assert (result.foreign, result.falsely_sent) == (0, 0)


def assert_that_nothing_is_lost(result: Result) -> None:
    """Claim that each kept span arrived, or was refused, and that nothing waits any more."""
    assert_that_the_books_are_true(result)
    assert result.lost == 0, result.said
    assert result.dropped == 0, result.said
    assert (result.said["waiting"], result.said["on_disk"]) == (0, 0)
