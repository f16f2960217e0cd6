"""The scriptable collector does what its script says, and its books are true."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
import urllib3
from behaviour import KINDS, Behaviour, Script, read_script, script_as_json
from collected import Collected, credential_of
from collector import CollectorProcess, LocalCollector, running_collector, wait_until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator


def request_of(*numbers: int, service: str = "chat") -> bytes:
    message = ExportTraceServiceRequest()
    whole = message.resource_spans.add()
    whole.resource.attributes.add(key="service.name").value.string_value = service
    spans = whole.scope_spans.add().spans
    for number in numbers:
        spans.add(
            trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="a span"
        )
    return message.SerializeToString()


def post(url: str, body: bytes, **headers: str) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(retries=False, timeout=5.0) as pool:
        return pool.request("POST", url, body=body, headers=headers, redirect=False)


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with running_collector() as running:
        yield running


def test_every_span_is_remembered_with_how_often_it_came_from_whom_and_by_which_credentials(
    collector: LocalCollector,
) -> None:
    post(collector.endpoint, request_of(1, 2), authorization="of a")
    post(collector.endpoint, request_of(2, 3, service="other"), authorization="of b")
    books = collector.collected
    assert (len(books.spans), books.stored, books.duplicates) == (3, 4, 1)
    twice = books.spans[(2).to_bytes(16, "big") + (2).to_bytes(8, "big")]
    assert twice.count == 2
    assert twice.credentials == {credential_of("of a"), credential_of("of b")}
    services = [books.resources[place]["service.name"] for place in sorted(twice.resources)]
    assert services == ["chat", "other"]
    assert twice.last_seconds > twice.first_seconds
    assert "of a" not in repr(books), "a secret is remembered only as a hash"


def test_a_step_by_requests_gives_way_to_the_next_one(collector: LocalCollector) -> None:
    collector.play(
        Behaviour(do="status", code=429, retry_after="3", times=2), Behaviour(do="redirect")
    )
    replies = [post(collector.endpoint, request_of(1)) for _ in range(4)]
    assert [reply.status for reply in replies] == [429, 429, 302, 302]
    assert replies[0].headers["retry-after"] == "3"
    assert replies[3].headers["location"] == "/login"
    assert collector.collected.spans == {}
    assert collector.collected.answers == {"status_429": 2, "redirect_503": 2}


def test_a_refusing_step_closes_the_port_and_the_next_one_opens_the_same() -> None:
    with running_collector([Behaviour(do="refuse", seconds=0.4)]) as collector:
        started = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", collector.port))
        wait_until(lambda: _answers(collector))
        assert time.monotonic() - started >= 0.35


def _answers(collector: LocalCollector) -> bool:
    try:
        return post(collector.endpoint, request_of(1)).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_a_connection_that_is_open_is_reset_when_the_port_closes(
    collector: LocalCollector,
) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=5.0) as kept:
        kept.sendall(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        assert kept.recv(1)
        collector.play(Behaviour(do="refuse", seconds=60.0))
        with pytest.raises(ConnectionResetError):
            _read_to_the_end(kept)


def _read_to_the_end(connected: socket.socket) -> None:
    while connected.recv(4096):
        pass


def test_a_lost_acknowledgement_is_stored_and_the_sender_cannot_know(
    collector: LocalCollector,
) -> None:
    collector.play(Behaviour(do="lose_acknowledgement", times=1))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        post(collector.endpoint, request_of(1))
    post(collector.endpoint, request_of(1))
    assert (len(collector.collected.spans), collector.collected.duplicates) == (1, 1)


def test_what_is_rejected_is_counted_and_not_stored(collector: LocalCollector) -> None:
    collector.play(
        Behaviour(do="partial", rejected=2, times=1), Behaviour(do="status", code=400, times=1)
    )
    post(collector.endpoint, request_of(1, 2, 3))
    post(collector.endpoint, request_of(4, 5))
    assert len(collector.collected.spans) == 1
    assert collector.collected.rejected == 4


def test_a_body_that_is_no_otlp_is_counted(collector: LocalCollector) -> None:
    post(collector.endpoint, b"\xff\xff")
    post(collector.endpoint, b"no gzip", **{"content-encoding": "gzip"})
    assert collector.collected.unreadable == 2


def test_the_books_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collected.MAX_SPANS", 2)
    books = Collected()
    message = ExportTraceServiceRequest.FromString(request_of(1, 2, 3, 4))
    books.store(books.hear("/", {}, "up", b""), message)
    assert (len(books.spans), books.over_bounds, books.duplicates) == (2, 2, 0)


def test_a_script_survives_the_way_to_another_process() -> None:
    script = [Behaviour(do=kind) for kind in sorted(KINDS)]
    assert read_script(script_as_json(script)) == script


@pytest.mark.parametrize("step", [{"do": "sleep"}, {"do": "refuse", "times": 1}, {"typo": 1}])
def test_a_script_with_a_mistake_is_refused(step: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_script([step])


def test_a_script_by_time_goes_on_by_itself() -> None:
    script = Script([Behaviour(do="hang", seconds=0.05), Behaviour(do="html", seconds=60.0)])
    assert script.now().do == "hang"
    wait_until(lambda: script.now().do == "html")
    assert 59.0 < (script.seconds_until_change() or 0) <= 60.0


def test_a_collector_in_its_own_process_is_told_asked_stopped_and_continued() -> None:
    with CollectorProcess([Behaviour(do="status", code=400, times=1)]) as collector:
        assert post(collector.endpoint, request_of(1)).status == 400
        collector.play(Behaviour(times=1), Behaviour(do="no_content"))
        assert post(collector.endpoint, request_of(2), authorization="x").status == 200
        collector.pause()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError), urllib3.PoolManager() as pool:
            pool.request("POST", collector.endpoint, body=b"", retries=False, timeout=0.2)
        collector.go_on()
        assert collector.ids() == {(2).to_bytes(16, "big") + (2).to_bytes(8, "big")}
        (span,) = collector.spans()
        assert span["credentials"] == [credential_of("x")]
        wait_until(lambda: collector.summary()["requests"] == 3)
        assert collector.requests()[0]["behaviour"] == "status_400"
        collector.forget()
        assert collector.summary()["spans"] == 0


def test_fifty_thousand_spans_are_taken_at_two_thousand_a_second_and_more() -> None:
    with CollectorProcess() as collector:
        bodies = [request_of(*range(n, n + 500)) for n in range(1, 50_001, 500)]
        started = time.monotonic()
        with urllib3.PoolManager(retries=False, timeout=10.0) as pool:
            for body in bodies:
                assert pool.request("POST", collector.endpoint, body=body).status == 200
        assert time.monotonic() - started < 25.0
        assert len(collector.ids()) == 50_000
