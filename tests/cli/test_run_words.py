"""`turntrace run`: which words it takes for its own, and what it says of those it cannot run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from started_program import RUN, finished
from turntrace.cli.run import ignoring_option

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_to_run_is_said_with_an_example(tmp_path: Path) -> None:
    done = finished(RUN, tmp_path)
    assert done.returncode == 2
    assert "turntrace run -- uvicorn app:app" in done.stderr


def test_an_option_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    words = [*RUN[:-1], "--endpoint", "localhost", "--", "true"]
    done = finished(words, tmp_path)
    assert done.returncode == 2
    assert "endpoint" in done.stderr


def test_what_cannot_be_run_ends_as_a_shell_ends_it(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "garbled").write_bytes(b"\0\1\2")
    (tmp_path / "garbled").chmod(0o700)
    codes = {
        name: finished([*RUN, name], tmp_path).returncode
        for name in ("no-such-command", "./missing", "./text", "./garbled", ".")
    }
    assert codes == {
        "no-such-command": 127,
        "./missing": 127,
        "./text": 126,
        "./garbled": 126,
        ".": 126,
    }


def test_words_of_the_command_are_its_own(tmp_path: Path) -> None:
    source = "import sys; print(sys.argv[1:])"
    for start in (RUN, RUN[:-1]):
        done = finished([*start, "python", "-c", source, "--", "view", "--help", "--"], tmp_path)
        assert done.stdout == "['--', 'view', '--help', '--']\n"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["python", "-I", "app.py"], "-I"),
        (["/usr/bin/python3.11", "-uE", "app.py"], "-E"),
        (["python", "-X", "dev", "-S", "app.py"], "-S"),
        (["python", "-P", "app.py", "-I"], ""),
        (["python", "-m", "app", "-I"], ""),
        (["python", "-WIgnore", "app.py"], ""),
        (["uvicorn", "-I"], ""),
        (["env", "python", "-I", "app.py"], "-I"),
        (["/usr/bin/env", "-u", "HOME", "--chdir", "/", "A=1", "B=", "python3", "-E"], "-E"),
        (["env", "-S", "A=1 python -S", "app.py"], "-S"),
        (["env", "-Spython -I"], "-I"),
        (["env", "--unset=A", "-", "uvicorn", "-I"], ""),
        (["env", "A=python", "-I"], ""),
        (["env"], ""),
    ],
)
def test_an_option_that_hides_pythonpath_is_found(words: list[str], option: str) -> None:
    assert ignoring_option(words) == option


def test_an_isolated_python_is_warned_of_and_runs(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable} -I\nprint('runs')\n")
    script.chmod(0o700)
    isolated = ["python", "-I", "-c", "print('runs')"]
    for words in (isolated, ["./script"], ["env", "A=1", *isolated], ["env", "./script"]):
        done = finished([*RUN, *words], tmp_path)
        assert (done.returncode, done.stdout) == (0, "runs\n")
        assert "-I ignores PYTHONPATH, so the app runs untraced" in done.stderr
    safe = finished(
        [*RUN, "python", "-P", "-c", "import sys, starlette; print('turntrace' in sys.modules)"],
        tmp_path,
    )
    assert (safe.stdout, safe.stderr) == ("True\n", "")
