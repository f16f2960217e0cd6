"""`turntrace run` and an app with a mind of its own: its path, provider and configure()."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from otlp_collector import OtlpCollector
from started_program import RUN, environment, finished

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", ["nowhere{0}", "{0}nowhere", "{0}", "nowhere{0}{0}elsewhere"])
def test_an_empty_entry_of_pythonpath_is_the_current_directory_as_ever(
    tmp_path: Path, path: str
) -> None:
    current, other = tmp_path / "current", tmp_path / "other"
    for folder in (current, other):
        folder.mkdir()
    (current / "neighbour.py").write_text("")
    (other / "program.py").write_text("import neighbour, starlette, sys\nprint('found')\n")
    env = environment(PYTHONPATH=path.format(os.pathsep))
    words = ["python", str(other / "program.py")]
    assert finished(words, current, env).stdout == "found\n"
    traced = finished([*RUN, *words], current, env)
    assert (traced.stdout, traced.stderr) == ("found\n", "")


def test_run_below_run_puts_its_folder_on_the_path_once(tmp_path: Path) -> None:
    words = ["python", "-c", "import os; print(os.environ['PYTHONPATH'])"]
    env = environment(PYTHONPATH=f"a{os.pathsep}")
    once = finished([*RUN, *words], tmp_path, env).stdout
    assert once.endswith(f"{os.pathsep}a{os.pathsep}\n")
    assert finished([*RUN, *RUN, *words], tmp_path, env).stdout == once


def test_a_provider_of_the_app_that_gets_no_spans_is_said_once(tmp_path: Path) -> None:
    source = (
        "from opentelemetry import trace\n"
        "class Own(trace.NoOpTracerProvider): pass\n"
        "trace.set_tracer_provider(Own())\n"
        "trace.set_tracer_provider(tracer_provider=Own())\n"
    )
    done = finished([*RUN, "python", "-c", source], tmp_path)
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if line.startswith("turntrace:")]
    assert len(said) == 1
    assert "the app sets a tracer provider of its own (Own), which gets no spans" in said[0]
    assert "Start the app without `turntrace run`, or leave that provider out." in said[0]


def test_what_was_recorded_before_the_app_configured_goes_where_the_app_says(
    tmp_path: Path,
) -> None:
    source = (
        "import sys, time, turntrace\n"
        "with turntrace.turn('early'): pass\n"
        "started = time.monotonic()\n"
        "telemetry = turntrace.configure(endpoint=sys.argv[1])\n"
        "assert time.monotonic() - started < 1.0\n"
        "with turntrace.turn('late'): pass\n"
        "assert telemetry.force_flush(10)\n"
    )
    with OtlpCollector() as collector:
        slow = environment(OTEL_BSP_SCHEDULE_DELAY="3600000")
        done = finished([*RUN, "python", "-c", source, collector.url], tmp_path, slow)
        assert (done.returncode, done.stderr) == (0, "")
        assert collector.names() == ["early", "late"]


def test_an_app_that_switches_telemetry_off_leaves_no_id_anywhere(tmp_path: Path) -> None:
    source = """
import httpx, logging, wrapt
from opentelemetry import propagate, trace
early = trace.get_tracer("early")
factory = logging.getLogRecordFactory()
import turntrace
assert isinstance(vars(httpx.Client)["send"], wrapt.FunctionWrapper)
turntrace.configure(enabled=False)
import sqlalchemy
from sqlalchemy import event
assert not isinstance(vars(httpx.Client)["send"], wrapt.FunctionWrapper)
assert turntrace.instrument() == ()
for tracer in (early, trace.get_tracer("late")):
    with tracer.start_as_current_span("x") as span, turntrace.turn("y"):
        propagate.inject(carrier := {})
        record = logging.getLogger("app").makeRecord("app", 20, "", 0, "hi", (), None)
        assert not span.is_recording() and not span.get_span_context().is_valid
        assert (carrier, turntrace.get_trace_context()) == ({}, {})
        assert not hasattr(record, "trace_id")
"""
    with OtlpCollector() as collector:
        done = finished([*RUN, "python", "-c", source], tmp_path, environment(collector.url))
        assert (done.returncode, done.stderr) == (0, "")
        assert collector.names() == []
