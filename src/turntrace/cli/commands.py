"""The table of subcommands, and what is the same for all of them: arguments and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module, metadata
from typing import TYPE_CHECKING, NamedTuple

from turntrace.errors import TurntraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_OK = 0
EXIT_NO = 1
"""The command ran, and its answer is no: nothing found, nothing sent."""
EXIT_USAGE = 2
"""The command could not run: wrong arguments, a missing package, a port that is taken."""


class Command(NamedTuple):
    """One subcommand; its module has ``add_arguments(parser)`` and ``run(arguments) -> int``."""

    name: str
    module: str
    summary: str


COMMANDS = (
    Command("run", "turntrace.cli.run", "start an app traced, without a line of code in it"),
    Command(
        "spool", "turntrace.cli.spool", "show what waits on disk, and send what was left there"
    ),
    Command("view", "turntrace.cli.view", "receive traces and show them, on one local port"),
)


def run(arguments: Sequence[str] | None) -> int:
    """Run one command and return its exit code; see ``turntrace.cli.main``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(words).parse_args(words)
    if parsed.command is None:
        _parser([]).print_help()
        return EXIT_USAGE
    try:
        code = int(import_module(_module(parsed.command)).run(parsed))
        sys.stdout.flush()
    except TurntraceError as error:
        sys.stderr.write(f"turntrace {parsed.command}: {error}\n")
        return EXIT_USAGE
    except BrokenPipeError:
        # Whoever read us has seen enough (`| head`); nothing may be written any more, even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; only the command that is asked for is imported for its arguments."""
    parser = argparse.ArgumentParser(
        prog="turntrace",
        description="One trace per chat turn: HTTP, Socket.IO, AI, database.",
        epilog="example: turntrace view",
    )
    parser.add_argument("--version", action="version", version=metadata.version("turntrace"))
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.name in words:
            import_module(command.module).add_arguments(subparser)
    return parser


def _module(name: str) -> str:
    return next(command.module for command in COMMANDS if command.name == name)
