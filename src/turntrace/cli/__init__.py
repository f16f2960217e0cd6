"""The `turntrace` command: one file per subcommand, imported only when it is asked for."""

from turntrace.cli.commands import main

__all__ = ["main"]
