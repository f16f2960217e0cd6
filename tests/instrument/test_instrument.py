"""Claims about switching instrumentations on and off."""

from __future__ import annotations

import pytest

import turntrace
from turntrace.errors import ConfigurationError, MissingLibraryError
from turntrace.instrument import BUILTIN, Builtin


@pytest.fixture(autouse=True)
def _off() -> object:
    yield
    turntrace.uninstrument()


def test_an_unknown_name_raises_with_the_names_known() -> None:
    with pytest.raises(ConfigurationError, match="knows no nonsense; it knows asgi"):
        turntrace.instrument("nonsense")


def test_a_library_asked_for_by_name_and_missing_raises_with_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BUILTIN, "absent", Builtin("absent", "absent_library", "absent-library"))
    with pytest.raises(MissingLibraryError, match="pip install absent-library"):
        turntrace.instrument("absent")


def test_asking_twice_changes_nothing() -> None:
    assert turntrace.instrument("asgi") == turntrace.instrument("asgi") == ("asgi",)


def test_after_uninstrument_it_can_be_switched_on_again() -> None:
    turntrace.instrument("asgi")
    turntrace.uninstrument()
    assert turntrace.instrument("asgi") == ("asgi",)
