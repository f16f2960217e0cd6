"""The table of faults: cases add their results, and the end of the run prints them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from harness import IS_QUICK
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
