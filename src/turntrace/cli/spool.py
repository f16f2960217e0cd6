"""`turntrace spool`: look at the finished spans that wait on disk, and send what was left there."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Final

DRAIN_SECONDS: Final = 60.0

_DESCRIPTION = """\
Finished spans wait on disk until a collector has acknowledged them. Look at what waits there, or
send what processes that are gone have left."""

_EPILOG = """\
examples:
  turntrace spool status
  OTEL_SERVICE_NAME=chat turntrace spool drain --timeout 30
  TURNTRACE_SHIPPER=process turntrace run -- uvicorn app:app & turntrace spool ship

exit codes:
  0  all is well
  1  something needs attention, or is left
  2  it could not run: no such directory, a setting that cannot be used
"""

_STATUS = """\
Show what waits, per service and account (a hash) and per process, from the disk alone: no network,
and nothing is changed. Of a process that lives, as far as it has written and acknowledged."""

_STATUS_EPILOG = """\
exit codes:
  0  nothing needs attention
  1  damaged segments were put aside (quarantine), or more lies there than the bound
  2  the directory cannot be read
"""

_DRAIN = """\
Send what processes that are gone have left of this configuration: the service's name, the endpoint
and the headers must be those of the app, from the same environment. Then end."""

_DRAIN_EPILOG = """\
exit codes:
  0  all was acknowledged, or there was nothing
  1  something is left, or the collector refused something; the reason is said
  2  it could not run: no directory, a setting that cannot be used
"""

_SHIP = """\
Send for an app that runs with TURNTRACE_SHIPPER=process, and for all processes of this
configuration that are gone, until SIGTERM or Ctrl-C. What is unsent then stays on disk."""

_SHIP_EPILOG = """\
exit codes:
  0  it was stopped
  2  it could not run: no directory, a setting that cannot be used
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    status = _action(actions, "status", "show what waits on disk", _STATUS, _STATUS_EPILOG)
    _add_json(status)
    _add_directory(status)
    drain = _action(actions, "drain", "send what is left, then end", _DRAIN, _DRAIN_EPILOG)
    drain.add_argument(
        "--timeout",
        type=_seconds,
        default=DRAIN_SECONDS,
        metavar="SECONDS",
        help="give up after this long (default: %(default)g)",
    )
    _add_json(drain)
    _add_directory(drain)
    _add_account(drain)
    ship = _action(actions, "ship", "send until it is stopped", _SHIP, _SHIP_EPILOG)
    _add_directory(ship)
    _add_account(ship)


def run(arguments: argparse.Namespace) -> int:
    """Run one action and return its exit code."""
    return int(import_module(f"turntrace.cli.spool_{arguments.action}").run(arguments))


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return actions.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="where the spool lies, as TURNTRACE_SPOOL_DIR"
    )


def _add_account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--service-name", metavar="NAME", help="name of the service, as OTEL_SERVICE_NAME"
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="base URL, as OTEL_EXPORTER_OTLP_ENDPOINT"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 up")
    return seconds
