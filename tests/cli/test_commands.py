"""The table of subcommands: help, and what works without the optional packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from turntrace.cli import main
from turntrace.cli.commands import COMMANDS

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"starlette", "uvicorn", "rich", "google"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from turntrace.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""Runs the command as if ``turntrace[view]`` were not installed."""


INTERRUPT = """
import runpy
import sys
class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupter())
module, entry = sys.argv.pop(1), sys.argv.pop(1)
if entry == "module":
    runpy.run_module("turntrace.cli", run_name="__main__", alter_sys=True)
else:
    from turntrace.cli import main
    sys.exit(main())
"""
"""Runs the command, and Ctrl-C comes just when it imports a module."""


@pytest.mark.parametrize(
    ("module", "entry"),
    [
        ("turntrace.cli.commands", "module"),
        ("turntrace.cli.view", "script"),
        ("uvicorn", "script"),
    ],
)
def test_interrupt_while_the_command_is_loaded_is_quiet(module: str, entry: str) -> None:
    words = [sys.executable, "-c", INTERRUPT, module, entry, "view", "--port", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def _run_without_extra(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK, *arguments], capture_output=True, text=True, check=False
    )


def test_help_needs_no_optional_package() -> None:
    done = _run_without_extra("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert command.summary in done.stdout


def test_missing_package_is_named_with_the_line_that_installs_it() -> None:
    done = _run_without_extra("view", "--port", "0")
    assert done.returncode == 2
    assert "pip install 'turntrace[view]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_command_shows_the_help_and_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_has_an_example_and_the_exit_codes(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as raised:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert raised.value.code == 0
    assert f"  turntrace {command}" in text
    assert "exit codes:" in text


def test_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out.strip()
