"""`turntrace view`: run the view, or print one trace of a view that runs."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from turntrace.cli.commands import EXIT_NO, EXIT_OK
from turntrace.errors import ConfigurationError, MissingLibraryError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4318
DEFAULT_STORE = Path("~/.local/state/turntrace/view.sqlite")
DEFAULT_URL = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
MAX_PORT = 65535

_DESCRIPTION = """\
Receive traces on the standard OTLP port and keep them in a file; or, with --trace, print one
trace of a view that is already running.

An app and a view on one machine find each other without any configuration."""

_EPILOG = """\
examples:
  turntrace view                                  receive on http://127.0.0.1:4318
  turntrace view --trace latest                   print the newest trace
  turntrace view --trace 4bf92f3577b34da6a3ce929d0e0e4736 --wait 5 --json

exit codes:
  0  the view was stopped by Ctrl-C or SIGTERM; with --trace, the trace was printed
  1  with --trace: no such trace (within --wait SECONDS)
  2  it could not run: wrong arguments, port taken, store unusable, package missing, no view at URL
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    serving = parser.add_argument_group("running a view")
    serving.add_argument(
        "--host",
        default=DEFAULT_HOST,
        help="address to listen on; other than loopback only with --token (default: %(default)s)",
    )
    serving.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)"
    )
    serving.add_argument(
        "--store",
        type=Path,
        metavar="PATH",
        default=DEFAULT_STORE,
        help="the file that keeps the spans (default: %(default)s)",
    )
    serving.add_argument(
        "--keep-requests",
        type=Path,
        metavar="DIR",
        help="write every body received, decompressed, to a file in DIR",
    )
    asking = parser.add_argument_group("printing one trace")
    asking.add_argument("--trace", type=_trace_id, metavar="ID", help="32 hex digits, or: latest")
    asking.add_argument("--url", default=DEFAULT_URL, help="the view to ask (default: %(default)s)")
    asking.add_argument("--json", action="store_true", help="print the trace as JSON")
    asking.add_argument(
        "--wait",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="ask again until every parent in the trace has arrived, at most this long",
    )
    parser.add_argument(
        "--token",
        help="what every request must carry as `Authorization: Bearer TOKEN`;"
        " in a browser open the page with ?token=TOKEN once",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return _serve(arguments) if arguments.trace is None else _print_trace(arguments)


def _serve(arguments: argparse.Namespace) -> int:
    try:
        from turntrace.view import server
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    options = server.ViewOptions(
        host=arguments.host,
        port=arguments.port,
        store=_without_tilde(arguments.store),
        token=arguments.token,
        keep_requests=arguments.keep_requests and _without_tilde(arguments.keep_requests),
    )
    server.serve(options, announce=lambda line: print(line, flush=True))  # noqa: T201 - its one line
    return EXIT_OK


def _without_tilde(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{path} has no meaning here: {error}") from error


def _missing(error: ModuleNotFoundError) -> MissingLibraryError:
    if (error.name or "").startswith("turntrace"):
        raise error
    return MissingLibraryError(
        f"`turntrace view` needs the package {error.name!r}: pip install 'turntrace[view]'"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it must be from 0 to {MAX_PORT}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 up")
    return seconds


def _print_trace(arguments: argparse.Namespace) -> int:
    from turntrace.cli.ask import View

    view = View(url=arguments.url, token=arguments.token)
    trace = view.whole_trace(arguments.trace, arguments.wait)
    if trace is None:
        sys.stderr.write(f"turntrace view: no trace {arguments.trace} at {arguments.url}\n")
        return EXIT_NO
    if arguments.json:
        json.dump(trace, sys.stdout, ensure_ascii=True)
        sys.stdout.write("\n")
    else:
        try:
            from turntrace.cli.printing import print_waterfall
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        print_waterfall(trace, sys.stdout)
    return EXIT_OK


def _trace_id(text: str) -> str:
    text = text.lower()
    if text != "latest" and not re.fullmatch("[0-9a-f]{32}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither 32 hexadecimal digits nor: latest")
    return text
