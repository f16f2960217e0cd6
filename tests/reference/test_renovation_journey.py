"""Whole turns: real server, real client, both transports, and the commands people type."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import httpx
import pytest

from renovation import app as app_module
from renovation import client as client_module
from renovation.client import ChatClient, ChatError, ToolUse, Transport

START_SECONDS = 60.0

OwnProcess = tuple[subprocess.Popen[bytes], TextIO]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_first_message_is_answered_with_the_help_of_a_tool(
    backend: str, transport: Transport
) -> None:
    async with ChatClient(backend, transport=transport) as client:
        result = await client.first_message("I would like a japandi bedroom")
    assert result.tool_calls == [
        ToolUse(name="get_style_examples", arguments={"styles": ["japandi"]})
    ]
    assert result.answer.startswith("Japandi suits you.")
    assert result.events == [
        "chat:message_ack",
        "chat:tool_call",
        "chat:tool_result",
        *["chat:assistant_token"] * 61,
    ]
    assert 0 < result.first_token_seconds < result.seconds


async def test_a_conversation_goes_on_in_its_session(backend: str, http: httpx.AsyncClient) -> None:
    async with ChatClient(backend) as client:
        first = await client.first_message("hello", user_id="ada")
        second = await client.send(first.session_id, "A modern lamp, please")
    assert [use.name for use in second.tool_calls] == ["get_style_examples", "search_products"]
    kept = (await http.get(f"/api/sessions/{first.session_id}/messages")).json()
    assert [message["role"] for message in kept] == ["user", "assistant"] * 2


async def test_a_refused_message_is_raised(backend: str) -> None:
    async with ChatClient(backend) as client:
        with pytest.raises(ChatError, match="agent_failed"):
            await client.first_message("hello [[err:429]]")


async def test_many_turns_run_at_once(backend: str) -> None:
    async def one() -> int:
        async with ChatClient(backend) as client:
            return len((await client.first_message("modern")).events)

    assert set(await asyncio.gather(*(one() for _ in range(8)))) == {64}


@pytest.fixture(scope="module")
def own_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnProcess]:
    """`python -m renovation` as a user starts it, with the local Gemini it starts itself."""
    folder = tmp_path_factory.mktemp("process")
    removed = ("GOOGLE_API_KEY", "GEMINI_BASE_URL", "DATABASE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    environment["RENOVATION_DATABASE"] = str(folder / "renovation.sqlite3")
    with Path(folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "always::ResourceWarning", "-m", "renovation", "--port", "0"],
            env=environment,
            stderr=log,
            cwd=folder,
        )
        try:
            yield process, log
        finally:
            process.kill()
            process.wait()


async def test_the_command_serves_and_ends_cleanly_on_sigterm(own_process: OwnProcess) -> None:
    process, log = own_process
    url = await _address(log)
    (gemini,) = _children(process.pid)
    async with ChatClient(url) as client:
        result = await client.first_message()
        assert result.answer.startswith("Japandi suits you.")
        process.send_signal(signal.SIGTERM)  # while a client is connected
        # uvicorn shuts down in order and then raises the signal once more for the parent to see.
        assert await asyncio.to_thread(process.wait, 15) in {0, -signal.SIGTERM}
    assert not _is_alive(gemini)
    log.seek(0)
    text = log.read()
    assert "ResourceWarning" not in text
    assert "never awaited" not in text
    assert "Traceback" not in text


def test_the_client_command_prints_the_answer(
    backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client_module.main(["--url", backend, "--message", "hello"]) == 0
    assert "Happy to help you plan this." in capsys.readouterr().out


def test_the_client_command_says_that_nobody_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert client_module.main(["--url", "http://127.0.0.1:9"]) == 2
    assert "No backend at http://127.0.0.1:9" in capsys.readouterr().err


def test_importing_the_app_module_builds_nothing() -> None:
    assert "app" not in vars(app_module)


async def _address(log: TextIO) -> str:
    async with asyncio.timeout(START_SECONDS):
        while True:
            log.seek(0)
            for line in log:
                if "running on http" in line:
                    return line.split("running on ")[1].split()[0]
            await asyncio.sleep(0.05)


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
