"""`make demo`: play one traced conversation, show its trace, and leave both pages open."""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from renovation import demo_user
from renovation.client import DEFAULT_MESSAGE, ChatError
from renovation.demo_check import missing

VIEW_PORT = 4318
BACKEND_PORT = 8000
START_SECONDS = 60.0
ARRIVE_SECONDS = 20.0


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; exit code 0 if the whole trace arrived, 1 if not, 2 if it could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m renovation.demo",
        description="Play one traced conversation on the reference backend and show its trace.",
        epilog="Example: python -m renovation.demo --once --transport polling",
    )
    parser.add_argument("--once", action="store_true", help="end after the conversation")
    parser.add_argument("--open", action="store_true", help="show both pages in your browser")
    parser.add_argument("--transport", choices=("websocket", "polling"), default="websocket")
    parser.add_argument("--message", default=DEFAULT_MESSAGE)
    parser.add_argument(
        "--keep-requests", type=Path, metavar="DIR", help="keep every byte the view received"
    )
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    _forget_settings()
    try:
        with ExitStack() as stack:
            return _play(options, stack)
    except DemoError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0


def _forget_settings() -> None:
    """Show what happens without any configuration, whatever this user has configured."""
    of_tracing = [name for name in os.environ if name.startswith(("OTEL_", "TURNTRACE_"))]
    # All is on this machine, unless the real Gemini is asked for.
    of_proxies = [name for name in os.environ if name.lower().endswith("_proxy")]
    for name in of_tracing + ([] if "GOOGLE_API_KEY" in os.environ else of_proxies):
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _play(options: argparse.Namespace, stack: ExitStack) -> int:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="renovation-demo-")))
    view_port, backend_port = _port(VIEW_PORT), _port(BACKEND_PORT)
    view_url = f"http://127.0.0.1:{view_port}"
    backend_url = f"http://127.0.0.1:{backend_port}"

    keep = ["--keep-requests", str(options.keep_requests)] if options.keep_requests else []
    store = ["--store", str(folder / "view.sqlite")]
    _say(f"starting turntrace view on {view_url} and the backend on {backend_url}")
    environment = _environment(view_url, folder)
    view = stack.enter_context(
        _process(
            [*_python("turntrace.cli"), "view", "--port", str(view_port), *store, *keep],
            environment,
        )
    )
    backend = stack.enter_context(
        _process([*_python("renovation"), "--port", str(backend_port)], environment)
    )
    _wait_until_ready(f"{view_url}/api/health", view)
    _wait_until_ready(f"{backend_url}/health/ready", backend)

    user = demo_user.User(backend_url, view_url, transport=options.transport)
    try:
        trace_id, result = asyncio.run(user.say(options.message))
    except (ChatError, OSError, TimeoutError) as error:
        raise DemoError(f"the conversation failed: {error}") from error
    _say(f"you: {options.message}")
    _say(f"assistant: {result.answer.strip()}")
    whole = _show(view_url, trace_id)
    if not options.once:
        pages = {
            "chat": f"{backend_url}/#{result.session_id}",
            "its turn": f"{view_url}/turns/{trace_id}",
            "all turns": f"{view_url}/",
        }
        _invite(pages, is_opening=options.open)
        _wait_for_the_end([view, backend])
    return 0 if whole else 1


def _invite(pages: Mapping[str, str], *, is_opening: bool) -> None:
    """Say where the pages are; they stay until Ctrl-C."""
    _say("\nopen in your browser, and write another message:")
    for name, url in pages.items():
        _say(f"  {name:<10} {url}")
    _say("Ctrl-C ends both.")
    if is_opening:
        for url in pages.values():
            webbrowser.open(url)


def _show(view_url: str, trace_id: str) -> bool:
    """Wait for the trace, print its waterfall and what it lacks; return whether it is whole."""
    problems = ["it did not arrive"]
    deadline = time.monotonic() + ARRIVE_SECONDS
    while problems and time.monotonic() < deadline:
        time.sleep(0.1)
        answer = httpx.get(f"{view_url}/api/traces/{trace_id}")
        if answer.status_code == httpx.codes.OK:
            problems = missing(answer.json()["spans"])
    command = [*_python("turntrace.cli"), "view", "--url", view_url, "--trace", trace_id]
    sys.stdout.flush()
    subprocess.run(command, check=False)  # noqa: S603 - our own command
    if problems:
        sys.stderr.write("demo: the trace is not whole\n")
        for problem in problems:
            sys.stderr.write(f"  - {problem}\n")
        return False
    _say("the trace is whole: HTTP -> Socket.IO -> AI -> database")
    return True


def _environment(view_url: str, folder: Path) -> Mapping[str, str]:
    """Return the environment of the demo's processes: embedded defaults, our own view."""
    return {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": view_url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "TURNTRACE_SPOOL_DIR": str((folder / "spool").resolve()),
        "RENOVATION_VIEW_URL": view_url,
        "RENOVATION_DATABASE": str(folder / "renovation.sqlite3"),
        "RENOVATION_LOG_LEVEL": os.environ.get("RENOVATION_LOG_LEVEL", "WARNING"),
    }


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _port(wanted: int) -> int:
    """Return ``wanted``, or a free port where somebody else has it."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                _say(f"port {port} is taken, using a free one instead")
                continue
            free: int = probe.getsockname()[1]
            return free
    raise DemoError("no free port on 127.0.0.1")


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of ours and end it, and only it, afterwards."""
    # In a session of its own: Ctrl-C is the demo's, which then ends its processes one by one.
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"what should answer at {url} ended with code {process.returncode}")
        try:
            if httpx.get(url, timeout=2.0).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise DemoError(f"nothing answered at {url} within {START_SECONDS:.0f} s")


def _wait_for_the_end(processes: Sequence[subprocess.Popen[Any]]) -> None:
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    ended = [process.returncode for process in processes if process.poll() is not None]
    raise DemoError(f"a process of the demo ended by itself with code {ended[0]}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
