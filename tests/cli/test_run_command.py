"""`turntrace run`: an app without a line of ours is traced, and is otherwise as it was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import socketio

from otlp_collector import OtlpCollector
from started_program import RUN, START_SECONDS, environment, finished, serving
from turntrace.bootstrap import STARTUP_FOLDER
from turntrace.bootstrap.startup.sitecustomize import API, FAMILIES
from turntrace.instrument import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
TWO_LINES = "import turntrace\nturntrace.configure()\nturntrace.instrument()\n"
UVICORN = ["uvicorn", "app:app", "--port", "0", "--no-access-log"]
GUNICORN = ["gunicorn", "-b", "127.0.0.1:0", "-k", "uvicorn_worker.UvicornWorker", "app:app"]
MAIN = "import uvicorn\nfrom app import app\nuvicorn.run(app, port=0)\n"
ONE_SPAN = "import turntrace\nwith turntrace.turn('script'): pass\n"


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the small app stands as ``app.py``, and a module that serves it."""
    shutil.copy(HERE / "small_app.py", tmp_path / "app.py")
    (tmp_path / "serve.py").write_text(MAIN)
    return tmp_path


async def _talk(url: str) -> None:
    async with socketio.AsyncSimpleClient() as client:
        await client.connect(url, transports=["websocket"])
        assert await client.call("say", "how many walls?") == "asked"


def _is_all_there(collector: OtlpCollector) -> bool:
    wanted = {"GET /ask", "socket.io connect /", "socket.io say", "socket.io disconnect"}
    return wanted <= set(collector.names())


async def test_an_app_without_a_line_is_traced_as_one_with_two_lines(tmp_path: Path) -> None:
    cases = (("without", RUN, "", ["--workers", "2"]), ("with", [], TWO_LINES, []))
    with ExitStack() as stack:
        talks = []
        for name, start, lines, more in cases:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "app.py").write_text(lines + (HERE / "whole_app.py").read_text())
            collector = stack.enter_context(OtlpCollector())
            words, env = [*start, *UVICORN, *more], environment(collector.url)
            talks.append((collector, stack.enter_context(serving(words, folder, env))))
        for collector, server in talks:
            server.get("/ask")
            await _talk(server.url)
            collector.wait_until(partial(_is_all_there, collector))
        # Two workers send at two times: the last spans of one may come after the other's.
        sizes = [len(collector.names()) for collector, _ in talks]
        for collector, _ in talks:
            collector.wait_until(lambda seen=collector: len(seen.names()) >= max(sizes))
    without, with_two_lines = (collector.trees() for collector, _ in talks)
    assert without == with_two_lines
    assert sum("chat" in line for tree in without for line in tree) == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([*RUN, *UVICORN], -signal.SIGTERM),
        ([*RUN, *UVICORN, "--workers", "2"], 0),
        ([*RUN, *UVICORN, "--reload"], 0),
        ([*RUN, *GUNICORN], 0),
        ([*RUN, *GUNICORN, "--workers", "2", "--preload"], 0),
        ([*RUN, "python", "-m", "serve"], -signal.SIGTERM),
        ([*RUN, "python", "serve.py"], -signal.SIGTERM),
        (["opentelemetry-instrument", *UVICORN], -signal.SIGTERM),
    ],
    ids=["uvicorn", "workers", "reload", "gunicorn", "preload", "module", "script", "otel"],
)
def test_no_span_is_lost_at_sigterm(
    folder: Path, collector: OtlpCollector, words: list[str], code: int
) -> None:
    slow = environment(collector.url, OTEL_BSP_SCHEDULE_DELAY="3600000")
    with serving(words, folder, slow) as server:
        for _ in range(20):
            server.get("/ask")
        assert collector.names() == []
        server.terminate()
        assert server.process.returncode == code
        assert "turntrace" not in server.output()
    assert collector.names() == ["GET /ask"] * 20 + ["SELECT"] * 20


def test_a_collector_that_is_gone_delays_the_end_by_two_seconds_at_most(folder: Path) -> None:
    with serving(RUN + UVICORN, folder, environment()) as server:
        server.get("/ask")
        # uvicorn itself takes 0.3 s; the rest of the time is for a busy machine.
        assert server.terminate() < 4.5
        assert server.process.returncode == -signal.SIGTERM


def test_the_worker_after_a_reload_is_traced(folder: Path, collector: OtlpCollector) -> None:
    with serving([*RUN, *UVICORN, "--reload"], folder, environment(collector.url)) as server:
        before = server.get("/ask")
        collector.wait_until(lambda: len(collector.names()) == 2)
        started = time.monotonic()
        touched = 0.0
        after = before
        while after == before and time.monotonic() - started < START_SECONDS:
            if time.monotonic() - touched > 5.0:  # uvicorn may not have been watching yet
                (folder / "app.py").touch()
                touched = time.monotonic()
            threading.Event().wait(0.1)
            after = server.get("/ask")
        assert after != before
        server.terminate()
    instances = {span.resource["service.instance.id"] for span in collector.spans()}
    assert len(instances) >= 2


@pytest.mark.parametrize("words", [["python", "script.py"], ["python", "-m", "script"]])
def test_a_script_has_sent_what_it_recorded_when_it_ends(
    tmp_path: Path, collector: OtlpCollector, words: list[str]
) -> None:
    (tmp_path / "script.py").write_text(ONE_SPAN + "raise SystemExit(7)\n")
    done = finished(RUN + words, tmp_path, environment(collector.url))
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert collector.names() == ["script"]


def test_options_reach_the_app_and_win_over_the_environment(
    tmp_path: Path, collector: OtlpCollector
) -> None:
    words = [*RUN[:-1], "--service-name", "shop", "--endpoint", collector.url, "--"]
    other = environment(OTEL_SERVICE_NAME="x", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://[::1]:9")
    done = finished([*words, "python", "-c", ONE_SPAN], tmp_path, other)
    assert (done.returncode, done.stderr) == (0, "")
    assert [span.resource["service.name"] for span in collector.spans()] == ["shop"]


@pytest.mark.parametrize(
    ("arguments", "expected"), [("service_name='own'", ["own"]), ("enabled=False", [])]
)
def test_what_the_app_itself_configures_wins(
    tmp_path: Path, collector: OtlpCollector, arguments: str, expected: list[str]
) -> None:
    source = (
        "from opentelemetry import trace\ntracer = trace.get_tracer('early')\n"
        "from starlette.applications import Starlette\n"
        f"import turntrace\ntelemetry = turntrace.configure({arguments})\n"
        f"assert turntrace.configure({arguments}) is telemetry\n"
        "with tracer.start_as_current_span('one'): pass\n"
        "import wrapt\n"
        "is_hooked = isinstance(vars(Starlette)['__call__'], wrapt.FunctionWrapper)\n"
        "assert is_hooked is telemetry.settings.enabled\n"
    )
    done = finished(
        [*RUN, "python", "-c", source],
        tmp_path,
        environment(collector.url, OTEL_BSP_SCHEDULE_DELAY="5s"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("OTEL_BSP_SCHEDULE_DELAY='5s'") == 1
    assert [span.resource["service.name"] for span in collector.spans()] == expected


def test_a_second_configure_of_the_app_with_other_settings_is_refused(tmp_path: Path) -> None:
    source = "import turntrace\n" + "".join(
        f"turntrace.configure(service_name='{name}')\n" for name in "ab"
    )
    done = finished([*RUN, "python", "-c", source], tmp_path)
    assert "configure() was called before with another service_name" in done.stderr


def test_the_sitecustomize_of_the_user_still_runs_and_nothing_of_ours_is_seen(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.has_run = 1\n")
    source = (
        "import os, sys, sitecustomize, starlette, importlib.util\n"
        "assert sys.has_run == 1\n"
        f"assert sitecustomize.__file__ == {str(tmp_path / 'sitecustomize.py')!r}\n"
        f"assert {STARTUP_FOLDER!r} not in sys.path\n"
        f"assert os.environ['PYTHONPATH'].split(os.pathsep)[1:] == [{str(tmp_path)!r}]\n"
        "assert type(starlette.__spec__.loader).__name__ == 'SourceFileLoader'\n"
        "assert starlette.__loader__ is starlette.__spec__.loader\n"
        "assert 'turntrace.instrument.asgi' in sys.modules\n"
    )
    words = [*RUN, "python", "-c", source]
    done = finished(words, tmp_path, environment(PYTHONPATH=str(tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_in_the_users_sitecustomize_is_said_as_python_says_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import no_such_module\n")
    both = environment(PYTHONPATH=str(tmp_path))
    alone = finished(["python", "-c", "print(1)"], tmp_path, both)
    traced = finished([*RUN, "python", "-c", "print(1)"], tmp_path, both)
    assert traced.stdout == alone.stdout
    assert traced.stderr == 2 * alone.stderr  # the command itself is a Python, too
    assert "no_such_module" in traced.stderr


def test_switched_off_the_app_runs_as_if_started_alone(tmp_path: Path) -> None:
    source = "import os, sys, starlette\nprint(os.getenv('PYTHONPATH'), 'turntrace' in sys.modules)"
    done = finished([*RUN, "python", "-c", source], tmp_path, environment(OTEL_ENABLED="false"))
    assert (done.stdout, done.stderr) == ("None False\n", "")


def test_a_process_that_traces_nothing_does_not_even_import_turntrace(tmp_path: Path) -> None:
    source = (
        "import sys, threading, uvicorn\n"
        "print('turntrace' in sys.modules, threading.active_count())\n"
    )
    done = finished([*RUN, "python", "-c", source], tmp_path)
    assert (done.stdout, done.stderr) == ("False 1\n", "")


HELPERS = """
import multiprocessing, subprocess, sys
from multiprocessing import shared_memory

def child():
    import starlette

if __name__ == "__main__":
    import starlette
    subprocess.run([sys.executable, "-c", "import json"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "-V"], check=True, stdout=subprocess.DEVNULL)
    memory = shared_memory.SharedMemory(create=True, size=1)
    memory.close()
    memory.unlink()
    if "spawn" in sys.argv:
        process = multiprocessing.get_context("spawn").Process(target=child)
        process.start()
        process.join()
"""


@pytest.mark.parametrize(("words", "expected"), [([], 1), (["spawn"], 2)])
def test_a_bad_value_is_one_warning_in_each_process_that_traces(
    tmp_path: Path, words: list[str], expected: int
) -> None:
    (tmp_path / "main.py").write_text(HELPERS)
    bad = environment(OTEL_BSP_SCHEDULE_DELAY="5s")
    done = finished([*RUN, "python", "main.py", *words], tmp_path, bad)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == expected, done.stderr
    assert all("OTEL_BSP_SCHEDULE_DELAY='5s'" in line for line in lines)


@pytest.mark.parametrize(
    ("first", "name", "hooked"),
    [
        ("fastapi.routing", "asgi", "fastapi.FastAPI.__call__"),
        ("starlette.applications", "asgi", "starlette.applications.Starlette.__call__"),
        ("langgraph.graph", "langgraph", "langgraph.pregel.Pregel.astream"),
        ("socketio.async_server", "socketio", "socketio.AsyncServer.emit"),
        ("sqlalchemy.ext.asyncio", "sqlalchemy", ""),
        ("httpx", "httpx", "httpx.Client.send"),
        ("aiohttp.web", "aiohttp", "aiohttp.ClientSession._request"),
    ],
)
def test_a_library_is_hooked_whole_whichever_of_its_modules_is_first(
    tmp_path: Path, first: str, name: str, hooked: str
) -> None:
    source = (
        f"import {first}, pkgutil, sys, wrapt\n"
        f"assert {name!r} in sys.modules['turntrace.instrument']._on\n"
        f"owner, _, method = {hooked!r}.rpartition('.')\n"
        "hooked = vars(pkgutil.resolve_name(owner))[method] if owner else None\n"
        "assert isinstance(hooked, wrapt.FunctionWrapper | None), hooked\n"
    )
    done = finished([*RUN, "python", "-c", source], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_instrumentation_is_waited_for() -> None:
    libraries = {name: row for name, row in BUILTIN.items() if name != "logging"}
    assert set(FAMILIES) - {API} == set(libraries)
    for name, row in libraries.items():
        assert row.requires in FAMILIES[name]


def test_a_view_that_a_traced_app_starts_does_not_trace_itself(tmp_path: Path) -> None:
    source = (
        "from turntrace.cli import main\nimport starlette.applications, wrapt\n"
        "assert not isinstance(starlette.applications.Starlette.__call__, wrapt.ObjectProxy)\n"
    )
    done = finished([*RUN, "python", "-c", source], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_python_without_turntrace_runs_the_app_and_says_so_once(tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    for library in ("starlette", "httpx"):
        (tmp_path / f"{library}.py").write_text("")
    source = "import starlette, httpx; print('runs')"
    done = finished([*RUN, str(other / "bin" / "python"), "-c", source], tmp_path)
    assert (done.returncode, done.stdout) == (0, "runs\n")
    assert done.stderr.count("\n") == 1
    assert f"turntrace is not installed for {other / 'bin' / 'python'}" in done.stderr


def test_a_turntrace_that_cannot_be_imported_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "turntrace.py").write_text("1 / 0\n")
    done = finished([*RUN, "python", "-c", "import starlette, httpx; print('runs')"], tmp_path)
    assert (done.returncode, done.stdout) == (0, "runs\n")
    assert done.stderr.count("\n") == 1
    assert "turntrace cannot be imported (ZeroDivisionError)" in done.stderr


def test_the_process_becomes_the_command_with_default_signals(tmp_path: Path) -> None:
    source = "import os, signal; print(os.getpid(), flush=True); os.kill(os.getpid(), 15)"
    process = subprocess.Popen(
        [*RUN, "python", "-c", source], env=environment(), stdout=subprocess.PIPE, text=True
    )
    out, _ = process.communicate(timeout=START_SECONDS)
    assert (out, process.returncode) == (f"{process.pid}\n", -signal.SIGTERM)
    piped = finished([*RUN, "sh", "-c", "(yes; echo $? >&2) | head -n 1"], tmp_path)
    assert (piped.stdout, piped.stderr) == ("y\n", "141\n")
