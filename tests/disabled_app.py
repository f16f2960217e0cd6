"""An app that says what turntrace changed in its process; run by the test beside it.

The libraries are loaded once; each app is a fork with an environment of its own, which loads
turntrace, uses its public face, and writes down what is not as it was.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "aiohttp",
    "fastapi",
    "httpx",
    "langchain_core.language_models.chat_models",
    "langchain_core.tools",
    "langgraph.pregel",
    "logging.handlers",
    "loguru",
    "socketio",
    "sqlalchemy.ext.asyncio",
    "starlette.applications",
    "structlog",
)
ROOTS = {name.partition(".")[0] for name in LIBRARIES} | {"asyncio", "engineio", "opentelemetry"}
TELLING = ("open", "import", "socket.", "os.", "mmap.", "sqlite3.", "subprocess.", "_thread.")
"""What an audit event begins with if it is about files, modules, network, processes or threads."""


def attributes() -> dict[str, int]:
    """Return which object stands under every name of every module and class of the libraries."""
    found: dict[str, int] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in ROOTS:
            continue
        for key, value in list(vars(module).items()):
            found[f"{name}.{key}"] = id(value)
            if isinstance(value, type) and value.__module__ == name:
                found.update(
                    {f"{name}.{key}.{part}": id(made) for part, made in vars(value).items()}
                )
    return found


def process() -> dict[str, Any]:
    """Return what else of the process somebody could notice."""
    loggers = [logging.root, *filter(_is_logger, logging.root.manager.loggerDict.values())]
    return {
        "threads": [thread.name for thread in threading.enumerate()],
        "exit functions": atexit._ncallbacks(),
        "files": sorted(path.name for path in Path("/proc/self/fd").glob("*")),
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "hooks": [id(sys.excepthook), id(threading.excepthook), id(sys.unraisablehook)],
        "finders": [id(finder) for finder in [*sys.meta_path, *sys.path_hooks]],
        "environment": dict(os.environ),
        "logging": {
            log.name: [log.level, log.disabled, log.propagate, len(log.handlers), len(log.filters)]
            for log in loggers
        },
    }


def _is_logger(value: object) -> bool:
    return isinstance(value, logging.Logger)


def changes() -> dict[str, Any]:
    """Use turntrace as an app does; return what changed meanwhile and what was asked of Python."""
    import turntrace
    from turntrace.logs import get_trace_context

    log = logging.getLogger("app")
    seen: list[str] = []
    is_listening = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if is_listening and event.startswith(TELLING):
            seen.append(f"{event} {arguments[:1]}")

    names, rest, modules = attributes(), process(), set(sys.modules)
    sys.addaudithook(listen)
    telemetry = turntrace.configure()
    turntrace.instrument()
    with turntrace.turn("first"), turntrace.turn("inner"):
        turntrace.bind(session_id="s1", **{"renovation.phase": "INTAKE"})
        ids = get_trace_context()
    turntrace.turn("decorated")(lambda: log.debug("said"))()
    done = telemetry.force_flush(1.0), telemetry.shutdown(1.0)
    is_listening = False
    after, rest_after = attributes(), process()
    return {
        "asked for": seen,
        "replaced": sorted(key for key in names | after if names.get(key) != after.get(key)),
        "changed": sorted(key for key, value in rest.items() if rest_after[key] != value),
        "imported": sorted(set(sys.modules) - modules),
        "ids": ids,
        "done": done,
    }


def main() -> None:
    """Read environments from the first argument, write what changed under each to the output."""
    for name in LIBRARIES:
        import_module(name)
    gc.freeze()
    for environ in json.loads(sys.argv[1]):
        child = os.fork()
        if child == 0:
            os.environ.update(environ)
            sys.stdout.write(json.dumps(changes()) + "\n")
            return
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
