"""The `turntrace` command: one file per subcommand, imported only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

EXIT_INTERRUPTED = 130
"""As a shell says of a program that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; Ctrl-C ends it quietly, also while it is loaded.

    Args:
        arguments: the words after the program's name; those of the process by default.
    """
    try:
        from turntrace.cli import commands

        return commands.run(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
