"""Switched off, turntrace leaves no trace: in a real process, with every library loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

APP = Path(__file__).parent / "disabled_app.py"
SWITCHES = {
    "OTEL_ENABLED=false": {"OTEL_ENABLED": "false"},
    "OTEL_SDK_DISABLED=true": {"OTEL_SDK_DISABLED": "true"},
    "OTEL_TRACES_EXPORTER=none": {"OTEL_TRACES_EXPORTER": "none"},
}
ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
HEAVY = [
    "aiohttp",
    "engineio",
    "fastapi",
    "google.protobuf",
    "httpx",
    "langchain_core",
    "langgraph",
    "opentelemetry.sdk",
    "pydantic",
    "socketio",
    "sqlalchemy",
    "sqlite3",
    "starlette",
    "uvicorn",
]
"""What a disabled turntrace must not load, as the app may not have it, or may load it later."""


def _clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TURNTRACE_"))}


@pytest.fixture(scope="module")
def changes() -> dict[str, dict[str, Any]]:
    """Return what turntrace changed in a process, by the switch that was set; "on" is none."""
    done = subprocess.run(
        [sys.executable, APP, json.dumps([*SWITCHES.values(), ON])],
        env=_clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    lines = map(json.loads, done.stdout.splitlines())
    return dict(zip([*SWITCHES, "on"], lines, strict=True))


@pytest.mark.parametrize("switch", SWITCHES)
def test_no_file_socket_module_or_thread_is_asked_for(
    switch: str, changes: dict[str, dict[str, Any]]
) -> None:
    assert changes[switch]["asked for"] == []
    assert changes[switch]["imported"] == []


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_name_of_every_library_is_what_it_was_the_global_provider_included(
    switch: str, changes: dict[str, dict[str, Any]]
) -> None:
    assert changes[switch]["replaced"] == []


@pytest.mark.parametrize("switch", SWITCHES)
def test_threads_exit_functions_files_signals_hooks_and_logging_are_what_they_were(
    switch: str, changes: dict[str, dict[str, Any]]
) -> None:
    assert changes[switch]["changed"] == []


@pytest.mark.parametrize("switch", SWITCHES)
def test_turns_and_bound_ids_do_nothing_and_flush_and_shutdown_say_that_all_is_done(
    switch: str, changes: dict[str, dict[str, Any]]
) -> None:
    assert changes[switch]["ids"] == {}
    assert changes[switch]["done"] == [True, True]


def test_the_same_app_switched_on_would_have_failed_each_of_these_claims(
    changes: dict[str, dict[str, Any]],
) -> None:
    on = changes["on"]
    assert any(event.startswith("socket.") for event in on["asked for"])
    assert "opentelemetry.trace._TRACER_PROVIDER" in on["replaced"]
    assert "starlette.applications.Starlette.__call__" in on["replaced"]
    assert {"exit functions"} <= set(on["changed"])
    assert on["imported"]
    assert len(on["ids"]) == 2


def test_switched_off_no_traced_library_is_imported() -> None:
    program = (
        "import sys, turntrace\n"
        "turntrace.configure(); turntrace.instrument()\n"
        "with turntrace.turn('x'): turntrace.bind(session_id='s')\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**_clean_environment(), "OTEL_ENABLED": "false"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
