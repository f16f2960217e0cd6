"""The table of faults: cases add their results, and the end of the run prints them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from harness import HERE, IS_QUICK
from reliability import table, write_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from result import Result

_RESULTS: pytest.StashKey[list[Result]] = pytest.StashKey()
IS_RECORDING = os.environ.get("RECORD", "0") not in ("", "0")


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[Result], None]:
    """Return how a case adds its result to the table, before it claims anything of it."""
    return request.config.stash.setdefault(_RESULTS, []).append


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is for the full run out of the quick one: a skip means that something lacks."""
    if not IS_QUICK:
        return
    left_out = [
        item
        for item in items
        if item.path.parent == HERE
        and (
            item.get_closest_marker("skip")  # no case of it is a quick one
            or any(mark.args[0] is True for mark in item.iter_markers("skipif"))
        )
    ]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    results = config.stash.get(_RESULTS, [])
    if not results:
        return
    terminalreporter.section("faults")
    terminalreporter.write(table(results))
    if IS_RECORDING and exitstatus == pytest.ExitCode.OK and not IS_QUICK:
        write_page(results)
