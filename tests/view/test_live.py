"""GET /api/live: who watches hears of every new and changed turn, and nobody is waited for."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from live_turns import HTTP, WAIT_SECONDS, make_turn, post, watching
from otlp_requests import make_span, make_trace_id

from turntrace.store.contract import StoredSpan
from turntrace.store.turns import TurnQuery
from turntrace.view.live import CROWDED, MAX_CHANGED, MAX_WATCHERS, RENEWED, SLOW, Gone, Live
from turntrace.view.live_stream import LiveStream

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Message

    from conftest import Serving
    from turntrace.store.sqlite import SqliteStore

ROOT = b"8 bytes!"


def test_new_turn_is_told_with_its_row(serving: Serving) -> None:
    turn = make_turn("error")
    with watching(serving.url) as stream:
        stream.until("hello")
        post(serving.url, turn)
        row = stream.until("turn")
    assert (row["trace_id"], row["outcome"]) == (turn.trace_id.hex(), "error")
    listed = json.loads(HTTP.request("GET", f"{serving.url}/api/turns").data)["turns"]
    assert listed == [row]


def test_running_turn_is_told_and_told_again_when_it_ends(serving: Serving) -> None:
    trace_id = make_trace_id()
    with watching(serving.url) as stream:
        stream.until("hello")
        post(serving.url, make_span(trace_id, parent_span_id=ROOT))
        assert stream.until("turn")["outcome"] == "running"
        post(serving.url, make_turn("ok", trace_id=trace_id, span_id=ROOT))
        assert stream.until("turn")["outcome"] == "ok"


def test_plain_trace_is_gone_unless_asked_for(serving: Serving) -> None:
    trace_id = make_trace_id()
    with watching(serving.url) as turns, watching(serving.url, "all=1") as everything:
        turns.until("hello")
        everything.until("hello")
        post(serving.url, make_span(trace_id))
        assert turns.until("gone") == {"trace_ids": [trace_id.hex()]}
        assert everything.until("turn")["is_turn"] is False


def test_stream_has_the_filters_of_the_list(serving: Serving) -> None:
    kept, other = make_turn("error"), make_turn("ok")
    with watching(serving.url, "outcome=error") as stream:
        stream.until("hello")
        post(serving.url, other, kept)
        assert stream.until("turn")["trace_id"] == kept.trace_id.hex()
        assert stream.until("gone") == {"trace_ids": [other.trace_id.hex()]}


def test_bad_filter_is_refused_with_its_reason(serving: Serving) -> None:
    response = HTTP.request("GET", f"{serving.url}/api/live?outcomes=error")
    assert response.status == 400
    assert "'outcomes' is no parameter" in json.loads(response.data)["detail"]


def test_stream_of_pulses_tells_no_rows_and_how_fast_spans_arrive(serving: Serving) -> None:
    post(serving.url, *(make_turn() for _ in range(20)))
    with watching(serving.url, "rows=none") as stream:
        assert stream.until("hello")["spans_per_second"] == 2.0
        post(serving.url, make_turn())
        assert stream.read()[0] == "pulse"


def test_reader_that_comes_back_is_told_to_fetch_anew_if_it_missed_something(
    serving: Serving,
) -> None:
    with watching(serving.url) as stream:
        _, _, seen = stream.read()
    with watching(serving.url, headers={"last-event-id": seen}) as stream:
        stream.until("hello")
        post(serving.url, make_turn())
        assert stream.read()[0] == "turn"  # nothing was missed, nothing is fetched anew
    post(serving.url, make_turn())
    with watching(serving.url, headers={"last-event-id": seen}) as stream:
        stream.until("hello")
        assert stream.read()[0] == "stale"


def test_list_and_stream_name_the_same_state(serving: Serving) -> None:
    post(serving.url, make_turn())
    listed = json.loads(HTTP.request("GET", f"{serving.url}/api/turns").data)["change"]
    with watching(serving.url) as stream:
        assert stream.until("hello")["change"] == listed
    post(serving.url, make_turn())
    with watching(serving.url) as stream:
        assert stream.until("hello")["change"] != listed


def test_watchers_are_bounded_and_make_room_when_they_leave(serving: Serving) -> None:
    for _ in range(MAX_WATCHERS):
        assert serving.live.join(TurnQuery()) is not None
    response = HTTP.request("GET", f"{serving.url}/api/live", retries=False)
    assert response.status == 503
    assert f"{MAX_WATCHERS} pages" in json.loads(response.data)["detail"]
    serving.live.leave(next(iter(serving.live._watchers)))
    with watching(serving.url) as stream:
        assert stream.until("hello")["refused"] == 1


def test_list_takes_the_place_of_the_oldest_that_hears_no_rows(serving: Serving) -> None:
    rows = [serving.live.join(TurnQuery()) for _ in range(MAX_WATCHERS - 2)]
    oldest, younger = serving.live.join(None), serving.live.join(None)
    assert oldest is not None
    assert younger is not None
    assert serving.live.join(None) is None
    with watching(serving.url) as stream:
        stream.until("hello")
    assert (oldest.ended, younger.ended) == (CROWDED, "")
    assert not any(watcher.ended for watcher in rows if watcher)
    assert serving.live.dropped == {CROWDED: 1}


def test_reader_that_leaves_is_forgotten(serving: Serving) -> None:
    with watching(serving.url):
        assert serving.live.watcher_count == 1
    until = time.monotonic() + WAIT_SECONDS
    while serving.live.watcher_count and time.monotonic() < until:
        time.sleep(0.01)
    assert serving.live.watcher_count == 0


def test_server_stops_at_once_and_says_so_to_who_watches(serving: Serving) -> None:
    with watching(serving.url) as stream:
        stream.until("hello")
        started = time.monotonic()
        serving.stop()
        assert time.monotonic() - started < 2
        assert stream.until("dropped")["reason"] == "stopped"
        with pytest.raises(EOFError):
            stream.read()


def test_process_ends_on_sigterm_while_pages_watch(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "turntrace.cli", "view", "--port", "0", "--store"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "v.sqlite")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().split()[3]
        with watching(url) as stream, watching(url, "rows=none"):
            stream.until("hello")
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (0, b"")


def _stored_turn(number: int) -> StoredSpan:
    return StoredSpan(
        trace_id=f"{number + 1:032x}",
        span_id=f"{number + 1:016x}",
        name="turn",
        start_ns=number,
        end_ns=number + 1,
        service="demo",
        attributes={"turntrace.turn.outcome": "ok"},
    )


class _Client:
    """What a server is to the stream: it takes what it can, and tells when the client left."""

    def __init__(self, *, takes: int) -> None:
        self.taken: list[Message] = []
        self.left = asyncio.Event()
        self._takes = takes

    async def send(self, message: Message) -> None:
        if len(self.taken) >= self._takes:
            await asyncio.Event().wait()  # the client reads no more
        self.taken.append(message)

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def _until(condition: Any) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.005)


async def test_slow_reader_is_dropped_and_counted_and_others_are_not(store: SqliteStore) -> None:
    live = Live(store)
    slow, quick = _Client(takes=2), _Client(takes=10**6)
    tasks = []
    for client in (slow, quick):
        watcher = live.join(TurnQuery())
        assert watcher is not None
        stream = LiveStream(live, watcher, "")
        tasks.append(asyncio.create_task(stream({}, client.receive, client.send)))
    for batch in range(4):
        spans = [_stored_turn(batch * 300 + place) for place in range(300)]
        await asyncio.wrap_future(store.write(spans))
        heard = len(b"".join(message.get("body", b"") for message in quick.taken))
        live.on_stored(spans)
        await _until(lambda heard=heard: _body(quick) > heard)
    async with asyncio.timeout(WAIT_SECONDS):
        await tasks[0]
    assert live.dropped == {SLOW: 1}
    assert live.watcher_count == 1
    assert not tasks[1].done()
    quick.left.set()
    await tasks[1]


def _body(client: _Client) -> int:
    return len(b"".join(message.get("body", b"") for message in client.taken))


async def test_reader_that_comes_late_but_reads_gets_the_reason(store: SqliteStore) -> None:
    live = Live(store)
    watcher = live.join(TurnQuery())
    assert watcher is not None
    watcher.end(SLOW)
    client = _Client(takes=10**6)
    await LiveStream(live, watcher, "")({}, client.receive, client.send)
    assert b"event: dropped\nid: " in client.taken[-2]["body"]
    assert b'"reason":"slow"' in client.taken[-2]["body"]
    assert client.taken[-1]["more_body"] is False


@pytest.mark.parametrize("takes", [0, 2, 10**6])
async def test_stream_ends_after_its_time_whether_or_not_it_is_read(
    store: SqliteStore, takes: int
) -> None:
    live = Live(store)
    watcher = live.join(None)
    assert watcher is not None
    client = _Client(takes=takes)
    stream = LiveStream(live, watcher, "", lasts_seconds=0.01)
    async with asyncio.timeout(WAIT_SECONDS):
        await stream({}, client.receive, client.send)
    assert live.watcher_count == 0
    if takes > 2:
        assert b'"reason":"renewed"' in client.taken[-2]["body"]
        assert client.taken[-1]["more_body"] is False


async def test_what_waits_is_told_before_a_stream_is_renewed(store: SqliteStore) -> None:
    live = Live(store)
    watcher = live.join(TurnQuery())
    assert watcher is not None
    watcher.tell([Gone(["ab"])])
    watcher.end(RENEWED)
    client = _Client(takes=10**6)
    await LiveStream(live, watcher, "")({}, client.receive, client.send)
    assert b"event: gone" in client.taken[-2]["body"]
    assert b"event: dropped" in client.taken[-2]["body"]


async def test_more_changes_than_are_told_one_by_one_are_told_at_once(store: SqliteStore) -> None:
    live = Live(store)
    watcher = live.join(TurnQuery())
    assert watcher is not None
    live.on_stored([_stored_turn(number) for number in range(MAX_CHANGED + 1)])
    await _until(lambda: watcher.waiting)
    assert [type(note).__name__ for note in watcher.take()] == ["Stale"]
    live.leave(watcher)


async def test_nothing_is_remembered_while_nobody_watches(store: SqliteStore) -> None:
    live = Live(store)
    live.on_stored([_stored_turn(1)])
    assert (live._changed, live._looking) == ({}, None)
