"""Claims about one request: what an answer means, and that nothing holds it past its time."""

from __future__ import annotations

import fcntl
import logging
import termios
import threading
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from behaviour import Behaviour
from collected import credential_of
from collector import CollectorProcess, LocalCollector, running_collector, wait_until
from export_records import make_record

from turntrace.export.otlp import OtlpEncoder, Resource, encode_resource, join_request
from turntrace.export.transport.http_transport import Fate, HttpTransport, Outcome
from turntrace.export.transport.retry_after import read_retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator


def request_of(count: int, **changes: Any) -> bytes:
    records = [make_record(**changes) for _ in range(count)]
    chunks = list(OtlpEncoder().encode_spans(records))
    return join_request(encode_resource(Resource({"service.name": "chat"})), chunks)


def transport_to(endpoint: str, **settings: Any) -> HttpTransport:
    defaults = {"headers": {}, "timeout_seconds": 5.0, "compression": "none"}
    return HttpTransport(endpoint=endpoint, **(defaults | settings))


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with running_collector() as running:
        yield running


@pytest.fixture
def transport(collector: LocalCollector) -> Iterator[HttpTransport]:
    made = transport_to(collector.endpoint)
    yield made
    made.close()


# What an answer means.


@pytest.mark.parametrize(
    "step",
    [
        Behaviour(),
        Behaviour(do="no_content"),
        Behaviour(do="empty"),
        Behaviour(do="json"),
        Behaviour(do="gzip"),
        Behaviour(do="drip", drip_seconds=0.0005),
        Behaviour(after_seconds=0.1),
    ],
    ids=lambda step: step.label,
)
def test_every_kind_of_acknowledgement_is_one(
    collector: LocalCollector, transport: HttpTransport, step: Behaviour
) -> None:
    collector.play(step)
    assert transport.post(request_of(3)) == Outcome(Fate.TAKEN)
    assert transport.post(request_of(3)) == Outcome(Fate.TAKEN)
    assert len(collector.collected.spans) == 6


RESET = "ConnectionResetError|RemoteDisconnected|BrokenPipeError"
UNKNOWN = [
    (Behaviour(do="status", code=429), "http_429"),
    (Behaviour(do="status", code=502), "http_502"),
    (Behaviour(do="status", code=503), "http_503"),
    (Behaviour(do="status", code=504), "http_504"),
    (Behaviour(do="status", code=103), "http_103"),
    (Behaviour(do="html"), "html_reply"),
    (Behaviour(do="truncated"), "truncated_reply"),
    (Behaviour(do="truncated_head"), "truncated_reply"),
    (Behaviour(do="huge"), "oversized_reply"),
    (Behaviour(do="bomb"), "malformed_reply"),
    (Behaviour(do="garbage"), "BadStatusLine"),
    (Behaviour(do="close_in_body"), RESET),
    (Behaviour(do="close_before_answer"), RESET),
    (Behaviour(do="lose_acknowledgement"), RESET),
    (Behaviour(headers={"content-encoding": "br"}, do="json"), "malformed_reply"),
    (Behaviour(headers={"content-encoding": "gzip"}, do="json"), "malformed_reply"),
    (Behaviour(headers={"no header\r\nx": "x"}), "HTTPException"),
]


@pytest.mark.parametrize(("step", "reason"), UNKNOWN, ids=lambda part: getattr(part, "label", part))
def test_what_acknowledges_nothing_is_to_be_sent_again(
    collector: LocalCollector, transport: HttpTransport, step: Behaviour, reason: str
) -> None:
    body = request_of(3, attributes={"big": "x" * 100_000})
    assert transport.post(body).fate is Fate.TAKEN
    collector.play(step)
    outcome = transport.post(body)
    assert (outcome.fate, outcome.rejected_spans) == (Fate.UNKNOWN, 0)
    assert outcome.reason in reason.split("|")
    collector.play()
    assert transport.post(body).fate is Fate.TAKEN


@pytest.mark.parametrize("code", [400, 401, 403, 404, 407, 408, 413, 500, 501])
def test_what_the_collector_refuses_is_never_tried_again(
    collector: LocalCollector, transport: HttpTransport, code: int
) -> None:
    collector.play(Behaviour(do="status", code=code, retry_after="1"))
    assert transport.post(request_of(1)) == Outcome(Fate.REFUSED, f"http_{code}")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    collector: LocalCollector, transport: HttpTransport, code: int
) -> None:
    collector.play(Behaviour(do="redirect", code=code, location=collector.endpoint, times=1))
    assert transport.post(request_of(1)) == Outcome(Fate.MISDIRECTED, f"http_{code}")
    assert len(collector.collected.requests) == 1


def test_a_partial_success_tells_how_many_were_rejected(
    collector: LocalCollector, transport: HttpTransport
) -> None:
    collector.play(Behaviour(do="partial", rejected=2))
    outcome = transport.post(request_of(5))
    assert outcome == Outcome(Fate.TAKEN, "partial_success", rejected_spans=2)
    assert (len(collector.collected.spans), collector.collected.rejected) == (3, 2)


def test_the_same_failure_in_a_row_is_counted_until_another_answer_comes(
    collector: LocalCollector, transport: HttpTransport
) -> None:
    collector.play(
        Behaviour(do="html", times=3), Behaviour(do="truncated", times=1), Behaviour(times=1)
    )
    outcomes = [transport.post(request_of(1)) for _ in range(5)]
    assert [outcome.repeats for outcome in outcomes] == [0, 1, 2, 0, 0]


def test_a_refusal_that_comes_before_all_is_sent_is_heard(collector: LocalCollector) -> None:
    body = request_of(1, attributes={"big": "x" * 30_000_000})
    collector.play(Behaviour(do="status", code=413, reads=False))
    early = transport_to(collector.endpoint)
    assert early.post(body).fate is Fate.REFUSED
    early.close()


def test_connections_are_kept_and_a_closed_one_is_replaced(
    collector: LocalCollector, transport: HttpTransport
) -> None:
    for _ in range(3):
        transport.post(request_of(1))
    assert transport._connection is not None
    kept = transport._connection.sock
    transport.post(request_of(1))
    assert transport._connection.sock is kept
    collector._loop.call(collector.server._reset_all)
    wait_until(transport._connection.is_stale)
    assert transport.post(request_of(1)).fate is Fate.TAKEN
    assert len(collector.collected.spans) == 5


# Retry-After.


def test_retry_after_in_seconds_or_as_a_date_is_reported(
    collector: LocalCollector, transport: HttpTransport
) -> None:
    collector.play(
        Behaviour(do="status", code=429, retry_after="7", times=1),
        Behaviour(do="status", code=503, retry_after="date+30", times=1),
        Behaviour(do="status", code=503, times=1),
    )
    assert transport.post(b"").retry_after_seconds == 7.0
    assert 28.0 <= (transport.post(b"").retry_after_seconds or 0) <= 31.0
    assert transport.post(b"").retry_after_seconds is None


def test_a_clock_that_is_wrong_stretches_no_wait(collector: LocalCollector) -> None:
    collector.play(Behaviour(do="status", code=429, retry_after="date+30"))
    for hours in (-1, 1):
        skewed = transport_to(
            collector.endpoint, now_seconds=lambda hours=hours: time.time() + hours * 3600
        )
        assert 28.0 <= (skewed.post(b"").retry_after_seconds or 0) <= 31.0
        skewed.close()


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, None),
        ("0", None, 0.0),
        ("7", None, 7.0),
        ("9" * 60, None, 300.0),
        ("-1", None, None),
        ("1.5", None, None),
        ("\u0661", None, None),
        ("soon", None, None),
        ("", None, None),
        ("Mon, 99 Zzz 9999 99:99:99 GMT", None, None),
        (formatdate(1_000_030, usegmt=True), None, 30.0),
        (formatdate(1_000_030, usegmt=True), "garbage", 30.0),
        (formatdate(1_000_030, usegmt=True), formatdate(1_000_020, usegmt=True), 10.0),
        (formatdate(900_000, usegmt=True), None, 0.0),
        (formatdate(9_000_000, usegmt=True), None, 300.0),
        (formatdate(1_000_030), None, 30.0),
        ("x" * 100_000, None, None),
    ],
)
def test_retry_after_is_read_with_a_cap_whatever_it_says(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    assert read_retry_after(value, date, 1_000_000.0) == seconds


# Time.

TIMEOUT = 0.4
LATE = 1.2
BIG = 40_000_000


@pytest.mark.parametrize(
    "step",
    [
        Behaviour(do="hang"),
        Behaviour(do="hang", reads=False),
        Behaviour(do="drip", drip_seconds=0.05),
        Behaviour(after_seconds=60.0),
    ],
    ids=["hangs", "does not read", "drips", "is slow"],
)
@pytest.mark.parametrize("size", [10, BIG], ids=["small", "large"])
def test_no_collector_holds_a_request_past_its_time(
    collector: LocalCollector, step: Behaviour, size: int
) -> None:
    collector.play(step)
    body = b"x" * size
    hurried = transport_to(collector.endpoint, timeout_seconds=TIMEOUT)
    started = time.monotonic()
    outcome = hurried.post(body)
    assert TIMEOUT * 0.9 <= time.monotonic() - started < LATE
    assert outcome == Outcome(Fate.UNKNOWN, "TimeoutError")
    hurried.close()


@pytest.mark.parametrize("size", [10, BIG], ids=["small", "large"])
def test_a_stopped_collector_holds_no_request_past_its_time(size: int) -> None:
    with CollectorProcess() as stopped:
        hurried = transport_to(stopped.endpoint, timeout_seconds=TIMEOUT)
        stopped.pause()
        started = time.monotonic()
        outcome = hurried.post(b"x" * size)
        assert TIMEOUT * 0.9 <= time.monotonic() - started < LATE
        assert outcome == Outcome(Fate.UNKNOWN, "TimeoutError")
        stopped.go_on()
        hurried.close()


def test_the_body_of_a_refusal_changes_nothing_however_slow_it_is(
    collector: LocalCollector,
) -> None:
    collector.play(Behaviour(do="status", code=400, withheld_bytes=50))
    transport = transport_to(collector.endpoint)
    started = time.monotonic()
    assert transport.post(b"").reason == "http_400"
    assert time.monotonic() - started < 3.0
    transport.close()


def _is_stuck(transport: HttpTransport) -> bool:
    """Return whether bytes wait to be sent that nobody takes."""
    (sock,) = transport._line.sockets
    amounts = set()
    for _ in range(3):
        amounts.add(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
        threading.Event().wait(0.01)
    return len(amounts) == 1 and amounts != {b"\0" * 4}


@pytest.mark.parametrize("end", ["abort", "close"])
@pytest.mark.parametrize("reads", [True, False])
def test_another_thread_can_end_a_request_at_once(
    collector: LocalCollector, end: str, reads: bool
) -> None:
    collector.play(Behaviour(do="hang", reads=reads))
    transport = transport_to(collector.endpoint, timeout_seconds=30.0)
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(transport.post(b"x" * BIG)))
    thread.start()
    wait_until(lambda: collector.collected.requests and (reads or _is_stuck(transport)))
    started = time.monotonic()
    getattr(transport, end)()
    thread.join(5.0)
    assert time.monotonic() - started < 2.0
    assert [outcome.fate for outcome in outcomes] == [Fate.UNKNOWN]
    collector.play()
    again = transport.post(request_of(1)).fate
    assert again is (Fate.TAKEN if end == "abort" else Fate.UNKNOWN)
    transport.close()


# Secrets, and words of others.


def test_no_word_of_the_collector_and_no_secret_reaches_a_log_line_or_an_outcome(
    collector: LocalCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    steps = [step for step, _ in UNKNOWN]
    steps += [Behaviour(do="status", code=400), Behaviour(do="redirect", location="/canary")]
    steps += [Behaviour(do="partial", rejected=1)]
    secret = transport_to(
        collector.endpoint.replace("://", "://me:canary-user@") + "?key=canary-key",
        headers={"authorization": "canary-token"},
    )
    for step in steps:
        collector.play(step)
        outcome = secret.post(request_of(2))
        assert "canary" not in repr(outcome)
    assert {facts.credential for facts in collector.collected.requests} == {
        credential_of("canary-token")
    }
    assert "canary" not in caplog.text
    assert "canary" not in secret.display_name
    secret.close()
