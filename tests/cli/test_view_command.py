"""`turntrace view` as a user runs it: a process, a port, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import urllib3
from turn_trace import TRACE_ID, build_turn

from turntrace.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "turntrace.cli"]
WAIT_SECONDS = 20
HTTP = urllib3.PoolManager()


@contextmanager
def _running_view(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a view on a free port until the block ends; yields the process and its address."""
    process = subprocess.Popen(
        [*COMMAND, "view", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"turntrace view on (http://\S+) \(store: .+\)\n", line)
        assert found, (line, process.stderr.read() if process.stderr and not line else "")
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def _post(url: str, trace_id: bytes = TRACE_ID, **headers: str) -> int:
    body = build_turn(trace_id).request.SerializeToString()
    content = {"Content-Type": "application/x-protobuf", **headers}
    return HTTP.request("POST", f"{url}/v1/traces", body=body, headers=content).status


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running view that holds one turn."""
    store = tmp_path_factory.mktemp("view") / "view.sqlite"
    with _running_view("--store", str(store)) as (_, url):
        assert _post(url) == 200
        yield url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_view_says_one_line_and_ends_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    store = tmp_path / "new" / "view.sqlite"
    with _running_view("--store", str(store)) as (process, url):
        assert HTTP.request("GET", f"{url}/api/health").status == 200
        assert _post(url) == 200
        process.send_signal(number)
        output, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, output, errors) == (0, "", "")
    assert [path.name for path in store.parent.iterdir()] == ["view.sqlite"]


def test_stored_trace_survives_a_killed_view(tmp_path: Path) -> None:
    arguments = ("--store", str(tmp_path / "view.sqlite"))
    with _running_view(*arguments) as (process, url):
        assert _post(url) == 200
        process.kill()
        process.wait(WAIT_SECONDS)
    with _running_view(*arguments) as (_, url):
        assert HTTP.request("GET", f"{url}/api/traces/{TRACE_ID.hex()}").status == 200


def test_view_keeps_requests_and_asks_for_its_token(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "kept"
    arguments = ("--store", str(tmp_path / "view.sqlite"), "--keep-requests", str(directory))
    with _running_view(*arguments, "--token", "s3cret", "--host", "0.0.0.0") as (_, bound):  # noqa: S104 - with a token
        url = bound.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - not bound here
        assert _post(url) == 401
        assert _post(url, Authorization="Bearer s3cret") == 200
        assert main(["view", "--trace", "latest", "--url", url]) == 2
        assert main(["view", "--trace", "latest", "--url", url, "--token", "s3cret"]) == 0
    (kept,) = directory.iterdir()
    assert kept.read_bytes() == build_turn().request.SerializeToString()


def test_large_request_is_refused_over_a_real_connection(view: str) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    body = bytes(16 * 1024 * 1024 + 1)
    response = HTTP.request("POST", f"{view}/v1/traces", body=body, headers=headers)
    assert response.status == 413


@pytest.mark.parametrize("trace", ["latest", TRACE_ID.hex(), TRACE_ID.hex().upper()])
def test_trace_is_drawn(view: str, capsys: pytest.CaptureFixture[str], trace: str) -> None:
    assert main(["view", "--trace", trace, "--url", view]) == 0
    drawn = capsys.readouterr().out
    assert drawn.startswith("socket.io chat:user_message")
    assert "execute_tool get_style_examples" in drawn


def test_trace_is_printed_as_json(view: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "--trace", "latest", "--url", view + "/", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["span_count"] == 16


def test_unknown_trace_exits_with_one(view: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "--trace", "f" * 32, "--url", view, "--wait", "0.2"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no trace ffff" in captured.err


def test_waiting_ends_as_soon_as_the_trace_is_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(WAIT_SECONDS)
        port = silent.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        asking = subprocess.Popen(
            [*COMMAND, "view", "--trace", "latest", "--url", url, "--wait", str(WAIT_SECONDS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        silent.accept()[0].close()  # it has asked, and got no answer
    arguments = ("--port", str(port), "--store", str(tmp_path / "view.sqlite"))
    with _running_view(*arguments) as (_, url):
        started = time.monotonic()
        assert _post(url) == 200
        output, _ = asking.communicate(timeout=WAIT_SECONDS)
        assert time.monotonic() - started < WAIT_SECONDS / 2
    assert asking.returncode == 0
    assert output.startswith("socket.io chat:user_message")


def test_reader_that_leaves_early_is_no_error(view: str) -> None:
    words = [*COMMAND, "view", "--trace", "latest", "--json", "--url", view]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        done = subprocess.run(words, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_at_the_address_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert main(["view", "--trace", "latest", "--url", url]) == 2
    assert "start one with `turntrace view`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "not as a turntrace view does"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not as a turntrace view does"),
        ("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", "not as a turntrace view does"),
        ("nonsense", "no view answers"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + "[" * 50_000, "not as a turntrace"),
        (
            'HTTP/1.1 503 No\r\nContent-Length: 35\r\n\r\n{"detail":"\\u001b[31mred\\u001b[0m"}',
            "turntrace view: red\n",
        ),
    ],
)
def test_address_of_another_server_exits_with_two(
    capsys: pytest.CaptureFixture[str], reply: str, message: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer, args=(server, reply))
        answering.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert main(["view", "--trace", "f" * 32, "--url", url]) == 2
        answering.join()
    assert message in capsys.readouterr().err


def _answer(server: socket.socket, reply: str) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(10_000)
        connection.sendall(reply.encode())


def test_address_that_is_none_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "--trace", "latest", "--url", "nonsense://x"]) == 2
    assert "--url" in capsys.readouterr().err


def test_taken_port_exits_with_two_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        store = tmp_path / "view.sqlite"
        assert main(["view", "--port", port, "--store", str(store)]) == 2
    assert f"port {port} of 127.0.0.1 is taken" in (text := capsys.readouterr().err)
    assert "--port" in text
    assert not store.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "give --token"),  # noqa: S104 - it is refused
        (["--host", "no such host", "--token", "x"], "cannot be used"),
        (["--token", ""], "printable ASCII"),
        (["--token", "a b"], "printable ASCII"),
        (["--host", ""], "--host is empty"),
        (["--host", "", "--token", "x"], "--host is empty"),
        (["--keep-requests", "~no-such-user/kept"], "~no-such-user/kept has no meaning"),
    ],
)
def test_unusable_options_exit_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    store = ["--port", "0", "--store", str(tmp_path / "view.sqlite")]
    assert main(["view", *store, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("token", ["a\nb", "é€", "", "\ud800"])
def test_token_that_no_view_has_exits_with_two(
    capsys: pytest.CaptureFixture[str], token: str
) -> None:
    assert main(["view", "--trace", "latest", "--token", token]) == 2
    assert "printable ASCII" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["http://a\nb", "http://é€.\ud800", "http://[", "", "localhost:4318"]
)
def test_address_of_nonsense_exits_with_two(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main(["view", "--trace", "latest", "--url", url]) == 2
    assert "--url" in capsys.readouterr().err


def test_tilde_is_the_home_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with _running_view("--store", "~/s/view.sqlite", "--keep-requests", "~/kept") as (_, url):
        assert _post(url) == 200
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert (tmp_path / "s" / "view.sqlite").exists()


def test_store_that_is_no_store_exits_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "some.py"
    store.write_bytes(b"import this\n" * 200)
    assert main(["view", "--port", "0", "--store", str(store)]) == 2
    assert "some.py is not a turntrace store" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trace", "../health"],
        ["--trace", ""],
        ["--port", "70000"],
        ["--wait", "-1"],
        ["--wait", "x"],
    ],
)
def test_wrong_arguments_exit_with_two(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["view", *arguments])
    assert raised.value.code == 2
    assert "error: argument" in capsys.readouterr().err
