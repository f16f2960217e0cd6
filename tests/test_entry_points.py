"""OpenTelemetry's own start-up finds turntrace, and finds it only where it was chosen."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from otlp_collector import OtlpCollector
from started_program import environment, finished
from turntrace.instrument import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
from opentelemetry import trace
from sqlalchemy import create_engine, text
with trace.get_tracer("app").start_as_current_span("work"):
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("SELECT 1 AS one"))
"""
INSTRUMENT = ["opentelemetry-instrument", "python", "app.py"]

OTHERS = """
from opentelemetry import trace
from opentelemetry.instrumentation.distro import BaseDistro

class Distro(BaseDistro):
    def _configure(self, **_): print("other distro")

class Configurator:
    def configure(self, **options): print("other configurator", *options)

class Sqlalchemy:
    def instrument(self, **_): print("other instrumentor")
"""
OTHERS_ENTRY_POINTS = """
[opentelemetry_distro]
other = others:Distro
[opentelemetry_configurator]
other = others:Configurator
[opentelemetry_instrumentor]
sqlalchemy = others:Sqlalchemy
"""
LOAD_LAST = "import sys; sys.path.append({folder!r})\n"
"""Puts the other distribution behind turntrace, so that the loader finds turntrace first."""

INITIALIZE = (
    "from opentelemetry.instrumentation import auto_instrumentation as auto\nauto.initialize()\n"
)


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A folder in which another distribution of OpenTelemetry is installed."""
    folder = tmp_path / "others"
    metadata = folder / "others-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "others.py").write_text(OTHERS)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(OTHERS_ENTRY_POINTS)
    return folder


def test_every_instrumentation_has_an_entry_point() -> None:
    own = {
        found.name
        for found in entry_points(group="opentelemetry_instrumentor")
        if found.value.startswith("turntrace.") and callable(found.load())
    }
    assert own == set(BUILTIN) - {"logging"}


def test_opentelemetry_instrument_starts_turntrace_if_there_is_nobody_else(
    folder: Path, collector: OtlpCollector
) -> None:
    done = finished(INSTRUMENT, folder, environment(collector.url))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tree,) = collector.trees()
    assert len(tree) == 2
    assert tree[1].startswith("  SELECT ")


def test_a_library_can_be_left_out_as_with_any_instrumentation(
    folder: Path, collector: OtlpCollector
) -> None:
    without = environment(
        collector.url, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="sqlalchemy, urllib3"
    )
    done = finished(INSTRUMENT, folder, without)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(collector.names()) == 1
    assert "SELECT" not in collector.names()


def test_the_api_itself_loads_turntrace_as_its_provider(
    folder: Path, collector: OtlpCollector
) -> None:
    chosen = environment(collector.url, OTEL_PYTHON_TRACER_PROVIDER="turntrace")
    done = finished(["python", "app.py"], folder, chosen)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(collector.names()) == 1
    assert "SELECT" not in collector.names()


def test_switched_off_the_provider_does_nothing(folder: Path, collector: OtlpCollector) -> None:
    off = {"OTEL_PYTHON_TRACER_PROVIDER": "turntrace", "OTEL_ENABLED": "false"}
    for words in (["python", "app.py"], INSTRUMENT):
        done = finished(words, folder, environment(collector.url, **off))
        assert (done.returncode, done.stderr) == (0, "")
    assert collector.names() == []


@pytest.mark.parametrize("is_first", [False, True])
def test_the_telemetry_of_somebody_else_is_left_alone(
    folder: Path, others: Path, collector: OtlpCollector, *, is_first: bool
) -> None:
    """Whichever of the two the loader finds first."""
    if is_first:
        words, env = INSTRUMENT, environment(collector.url, PYTHONPATH=str(others))
    else:
        source = LOAD_LAST.format(folder=str(others)) + INITIALIZE + APP
        words, env = [sys.executable, "-c", source], environment(collector.url)
    done = finished(words, folder, env)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "other configurator auto_instrumentation_version",
        "other distro",
        "other instrumentor",
    ]
    assert collector.names() == []


@pytest.mark.parametrize("is_first", [False, True])
def test_turntrace_chosen_by_name_replaces_what_would_double_it(
    folder: Path, others: Path, collector: OtlpCollector, *, is_first: bool
) -> None:
    chosen = {"OTEL_PYTHON_DISTRO": "turntrace", "OTEL_PYTHON_CONFIGURATOR": "turntrace"}
    if is_first:
        words, env = INSTRUMENT, environment(collector.url, PYTHONPATH=str(others), **chosen)
    else:
        source = LOAD_LAST.format(folder=str(others)) + INITIALIZE + APP
        words, env = [sys.executable, "-c", source], environment(collector.url, **chosen)
    done = finished(words, folder, env)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(collector.names()) == 2
    assert collector.names().count("SELECT") == 1
