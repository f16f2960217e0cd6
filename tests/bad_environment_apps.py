"""Starts an app of its own process for each environment it is handed; run by the tests beside it.

The libraries are loaded once, and each app is forked from there; OpenTelemetry and turntrace are
loaded in the fork, under the environment in question, as they read it when they are imported.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

AT_ONCE = 4
LIMIT_SECONDS = 60
LIBRARIES = (
    "aiohttp",
    "fastapi",
    "genai_prices.data",
    "httpx",
    "langchain_core.language_models.chat_models",
    "langchain_core.tools",
    "langgraph.pregel",
    "msgspec",
    "socketio",
    "sqlalchemy.ext.asyncio",
    "starlette.applications",
    "urllib3",
    "wrapt",
)


def app() -> None:
    """Do what an app does: two lines, one turn, and the end of the process."""
    import turntrace

    turntrace.configure()
    turntrace.instrument()
    with turntrace.turn("started"):
        pass


def _become(environ: dict[str, str], output: Path) -> None:
    """Turn this fork into a process with ``environ`` that writes to ``output``."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "TURNTRACE_"))]:
        del os.environ[name]
    os.environ["HOME"] = str(output.parent)  # where the spool is by default
    os.environ.update(environ)
    for number, kind in ((1, "out"), (2, "err")):
        opened = os.open(output.with_suffix(f".{kind}"), os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)


def main() -> None:
    """Read environments from standard input; leave number.out, .err and .code in a folder."""
    folder = Path(sys.argv[1])
    jobs: list[dict[str, str]] = json.load(sys.stdin)
    for name in LIBRARIES:
        import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        del sys.modules[name]
    assert not any(name.partition(".")[0] == "turntrace" for name in sys.modules)
    # The forks load our modules; one of them compiles, whatever the shell says of bytecode.
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder / "bytecode")
    gc.freeze()  # each fork would copy all of it when it collects garbage at its end
    running: dict[int, int] = {}
    for number, environ in enumerate(jobs):
        if len(running) == AT_ONCE:
            _end_of_one(running, folder)
        child = os.fork()
        if child == 0:
            signal.alarm(LIMIT_SECONDS)  # an app that hangs is killed, and its test fails
            _become(environ, folder / str(number))
            app()
            return
        running[child] = number
    while running:
        _end_of_one(running, folder)


def _end_of_one(running: dict[int, int], folder: Path) -> None:
    child, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    (folder / f"{running.pop(child)}.code").write_text(str(code))


if __name__ == "__main__":
    main()
