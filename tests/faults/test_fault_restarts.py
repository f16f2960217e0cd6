"""Processes that end while the collector is away, and those that come after them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from behaviour import Behaviour
from collected import credential_of
from collector import CollectorProcess, wait_until
from harness import IS_QUICK, SenderProcess, judge
from newer_segment import leave_newer_segment
from result import assert_that_nothing_is_lost, assert_that_the_books_are_true
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

BATCH_SPANS = 512
DOWN = Behaviour(do="refuse", seconds=600.0)
FIRST = Work(seconds=2.0, flush_seconds=0.5, close_seconds=0.5)
SECOND = Work(seconds=1.0)
SHARES = [1.0] if IS_QUICK else [1.0, 0.1]


def send_in_vain(
    exporter: str, work: Work, collector: CollectorProcess, folder: Path, **environ: str
) -> tuple[SenderProcess, dict[str, Any]]:
    """Run a process from its start to its orderly end while the collector is away."""
    collector.play(DOWN)
    with SenderProcess(exporter, work, collector.endpoint, folder, environ) as sender:
        sender.go()
        return sender, sender.finish()


def send(
    exporter: str, work: Work, collector: CollectorProcess, folder: Path, **environ: str
) -> tuple[SenderProcess, dict[str, Any]]:
    """Run a process whose collector is well."""
    collector.play()
    with SenderProcess(exporter, work, collector.endpoint, folder, environ) as sender:
        sender.go()
        return sender, sender.finish()


@pytest.mark.parametrize("share", SHARES)
def test_what_one_process_could_not_send_arrives_through_the_next(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    fault = "restart while the collector is down"
    with CollectorProcess() as collector:
        first, told = send_in_vain("turntrace", replace(FIRST, share=share), collector, tmp_path)
        left = judge(fault, [first], collector, told)
        second, told = send("turntrace", replace(SECOND, share=share), collector, tmp_path)
        result = judge(fault, [first, second], collector, told)
    tell(result)
    assert_that_the_books_are_true(left)
    assert left.said["on_disk"] == left.ended > 0
    assert_that_nothing_is_lost(result)
    assert result.said["adopted"] == left.ended
    assert result.duplicates == 0


@pytest.mark.skipif(IS_QUICK, reason="the official exporter's figures are for the full run")
@pytest.mark.parametrize("share", SHARES)
def test_the_official_exporter_is_measured_beside(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    with CollectorProcess() as collector:
        first, _ = send_in_vain("official", replace(FIRST, share=share), collector, tmp_path)
        second, told = send("official", replace(SECOND, share=share), collector, tmp_path)
        result = judge("restart while the collector is down", [first, second], collector, told)
    tell(result)
    assert result.foreign == 0


@pytest.mark.parametrize("share", SHARES)
def test_a_killed_process_loses_nothing_and_repeats_a_batch_at_most(
    share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    slow = Behaviour(after_seconds=0.3)
    with CollectorProcess([slow]) as collector:
        work = Work(seconds=60.0, share=share)
        environ = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
        with SenderProcess("turntrace", work, collector.endpoint, tmp_path, environ) as first:
            first.go()
            first.let_pass(2.0)
            wait_until(lambda: _is_answering(collector), timeout_seconds=20.0)
            first.kill()
        second, told = send("turntrace", replace(SECOND, share=share), collector, tmp_path)
        result = judge("SIGKILL in the middle of a request", [first, second], collector, told)
    # What ended after the last ids were written is not known to the test; it arrives, too.
    unknown, result = result.foreign, replace(result, foreign=0)
    tell(result)
    assert unknown <= work.rate * 0.5
    assert_that_the_books_are_true(result)
    assert result.lost == 0
    assert result.duplicates <= BATCH_SPANS


def _is_answering(collector: CollectorProcess) -> bool:
    """Tell whether the collector has a request that is not answered yet."""
    summary = collector.summary()
    return summary["requests"] > 2 and summary["stored"] > 0


def test_two_services_on_one_root_never_send_with_the_credentials_of_the_other(
    tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    headers = {name: {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={name}"} for name in "ab"}
    services = {name: replace(SECOND, service=f"service-{name}") for name in "ab"}
    senders = []
    with CollectorProcess() as collector:
        left, _ = send_in_vain(
            "turntrace",
            replace(FIRST, service="service-a"),
            collector,
            tmp_path,
            **headers["a"],
        )
        senders.append(left)
        for name in "ba":  # a's spans are there while only b runs
            sender, told = send("turntrace", services[name], collector, tmp_path, **headers[name])
            senders.append(sender)
            if name == "b":
                assert not left.ended() & collector.ids()
        result = judge("two services on one spool root", senders, collector, told)
        spans = collector.spans()
        resources = collector.summary()["resources"]
    tell(result)
    assert_that_nothing_is_lost(result)
    assert result.duplicates == 0
    for span in spans:
        services_of = {resources[place]["service.name"] for place in span["resources"]}
        assert span["credentials"] == [credential_of(name[-1]) for name in services_of]


def test_a_segment_of_a_newer_version_is_left_as_it_is_and_the_rest_arrives(
    tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    with CollectorProcess() as collector:
        first, _ = send_in_vain("turntrace", FIRST, collector, tmp_path)
        (segment, *_) = (tmp_path / "spool").glob("*/*-*/*.seg")
        newer = leave_newer_segment(segment.parent.parent)
        before = newer.read_bytes()
        second, told = send("turntrace", SECOND, collector, tmp_path)
        result = judge("a newer version's segment on the spool", [first, second], collector, told)
    tell(result)
    assert newer.read_bytes() == before
    assert_that_nothing_is_lost(result)
    assert result.duplicates == 0
