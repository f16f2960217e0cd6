"""The examples in the docstrings run and show what they say."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import turntrace

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(turntrace.__path__, "turntrace.")
    if not module.name.endswith("__main__")
)


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    examples = [
        example
        for name in MODULES
        for found in finder.find(import_module(name))
        for example in found.examples
    ]
    assert len(examples) > 20
