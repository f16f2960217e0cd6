"""Claims about where the spool lies, and what becomes of a place that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from turntrace.errors import ConfigurationError
from turntrace.settings import Settings, load


def loaded(**environ: str) -> tuple[Settings, list[str]]:
    return load(environ=environ)


def test_the_spool_lies_in_the_state_directory_of_the_user() -> None:
    settings, warnings = loaded(XDG_STATE_HOME="/state")
    assert settings.spool_root == Path("/state/turntrace/spool")
    assert not warnings


def test_without_a_state_directory_it_lies_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr("sys.platform", "linux")
    assert loaded()[0].spool_root == Path("/home/somebody/.local/state/turntrace/spool")


def test_its_own_variable_wins_and_may_begin_with_the_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    settings, _ = loaded(XDG_STATE_HOME="/state", TURNTRACE_SPOOL_DIR="~/spans")
    assert settings.spool_root == Path("/home/somebody/spans")


@pytest.mark.parametrize("text", ["off", "OFF"])
def test_off_means_memory_only(text: str) -> None:
    settings, warnings = loaded(TURNTRACE_SPOOL_DIR=text)
    assert settings.spool_root is None
    assert not warnings


def test_a_relative_path_is_one_warning_and_the_default_is_used() -> None:
    settings, (warning,) = loaded(XDG_STATE_HOME="/state", TURNTRACE_SPOOL_DIR="spans")
    assert settings.spool_root == Path("/state/turntrace/spool")
    assert warning == (
        "TURNTRACE_SPOOL_DIR='spans' is no absolute path; using the user's state directory"
    )


def test_code_may_give_a_path() -> None:
    assert load({"spool_dir": Path("/spans")}, {})[0].spool_root == Path("/spans")


@pytest.mark.parametrize("given", ["spans", 3, b"/spans"])
def test_code_that_gives_no_place_is_refused_with_what_it_may_give(given: object) -> None:
    with pytest.raises(ConfigurationError, match="an absolute path, or 'off'"):
        load({"spool_dir": given}, {})
