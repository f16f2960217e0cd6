"""Replies of all kinds: what was taken counts as sent, what was refused as rejected, no more."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from behaviour import Behaviour
from certificates import Authority
from collected import credential_of
from collector import CollectorProcess, running_collector
from harness import IS_QUICK, Scenario, SenderProcess, beside, in_this_run, judge, run
from proxy import running_proxy
from result import assert_that_nothing_is_lost
from work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from result import Result

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

_FINE = Behaviour(seconds=1.0)
_WORK = Work(seconds=5.0)
REFUSALS = [
    Scenario(
        name="partial success, 3 of each batch rejected",
        script=(Behaviour(do="partial", rejected=3, times=2),),
        work=_WORK,
        quick_share=1.0,
    ),
    Scenario(
        name="400 to 2 requests",
        script=(Behaviour(do="status", code=400, times=2),),
        work=_WORK,
    ),
]
NO_ACKNOWLEDGEMENTS = [
    Scenario(
        name="302 to a login page for 4 s",
        script=(_FINE, Behaviour(do="redirect", code=302, seconds=4.0)),
        work=Work(seconds=6.0),
        quick_share=1.0,
    ),
    Scenario(
        name="HTML with 200 for 4 s",
        script=(_FINE, Behaviour(do="html", seconds=4.0)),
        work=Work(seconds=6.0),
    ),
    Scenario(
        name="truncated reply for 4 s",
        script=(_FINE, Behaviour(do="truncated", seconds=4.0)),
        work=Work(seconds=6.0),
    ),
]
ACKNOWLEDGEMENTS = [
    Scenario(name="204", script=(Behaviour(do="no_content"),), work=_WORK),
    Scenario(name="JSON with 200", script=(Behaviour(do="json"),), work=_WORK),
]


@pytest.mark.parametrize(("scenario", "share"), in_this_run(REFUSALS))
def test_what_the_collector_refuses_is_counted_exactly_and_not_sent_again(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    tell(result)
    assert scenario.is_met(result), result.answers
    assert_that_nothing_is_lost(result)
    assert result.rejected > 0
    assert result.said["acknowledged"] == result.stored
    assert result.duplicates == 0


@pytest.mark.parametrize(("scenario", "share"), in_this_run(NO_ACKNOWLEDGEMENTS))
def test_what_acknowledges_nothing_never_counts_as_sent_and_the_spans_arrive_later(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    tell(result)
    assert scenario.is_met(result), result.answers
    assert_that_nothing_is_lost(result)


@pytest.mark.parametrize(("scenario", "share"), in_this_run(ACKNOWLEDGEMENTS))
def test_each_2xx_without_a_complaint_counts_as_sent(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "turntrace", tmp_path)
    tell(result)
    assert scenario.is_met(result), result.answers
    assert_that_nothing_is_lost(result)
    assert result.said["acknowledged"] == result.ended
    assert result.duplicates == 0


@beside(
    [*REFUSALS, *NO_ACKNOWLEDGEMENTS, *ACKNOWLEDGEMENTS],
    *[scenario.name for scenario in NO_ACKNOWLEDGEMENTS],
)
def test_the_official_exporter_is_measured_beside(
    scenario: Scenario, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    result = run(scenario, share, "official", tmp_path)
    tell(result)
    assert result.ended > 0
    assert result.foreign == 0


@pytest.mark.skipif(IS_QUICK, reason="for the full run")
@pytest.mark.parametrize(
    ("exporter", "share"), [("turntrace", 1.0), ("turntrace", 0.1), ("official", 1.0)]
)
def test_spans_arrive_through_a_proxy_that_wants_credentials_and_goes_away_for_a_while(
    exporter: str, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    credential = f"Basic {b64encode(b'user:password').decode()}"
    work = replace(_WORK, share=share, seconds=6.0)
    with CollectorProcess() as collector, running_proxy(collector.port) as proxy:
        proxy.state.credential = credential
        url = "http://collector.invalid:4318/v1/traces"  # only the proxy knows where that is
        environ = {"http_proxy": proxy.url_with("user:password")}
        with SenderProcess(exporter, work, url, tmp_path, environ) as sender:
            sender.go()
            sender.let_pass(1.0)
            proxy.go_down()
            sender.let_pass(2.0)
            proxy.come_up()
            report = sender.finish()
        result = judge("proxy with credentials, down 2 s", [sender], collector, report)
        assert set(proxy.state.credentials) == {credential_of(credential)}
        assert all(not facts["proxy_credential"] for facts in collector.requests())
    tell(result)
    if exporter == "turntrace":
        assert_that_nothing_is_lost(result)


@pytest.mark.skipif(IS_QUICK, reason="for the full run")
@pytest.mark.parametrize(
    ("exporter", "share"), [("turntrace", 1.0), ("turntrace", 0.1), ("official", 1.0)]
)
def test_spans_arrive_over_tls_with_an_authority_of_ones_own_that_is_down_for_a_while(
    exporter: str, share: float, tmp_path: Path, tell: Callable[[Result], None]
) -> None:
    authority = Authority(tmp_path)
    script = [_FINE, Behaviour(do="refuse", seconds=2.0)]
    work = replace(_WORK, share=share, seconds=6.0)
    environ = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.bundle)}
    with running_collector(tls=authority.server_context("127.0.0.1")) as collector:
        with SenderProcess(exporter, work, collector.endpoint, tmp_path, environ) as sender:
            collector.play(*script)
            sender.go()
            report = sender.finish()
        result = judge("https with an own authority, down 2 s", [sender], collector, report)
    tell(result)
    if exporter == "turntrace":
        assert_that_nothing_is_lost(result)
