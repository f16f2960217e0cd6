"""Claims about the exporter, made against a real HTTP server on the loopback interface."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from export_collector import OK, Collector, Reply, running_collector, wait_until
from export_records import make_record
from export_shippers import make_shipper
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from turntrace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from turntrace.export.contract import SpanSink
    from turntrace.export.shipper import Shipper

    MakeExporter = Callable[..., Shipper]

HANG = Reply(hangs=True)


def offer_some(exporter: SpanSink, count: int) -> list[bytes]:
    records = [make_record() for _ in range(count)]
    for record in records:
        exporter.offer(record)
    return [record.span_id for record in records]


def kept(exporter: SpanSink) -> int:
    """Return how many spans wait, wherever they do."""
    counts = exporter.counts()
    return counts.waiting + counts.on_disk


def assert_adds_up(exporter: SpanSink, offered: int) -> None:
    counts = exporter.counts()
    assert counts.offered == offered
    assert offered == (
        counts.acknowledged
        + counts.rejected
        + sum(counts.dropped.values())
        + counts.handed_over
        + counts.waiting
        + counts.on_disk
    )


# What is sent, and when.


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_everything_offered_arrives_once_and_in_order(
    collector: Collector, make_exporter: MakeExporter, compression: str
) -> None:
    exporter = make_exporter(compression=compression, headers={"X-Team": "chat"}, max_batch_size=64)
    offered = offer_some(exporter, 200)
    assert exporter.force_flush(5.0)
    assert collector.taken == offered
    assert {request.path for request in collector.requests} == {"/v1/traces"}
    headers = collector.requests[0].headers
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["x-team"] == "chat"
    assert headers.get("content-encoding") == (None if compression == "none" else "gzip")
    resource = collector.requests[0].message.resource_spans[0].resource
    assert resource.attributes[0].value.string_value == "chat"
    assert_adds_up(exporter, 200)
    assert exporter.counts().acknowledged == 200


def test_full_batch_is_sent_at_once(collector: Collector, make_exporter: MakeExporter) -> None:
    exporter = make_exporter(max_batch_size=10)
    for total in (10, 20, 30):
        offer_some(exporter, 10)
        wait_until(lambda total=total: exporter.counts().acknowledged == total)
    offer_some(exporter, 9)
    assert kept(exporter) == 9


def test_batch_as_large_as_the_queue_is_sent_at_once(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter(max_batch_size=500, max_queue_size=8)
    offer_some(exporter, 8)
    wait_until(lambda: len(collector.taken) == 8)
    assert exporter.counts().dropped == {}


def test_batch_of_one_is_sent_at_once(collector: Collector, make_exporter: MakeExporter) -> None:
    exporter = make_exporter(max_batch_size=1)
    offered = offer_some(exporter, 5)
    wait_until(lambda: collector.taken == offered)


def test_part_of_a_batch_is_sent_after_the_schedule_delay(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter(schedule_delay_seconds=0.05)
    for number in (1, 2):
        offer_some(exporter, 1)
        wait_until(lambda number=number: exporter.counts().acknowledged == number)


def test_request_is_bounded_in_bytes(collector: Collector, make_exporter: MakeExporter) -> None:
    exporter = make_exporter()
    for _ in range(64):
        exporter.offer(make_record(attributes={"big": "x" * 100_000}))
    assert exporter.force_flush(5.0)
    sizes = [request.message.ByteSize() for request in collector.requests]
    assert 1 < len(sizes) < 10
    assert max(sizes) < 2 * 1024 * 1024 + 1_000
    assert len(collector.taken) == 64


def test_offers_of_many_threads_are_counted_exactly(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter(max_queue_size=1000, max_batch_size=50)
    threads = [threading.Thread(target=offer_some, args=(exporter, 1000)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exporter.force_flush(5.0)
    counts = exporter.counts()
    assert_adds_up(exporter, 6000)
    assert counts.waiting == 0
    assert counts.acknowledged == len(collector.taken) == len(set(collector.taken))
    assert counts.acknowledged + counts.dropped.get("queue_full", 0) == 6000


def test_record_that_cannot_be_encoded_is_dropped_and_counted(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter()
    exporter.offer(make_record(trace_id=None))
    assert not exporter.force_flush(5.0)
    assert collector.requests == []
    exporter.offer(make_record(trace_id=None))
    offer_some(exporter, 2)
    assert not exporter.force_flush(5.0)
    assert len(collector.taken) == 2
    assert exporter.counts().dropped == {"unencodable": 2}
    assert_adds_up(exporter, 4)


# What the collector says.


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_nothing_is_lost_while_the_collector_asks_to_retry(
    collector: Collector, make_exporter: MakeExporter, status: int
) -> None:
    collector.script.extend([Reply(status=status, headers={"retry-after": "0"})] * 2)
    exporter = make_exporter()
    offered = offer_some(exporter, 20)
    assert exporter.force_flush(5.0)
    assert collector.taken == offered
    assert len(collector.requests) == 3


def test_retry_after_is_honoured_even_by_a_flush(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    collector.script.append(Reply(status=429, headers={"retry-after": "1"}))
    exporter = make_exporter()
    offer_some(exporter, 1)
    started = time.monotonic()
    assert not exporter.force_flush(0.2)
    assert len(collector.requests) == 1
    assert exporter.force_flush(5.0)
    assert time.monotonic() - started >= 1.0


def test_nothing_is_lost_when_the_collector_comes_up_late(root: Path | None) -> None:
    with running_collector() as earlier:
        port = earlier.port
    exporter = make_shipper(
        endpoint=f"http://127.0.0.1:{port}/v1/traces",
        root=root,
        schedule_delay_seconds=0.02,
        backoff_seconds=(0.02, 0.05),
    )
    offered = offer_some(exporter, 30)
    assert not exporter.force_flush(0.1)
    with running_collector(port) as collector:
        offered += offer_some(exporter, 30)
        assert exporter.force_flush(5.0)
        assert collector.taken == offered
        assert exporter.shutdown(1.0)


def test_connection_that_the_collector_closed_is_replaced(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    collector.default = Reply(headers={"connection": "close"})
    exporter = make_exporter()
    for _ in range(3):
        offer_some(exporter, 1)
        assert exporter.force_flush(5.0)
    assert len(collector.taken) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_refused_batch_is_counted_as_rejected_and_not_retried(
    collector: Collector, make_exporter: MakeExporter, status: int
) -> None:
    collector.script.append(Reply(status=status, body=b"no"))
    exporter = make_exporter()
    offer_some(exporter, 7)
    assert not exporter.force_flush(5.0)
    assert (exporter.counts().rejected, exporter.counts().waiting) == (7, 0)
    offer_some(exporter, 1)
    assert exporter.force_flush(5.0), "a loss makes one flush return False, not all"
    assert len(collector.requests) == 2
    assert_adds_up(exporter, 8)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed_and_not_counted_as_sent(
    collector: Collector, make_exporter: MakeExporter, status: int
) -> None:
    collector.default = Reply(status=status, headers={"location": "/login"})
    exporter = make_exporter()
    offered = offer_some(exporter, 3)
    assert not exporter.force_flush(0.2)
    assert {request.path for request in collector.requests} == {"/v1/traces"}
    assert exporter.counts().acknowledged == 0
    collector.default = OK
    assert exporter.force_flush(5.0)
    assert collector.taken == offered


def protobuf_reply(rejected: int, message: str = "") -> Reply:
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    return Reply(body=body, headers={"content-type": "application/x-protobuf"})


def json_reply(text: str) -> Reply:
    return Reply(body=text.encode(), headers={"content-type": "application/json; charset=utf-8"})


@pytest.mark.parametrize(
    ("reply", "rejected"),
    [
        (protobuf_reply(4, "too old"), 4),
        (protobuf_reply(0, "just saying"), 0),
        (protobuf_reply(1000), 10),
        (protobuf_reply(-5), 0),
        (json_reply('{"partialSuccess": {"rejectedSpans": "4", "errorMessage": "too old"}}'), 4),
        (json_reply('{"partial_success": {"rejected_spans": 3}}'), 3),
        (json_reply('{"partialSuccess": {}}'), 0),
        (json_reply("{}"), 0),
        (Reply(status=204), 0),
        (Reply(status=202, body=ExportTraceServiceResponse().SerializeToString()), 0),
    ],
)
def test_partial_success_is_counted_exactly(
    collector: Collector, make_exporter: MakeExporter, reply: Reply, rejected: int
) -> None:
    collector.script.append(reply)
    exporter = make_exporter()
    offer_some(exporter, 10)
    assert exporter.force_flush(5.0) is (rejected == 0)
    counts = exporter.counts()
    assert (counts.acknowledged, counts.rejected, counts.waiting) == (10 - rejected, rejected, 0)
    assert len(collector.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>Sign in</html>", headers={"content-type": "text/html"}),
        Reply(body=b"<html>Sign in</html>"),
        Reply(body=b"\x0a\x09\x08"),
        Reply(body=b"\x0a", closes_early=True),
        Reply(body=b"x" * 70_000),
        json_reply("[]"),
        json_reply("{"),
    ],
    ids=["html", "unlabelled html", "cut off", "closed early", "huge", "wrong json", "bad json"],
)
def test_reply_that_acknowledges_nothing_is_not_counted_as_sent(
    collector: Collector, make_exporter: MakeExporter, reply: Reply
) -> None:
    collector.script.append(reply)
    exporter = make_exporter(backoff_seconds=(60.0, 60.0))
    offer_some(exporter, 2)
    wait_until(lambda: exporter.force_flush(0.01) or collector.requests)
    counts = exporter.counts()
    assert (counts.acknowledged, kept(exporter)) == (0, 2) or len(collector.requests) > 1
    assert exporter.force_flush(5.0)
    assert len(collector.requests) >= 2


# Bounds in time and space.


def test_flush_and_shutdown_keep_their_time_while_the_collector_hangs(
    collector: Collector, make_exporter: MakeExporter, root: Path | None
) -> None:
    collector.default = HANG
    exporter = make_exporter()
    offer_some(exporter, 5)
    started = time.monotonic()
    assert not exporter.force_flush(0.3)
    flushed = time.monotonic()
    assert flushed - started < 0.6
    assert not exporter.shutdown(0.3)
    assert time.monotonic() - flushed < 0.7
    counts = exporter.counts()
    assert (dict(counts.dropped), counts.on_disk) == (({}, 5) if root else ({"shutdown": 5}, 0))
    assert_adds_up(exporter, 5)


@pytest.mark.parametrize("reply", [HANG, Reply(drips=True)], ids=["hangs", "drips"])
def test_request_ends_at_its_timeout_whatever_the_collector_does(
    collector: Collector, make_exporter: MakeExporter, reply: Reply
) -> None:
    collector.script.append(reply)
    exporter = make_exporter(timeout_seconds=0.2)
    offered = offer_some(exporter, 5)
    assert exporter.force_flush(5.0)
    assert collector.taken == offered
    assert len(collector.requests) == 2


def test_newest_is_dropped_and_counted_when_the_queue_is_full(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    collector.script.append(HANG)
    exporter = make_exporter(max_queue_size=100, max_batch_size=10, root=None)
    offered = offer_some(exporter, 150)
    counts = exporter.counts()
    assert (counts.waiting, dict(counts.dropped)) == (100, {"queue_full": 50})
    wait_until(lambda: collector.requests)
    assert exporter.counts().waiting == 100, "what is being sent is still held"
    assert_adds_up(exporter, 150)
    collector.is_closing.set()
    assert not exporter.force_flush(5.0), "50 of those offered before were lost"
    assert collector.taken == offered[:100]
    offer_some(exporter, 1)
    assert exporter.force_flush(5.0)
    assert_adds_up(exporter, 151)


def test_shutdown_sends_what_waits_and_ends_the_thread(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter()
    offered = offer_some(exporter, 700)
    assert exporter.shutdown(5.0)
    assert collector.taken == offered
    wait_until(lambda: all(t.name != "turntrace-export" for t in threading.enumerate()))
    offer_some(exporter, 3)
    assert exporter.counts().dropped == {"shutdown": 3}
    assert_adds_up(exporter, 703)
    assert exporter.shutdown(5.0)


def test_what_is_handed_over_is_no_drop_and_the_heir_has_it(
    make_exporter: MakeExporter, collector: Collector
) -> None:
    heir = make_exporter()
    exporter = make_exporter(schedule_delay_seconds=3600.0)
    ids = offer_some(exporter, 3)
    exporter.hand_over(heir.offer)
    ids += offer_some(exporter, 1)
    counts = exporter.counts()
    assert (counts.handed_over, dict(counts.dropped), counts.waiting) == (4, {}, 0)
    assert heir.force_flush(5.0)
    assert collector.taken == ids


def test_unused_exporter_starts_no_thread_and_has_nothing_to_flush(
    make_exporter: MakeExporter,
) -> None:
    before = threading.active_count()
    exporter = make_exporter()
    assert exporter.force_flush(0.0)
    assert exporter.shutdown(0.0)
    assert threading.active_count() == before
    assert_adds_up(exporter, 0)


# Odd places to be called from.


def test_span_ended_in_a_signal_handler_or_del_blocks_nothing(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter(max_batch_size=8, max_queue_size=100_000)
    from_handlers = itertools.count()

    class Farewell:
        def __init__(self) -> None:
            self.me = self  # a cycle: __del__ runs whenever the collector of garbage does

        def __del__(self) -> None:
            exporter.offer(make_record())
            next(from_handlers)

    nested = 0

    def handle(*_: Any) -> None:
        nonlocal nested
        nested += 1
        if nested < 20:  # on a busy machine signals come faster than they are handled
            exporter.offer(make_record())
            next(from_handlers)
        nested -= 1

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    offered = 0
    try:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            Farewell()
            offer_some(exporter, 1)
            offered += 1
            exporter.counts()
            if offered % 50 == 0:
                exporter.force_flush(1.0)
                gc.collect()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    gc.collect()
    assert exporter.force_flush(5.0)
    total = offered + next(from_handlers)
    assert total > offered
    assert_adds_up(exporter, total)
    assert len(collector.taken) == total


def test_shutdown_in_a_signal_handler_returns(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter()
    collector.default = HANG
    offer_some(exporter, 3)
    results: list[bool] = []
    previous = signal.signal(signal.SIGALRM, lambda *_: results.append(exporter.shutdown(0.1)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert not exporter.force_flush(0.4)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert results == [False]
    assert_adds_up(exporter, 3)


def test_shutdown_in_a_signal_handler_does_not_wait_for_the_shutdown_it_interrupted(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    exporter = make_exporter()
    collector.default = HANG
    offer_some(exporter, 3)
    results: list[bool] = []
    previous = signal.signal(signal.SIGALRM, lambda *_: results.append(exporter.shutdown(5.0)))
    started = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert not exporter.shutdown(0.4)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert results == [False]
    assert time.monotonic() - started < 3.0


def test_shutdown_that_comes_second_waits_for_the_first_and_returns_the_same(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    collector.script.extend([Reply(status=503)] * 5)
    exporter = make_exporter(backoff_seconds=(0.1, 0.1))
    offer_some(exporter, 3)
    results: list[bool] = []
    first = threading.Thread(target=lambda: results.append(exporter.shutdown(10.0)))
    first.start()
    wait_until(lambda: collector.requests)
    results.append(exporter.shutdown(10.0))
    first.join()
    assert results == [True, True]
    assert exporter.shutdown(0.0)


def test_shutdown_that_comes_second_waits_no_longer_than_its_own_time(
    collector: Collector, make_exporter: MakeExporter
) -> None:
    collector.default = HANG
    exporter = make_exporter()
    offer_some(exporter, 3)
    first = threading.Thread(target=exporter.shutdown, args=(3.0,))
    first.start()
    wait_until(lambda: collector.requests)
    started = time.monotonic()
    assert not exporter.shutdown(0.05)
    assert time.monotonic() - started < 2.0
    collector.is_closing.set()  # lets the first one end
    collector.default = OK
    first.join()


@pytest.mark.parametrize("timeout", [None, float("nan"), float("inf"), -1, "soon"], ids=repr)
def test_no_timeout_makes_flush_or_shutdown_raise(
    make_exporter: MakeExporter, timeout: Any
) -> None:
    exporter = make_exporter()
    offer_some(exporter, 1)
    exporter.force_flush(timeout)
    offer_some(exporter, 1)
    exporter.shutdown(timeout)
    assert_adds_up(exporter, 2)
    assert exporter.counts().waiting == 0


def test_span_that_got_lost_inside_shows_in_the_counts(make_exporter: MakeExporter) -> None:
    exporter = make_exporter(root=None)
    offer_some(exporter, 3)
    exporter._memory._waiting.pop()
    counts = exporter.counts()
    assert (counts.offered, counts.waiting) == (3, 2)


CHILD_PROGRAM = """
    import os, sys, threading
    sys.path.insert(0, sys.argv[2])
    from export_records import make_record
    from pathlib import Path
    from export_shippers import make_shipper

    exporter = make_shipper(
        endpoint=sys.argv[1],
        root=Path(sys.argv[3]) if sys.argv[3:] else None,
        resource={"service.name": "chat", "service.instance.id": "parent"},
        schedule_delay_seconds=60.0,
    )
    exporter.offer(make_record(name="parent before"))
    exporter.force_flush(5.0)  # the connection is open now
    exporter.offer(make_record(name="parent waiting"))
    children = []
    for number in range(5):
        pid = os.fork()
        if pid == 0:
            counts = exporter.counts()
            assert counts.offered == counts.waiting == counts.on_disk == 0, counts
            assert threading.active_count() == 1
            exporter.offer(make_record(name=f"child {number}"))
            assert exporter.force_flush(5.0)
            assert exporter.shutdown(5.0)
            assert exporter.counts().acknowledged == 1
            os._exit(0)
        children.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    assert statuses == [0] * 5, statuses
    exporter.offer(make_record(name="parent after"))
    assert exporter.shutdown(5.0)
    assert exporter.counts().acknowledged == 3
"""


@pytest.fixture
def forked(collector: Collector, root: Path | None) -> list[tuple[str, dict[str, str]]]:
    """Return the name of each span of `CHILD_PROGRAM` with the resource it came under."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    here = str(Path(__file__).parent)
    program = textwrap.dedent(CHILD_PROGRAM)
    result = subprocess.run(
        [
            *(sys.executable, "-X", "dev", "-c", program, collector.endpoint, here),
            *([str(root)] if root else []),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "Warning" not in result.stderr
    return [
        (span.name, {a.key: a.value.string_value for a in whole.resource.attributes})
        for request in collector.requests
        for whole in request.message.resource_spans
        for scope in whole.scope_spans
        for span in scope.spans
    ]


def test_forked_child_sends_only_its_own_spans_over_its_own_connection(
    forked: list[tuple[str, dict[str, str]]],
) -> None:
    parents = ["parent after", "parent before", "parent waiting"]
    names = sorted(name for name, _ in forked)
    assert names == [f"child {number}" for number in range(5)] + parents


def test_forked_child_is_an_instance_of_its_own_of_the_same_service(
    forked: list[tuple[str, dict[str, str]]],
) -> None:
    ids = {name: resource["service.instance.id"] for name, resource in forked}
    assert {ids[name] for name in ids if name.startswith("parent")} == {"parent"}
    children = {uuid.UUID(ids[f"child {number}"]).version for number in range(5)}
    assert children == {4}
    assert len(set(ids.values())) == 6
    assert {resource["service.name"] for _, resource in forked} == {"chat"}


# Secrets, and arguments that cannot be used.


def test_no_secret_is_ever_logged(
    collector: Collector, make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [Reply(status=503), Reply(status=302, headers={"location": "/?s3cret"})]
    collector.script.extend([*replies, Reply(status=401), protobuf_reply(1, "s3cret"), OK])
    exporter = make_exporter(
        endpoint=f"http://me:s3cret@127.0.0.1:{collector.port}/v1/traces",
        headers={"x-api-key": "s3cret"},
    )
    for _ in range(4):
        offer_some(exporter, 2)
        exporter.force_flush(5.0)
    assert collector.requests[0].headers["authorization"].startswith("Basic ")
    assert collector.requests[0].headers["x-api-key"] == "s3cret"
    ours = [record for record in caplog.records if record.name == "turntrace"]
    assert [record.levelname for record in ours] == ["WARNING"] * 4
    assert "s3cret" not in caplog.text
    assert "bWU6czNjcmV0" not in caplog.text


def test_the_same_trouble_is_warned_about_once(
    collector: Collector, make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    collector.default = Reply(status=400)
    exporter = make_exporter()
    for _ in range(5):
        offer_some(exporter, 1)
        exporter.force_flush(5.0)
    assert len([record for record in caplog.records if record.name == "turntrace"]) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint": "ftp://host/"},
        {"endpoint": "localhost:4318"},
        {"endpoint": "http://"},
        {"endpoint": "http://[bad/"},
        {"compression": "zstd"},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"max_queue_size": 0},
        {"max_batch_size": -1},
        {"schedule_delay_seconds": 0},
        {"headers": {"x-key": "s3cret\nx-evil: 1"}},
        {"headers": {"x key": "s3cret"}},
        {"headers": {"x-key": "s3cret\N{SNOWMAN}"}},
    ],
    ids=str,
)
def test_argument_that_cannot_be_used_is_refused_without_quoting_secrets(
    settings: dict[str, Any],
) -> None:
    arguments: dict[str, Any] = {"endpoint": "http://localhost:4318/v1/traces"}
    with pytest.raises(ConfigurationError) as raised:
        make_shipper(**(arguments | settings))
    assert "s3cret" not in str(raised.value)
