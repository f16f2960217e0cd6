"""Fixtures for instrumentations of others: both sides of the guard, and their settings afresh."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

import pytest
from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability
from two_sides import CANARY, TwoSides

from turntrace.failsafe import failures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Recorded

FOREIGN_SETTINGS = ("OTEL_", "TRACELOOP_", "OPENINFERENCE_")


@pytest.fixture(autouse=True)
def _settings_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test choose; which conventions are asked for is read once a process."""
    for name in os.environ:
        if name.startswith(FOREIGN_SETTINGS):
            monkeypatch.delenv(name)
    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)


@pytest.fixture
def both_sides(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> Iterator[TwoSides]:
    """Record into a provider of ours: nothing of ours fails or logs what was said.

    Nor does an instrumentation complain: each one logs it if a span lacks what it reads.
    """
    failed_before = failures()
    made = TwoSides(recorded)
    with (
        caplog.at_level(logging.DEBUG, logger="turntrace"),
        caplog.at_level(logging.DEBUG, logger="opentelemetry"),
        caplog.at_level(logging.DEBUG, logger="openinference"),
    ):
        yield made
    assert [line for line in _logged(caplog, "turntrace") if CANARY in line] == []
    foreign = _logged(caplog, "opentelemetry", "openinference")
    assert [line for line in foreign if _COMPLAINT.search(line)] == []
    assert failures() == failed_before


_COMPLAINT = re.compile(r"^(?:WARNING|ERROR|CRITICAL)|[Ff]ailed|Traceback")


def _logged(caplog: pytest.LogCaptureFixture, *libraries: str) -> list[str]:
    """Return what some libraries logged, tracebacks included."""
    written = logging.Formatter("%(levelname)s %(name)s %(message)s")
    return [
        written.format(entry)
        for entry in caplog.get_records("call")
        if entry.name.partition(".")[0] in libraries
    ]
