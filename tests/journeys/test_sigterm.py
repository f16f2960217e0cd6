"""Told to end in the middle of a turn: what user, supervisor and collector get to see of it."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from ending_backend import UVICORN, EndingBackend, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ORDER = ["turns", "socket.io", "server", "database", "model", "local gemini", "telemetry"]

SLOW = {"RENOVATION_GEMINI_CHUNK_SECONDS": "0.5"}
"""With it an answer takes half a minute."""

BOUND_SECONDS = 10.0
"""Far less than what is cut short would take, and enough for a busy machine."""

TURN = "socket.io chat:user_message"


@pytest.fixture
def turns(collector: Any) -> Callable[[], list[list[Any]]]:
    """Return the spans of each turn that has arrived since the test began."""
    before = {span.wire.span_id for span in collector.spans()}

    def arrived() -> list[list[Any]]:
        spans = [span for span in collector.spans() if span.wire.span_id not in before]
        ids = [span.wire.trace_id for span in spans if span.name == TURN]
        return [[span for span in spans if span.wire.trace_id == one] for one in ids]

    return arrived


@pytest.fixture
def hanging_collector() -> Iterator[str]:
    """An address where everybody may connect and nobody is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def is_done(heard: list[tuple[str, Any]]) -> bool:
    """Tell whether the last words of an answer are among what was heard."""
    return any(name == "chat:assistant_token" and payload["done"] for name, payload in heard)


def assert_is_whole(turn: list[Any]) -> None:
    ids = {span.wire.span_id for span in turn} | {b""}
    assert all(span.wire.parent_span_id in ids for span in turn)
    names = [span.name for span in turn]
    assert names.count("chat gemini-2.5-flash") == 2
    assert names.count("INSERT chat_messages") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_a_turn_that_has_time_is_finished_and_everything_is_closed_in_order(
    number: signal.Signals, tmp_path: Path, collector: Any, turns: Any
) -> None:
    with EndingBackend(tmp_path, collector.url) as backend:
        async with Watcher(await backend.ready()) as user:
            await user.ask()
            backend.process.send_signal(number)
            heard = await user.rest()
        end = await backend.ended()
    assert is_done(heard)
    assert end.exit_code == 0
    assert backend.closed() == ORDER
    (turn,) = turns()
    assert_is_whole(turn)
    (root,) = [span for span in turn if span.name == TURN]
    assert root.attributes["turntrace.turn.outcome"] == "ok"


async def test_a_user_who_polls_gets_the_end_of_the_answer_too(
    tmp_path: Path, collector: Any
) -> None:
    with EndingBackend(tmp_path, collector.url) as backend:
        async with Watcher(await backend.ready(), "polling") as user:
            await user.ask()
            backend.process.send_signal(signal.SIGTERM)
            heard = await user.rest()
        assert is_done(heard)
        assert (await backend.ended()).exit_code == 0
    assert backend.closed() == ORDER


async def test_while_turns_finish_the_backend_is_alive_and_not_ready(
    tmp_path: Path, collector: Any
) -> None:
    with EndingBackend(tmp_path, collector.url, **SLOW) as backend:
        url = await backend.ready()
        async with Watcher(url) as user, httpx.AsyncClient(base_url=url) as probe:
            await user.ask()
            backend.process.send_signal(signal.SIGTERM)
            await backend.logged("Shutdown begins")
            ready, live = await probe.get("/health/ready"), await probe.get("/health/live")
            backend.process.send_signal(signal.SIGTERM)
            await backend.ended()
    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json()["detail"] == "The backend is shutting down."


async def test_a_turn_that_takes_too_long_is_cancelled_and_arrives_as_cancelled(
    tmp_path: Path, collector: Any, turns: Any
) -> None:
    short = {"RENOVATION_SHUTDOWN_SECONDS": "0.2"}
    with EndingBackend(tmp_path, collector.url, **SLOW, **short) as backend:
        async with Watcher(await backend.ready()) as user:
            await user.ask()
            backend.process.send_signal(signal.SIGTERM)
            end = await backend.ended()
            assert not is_done(await user.rest())
    assert end.exit_code == 0
    assert end.seconds < BOUND_SECONDS
    assert backend.closed() == ORDER
    (turn,) = turns()
    (root,) = [span for span in turn if span.name == TURN]
    assert root.attributes["turntrace.turn.outcome"] == "cancelled"


async def test_the_hard_limit_cuts_the_turns_short_and_telemetry_is_still_last(
    tmp_path: Path, collector: Any, turns: Any
) -> None:
    hard = {"RENOVATION_SHUTDOWN_LIMIT_SECONDS": "0.3"}
    with EndingBackend(tmp_path, collector.url, **SLOW, **hard) as backend:
        async with Watcher(await backend.ready()) as user:
            await user.ask()
            backend.process.send_signal(signal.SIGTERM)
            end = await backend.ended()
    assert end.exit_code == 1
    assert end.seconds < BOUND_SECONDS
    assert backend.closed() == ["telemetry"]
    assert backend.lines("Left open", resource="database", reason="the hard limit")
    (turn,) = turns()
    (root,) = [span for span in turn if span.name == TURN]
    assert root.attributes["turntrace.turn.outcome"] == "cancelled"


async def test_a_collector_that_hangs_costs_the_telemetry_s_own_limit_and_no_more(
    tmp_path: Path, hanging_collector: str
) -> None:
    with EndingBackend(tmp_path, hanging_collector) as backend:
        async with Watcher(await backend.ready()) as user:
            await user.ask()
            backend.process.send_signal(signal.SIGTERM)
            assert is_done(await user.rest())
            end = await backend.ended()
    assert end.exit_code == 0
    assert backend.closed() == ORDER
    assert end.seconds < BOUND_SECONDS
    assert backend.lines("Some spans could not be delivered")


async def test_a_second_signal_skips_to_the_telemetry_and_says_so(
    tmp_path: Path, collector: Any, turns: Any
) -> None:
    with EndingBackend(tmp_path, collector.url, **SLOW) as backend:
        async with Watcher(await backend.ready()) as user:
            await user.ask()
            backend.process.send_signal(signal.SIGINT)
            await backend.logged("Shutdown begins", signal="SIGINT")
            backend.process.send_signal(signal.SIGINT)
            end = await backend.ended()
    assert end.exit_code == 1
    assert end.seconds < BOUND_SECONDS
    assert backend.lines("Shutdown hurries: a second signal")
    assert backend.closed() == ["telemetry"]
    assert [line["resource"] for line in backend.lines("Left open")] == ORDER[:-1]
    (turn,) = turns()
    assert [span for span in turn if span.name == TURN]


async def test_under_plain_uvicorn_the_turn_is_finished_and_uvicorn_dies_of_the_signal(
    tmp_path: Path, collector: Any, turns: Any
) -> None:
    with EndingBackend(tmp_path, collector.url, UVICORN) as backend:
        async with Watcher(await backend.ready()) as user:
            await user.ask()
            backend.process.send_signal(signal.SIGTERM)
            assert is_done(await user.rest())
            end = await backend.ended()
    assert end.exit_code == -signal.SIGTERM
    assert backend.closed() == ORDER
    (turn,) = turns()
    assert_is_whole(turn)


async def test_a_request_that_never_ends_does_not_keep_uvicorn_alive(
    tmp_path: Path, collector: Any
) -> None:
    with EndingBackend(tmp_path, collector.url, UVICORN) as backend:
        url = await backend.ready()
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /api/sessions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\n{{"
        with socket.create_connection((host, int(port))) as stuck:
            stuck.sendall(head.encode())
            async with Watcher(url):  # answered later than what was sent before it
                backend.process.send_signal(signal.SIGTERM)
                end = await backend.ended()
    assert end.exit_code == 1
    assert end.seconds < BOUND_SECONDS
    assert backend.closed() == [name for name in ORDER if name != "server"]
    assert backend.lines("The server has not stopped; the process ends without it")


@pytest.mark.parametrize("is_terminal", [False, True], ids=["supervisor only", "whole group"])
async def test_each_of_two_workers_finishes_its_turns_and_closes(
    is_terminal: bool, tmp_path: Path, collector: Any, turns: Any
) -> None:
    command = (*UVICORN, "--workers", "2")
    with EndingBackend(tmp_path, collector.url, command) as backend:
        async with Watcher(await backend.ready()) as user:
            await backend.logged("Application startup complete.", times=2)
            await user.ask(until="chat:message_ack")  # the model has not been asked yet
            if is_terminal:  # as Ctrl-C does it: the supervisor then ends its workers once more
                os.killpg(backend.process.pid, signal.SIGINT)
            else:
                backend.process.send_signal(signal.SIGTERM)
            assert is_done(await user.rest())
        end = await backend.ended()
    assert end.exit_code == 0
    assert sorted(backend.closed()) == sorted(ORDER * 2)
    assert len(backend.lines("Shutdown is complete")) == 2
    assert not backend.lines("Shutdown hurries: a second signal")
    (turn,) = turns()
    assert_is_whole(turn)
