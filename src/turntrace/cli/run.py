"""`turntrace run`: start an app traced that has no line of turntrace in it."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from turntrace.bootstrap import STARTUP_FOLDER
from turntrace.cli.cleaning import clean
from turntrace.errors import ConfigurationError
from turntrace.settings import load

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127
"""Both as a shell says it."""

_IGNORES_PYTHONPATH: Final = frozenset("IES")
_OPTIONS_WITH_VALUE: Final = frozenset("WX")
_ENV_OPTIONS_WITH_VALUE: Final = ("-u", "--unset", "-C", "--chdir")
_ENV_SPLITS: Final = ("-S", "--split-string=")
_ENDS_OPTIONS: Final = frozenset("cm")
_MAX_SHEBANG_BYTES: Final = 256

_DESCRIPTION = """\
Start CMD with turntrace in it, and in every Python process that CMD starts: as if the app called
turntrace.configure() and turntrace.instrument() itself, which it may do as well. Everything else
is set by the environment. CMD replaces this process: signals and exit code are its own."""

_EPILOG = """\
examples:
  turntrace run -- uvicorn app:app --workers 2
  turntrace run --service-name shop -- gunicorn -k uvicorn_worker.UvicornWorker app:app
  turntrace run -- python -m my_worker

exit codes:
  2    it could not start: nothing to run, or an option that cannot be used
  126  CMD cannot be executed
  127  CMD was not found
  else whatever CMD ends with
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.usage = "turntrace run [-h] [--service-name NAME] [--endpoint URL] -- CMD ..."
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument(
        "--service-name", metavar="NAME", help="name of the service, as OTEL_SERVICE_NAME"
    )
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="base URL of the receiver, as OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD", help="what to run")


def run(arguments: argparse.Namespace) -> int:
    """Become the command; return an exit code only if that is impossible."""
    words: list[str] = arguments.words
    if words and words[0] == "--":
        words = words[1:]
    if not words:
        raise ConfigurationError(
            "nothing to run: write the command after --, as in: turntrace run -- uvicorn app:app"
        )
    program = shutil.which(words[0])
    if program is None:
        return _not_found(words[0])
    environment = _environment(arguments)
    if environment.get("PYTHONPATH", "").startswith(STARTUP_FOLDER):
        option = ignoring_option(words) or ignoring_option(_shebang(words))
        if option:
            sys.stderr.write(
                f"turntrace run: Python's {option} ignores PYTHONPATH, so the app runs untraced;"
                " call turntrace.configure() and turntrace.instrument() in it\n"
            )
    return _become(program, words, environment)


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Return this process's environment with the options in it, and the folder in front.

    Where telemetry is switched off, the folder is left out: the app runs as if started alone.
    """
    given = {
        name: value
        for name, value in (
            ("service_name", arguments.service_name),
            ("endpoint", arguments.endpoint),
        )
        if value is not None
    }
    settings, _ = load(given)  # its warnings are for the app's process, which reads the same again
    environment = dict(os.environ)
    if "service_name" in given:
        environment["OTEL_SERVICE_NAME"] = settings.service_name
    if "endpoint" in given:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.endpoint
        environment.pop("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None)  # it would win
    environment.update(_python_path(environment.pop("PYTHONPATH", ""), is_traced=settings.enabled))
    return environment


def _python_path(old: str, *, is_traced: bool) -> dict[str, str]:
    """Return the variable with the folder in front, or without it; an empty one is none."""
    # An entry that is empty stands for the current directory, so no entry of others is touched.
    paths = [path for path in old.split(os.pathsep) if path != STARTUP_FOLDER] if old else []
    if is_traced:
        paths.insert(0, STARTUP_FOLDER)
    return {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}


def ignoring_option(words: Sequence[str]) -> str:
    """Return the option by which the Python in ``words`` ignores PYTHONPATH, or nothing."""
    words = without_env(words)
    if not words or not Path(words[0]).name.startswith(("python", "pypy")):
        return ""
    following = iter(words[1:])
    for word in following:
        if len(word) < 2 or word[0] != "-" or word.startswith("--"):  # noqa: PLR2004 - a dash and a letter
            break
        for position, letter in enumerate(word[1:], start=1):
            if letter in _IGNORES_PYTHONPATH:
                return f"-{letter}"
            if letter in _ENDS_OPTIONS:
                return ""
            if letter in _OPTIONS_WITH_VALUE:
                if position == len(word) - 1:
                    next(following, None)
                break
    return ""


def without_env(words: Sequence[str]) -> Sequence[str]:
    """Return what ``env`` in front of a command runs, as far as its words tell."""
    if not words or Path(words[0]).name != "env":
        return words
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word in _ENV_OPTIONS_WITH_VALUE:
            del rest[:1]
        elif word.startswith(_ENV_SPLITS):
            start = next(start for start in _ENV_SPLITS if word.startswith(start))
            text = word.removeprefix(start) or (rest.pop(0) if rest else "")
            rest[:0] = text.split()
        elif not word.startswith("-") and "=" not in word:
            return [word, *rest]
    return []


def _shebang(words: Sequence[str]) -> list[str]:
    """Return the words of a script's first line, of a console script for example."""
    rest = without_env(words)
    program = shutil.which(rest[0]) if rest else None
    if program is None:
        return []
    try:
        with Path(program).open("rb") as file:
            line = file.readline(_MAX_SHEBANG_BYTES)
    except OSError:
        return []
    return line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []


def _become(program: str, words: list[str], environment: dict[str, str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):  # Python ignores them, and CMD would inherit that
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execve(program, words, environment)  # noqa: S606 - what the user asked for, without a shell
    except OSError as error:
        reason = error.strerror or type(error).__name__
        sys.stderr.write(f"turntrace run: {clean(program)} cannot be executed: {reason}\n")
        return EXIT_NOT_EXECUTABLE


def _not_found(word: str) -> int:
    """Say why there is nothing to execute, as a shell would."""
    places = [word] if os.sep in word else [os.path.join(p, word) for p in os.get_exec_path()]  # noqa: PTH118
    if any(Path(place).exists() for place in places):
        sys.stderr.write(
            f"turntrace run: {clean(word)} cannot be executed: it is no program, or not yours to"
            " execute\n"
        )
        return EXIT_NOT_EXECUTABLE
    sys.stderr.write(f"turntrace run: {clean(word)} was not found; is its environment active?\n")
    return EXIT_NOT_FOUND
