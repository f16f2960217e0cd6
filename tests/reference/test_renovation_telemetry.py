"""All of the backend's tracing stands in one file: what it keeps, and the ids it gives the log."""

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace

import renovation
import turntrace
from renovation import telemetry
from renovation.logs import JsonFormatter
from renovation.telemetry import RenovationSampler
from turntrace import pipeline
from turntrace.rules import Facts

THE_USER = {"demo_user.py"}
"""Not the backend: the traced user of the demo, a process of its own."""

LOWEST, HIGHEST = 0, 2**56 - 1
"""Trace ids that a low ratio drops first and keeps first."""


def test_no_other_module_of_the_backend_knows_of_tracing() -> None:
    folder = Path(renovation.__file__).parent
    knowing = {path.name for path in folder.rglob("*.py") if _imports_tracing(path)}
    assert knowing - THE_USER == {"telemetry.py"}


def _imports_tracing(path: Path) -> bool:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return any(name.split(".")[0] in {"turntrace", "opentelemetry"} for name in names)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"socket.event": "chat:user_message"}, "chat_message"),
        ({"ai.model": "gemini"}, "ai"),
        ({"gen_ai.operation.name": "chat"}, "ai"),
    ],
)
def test_chat_messages_and_ai_are_kept_whatever_the_baseline(
    attributes: dict[str, object], reason: str
) -> None:
    facts = Facts(trace_id=LOWEST, name="x", attributes=attributes)
    verdict = RenovationSampler(baseline=0.0).decide(facts)
    assert (verdict.keep, verdict.reason, verdict.probability) == (True, reason, 1.0)


@pytest.mark.parametrize(
    "attributes", [{}, {"socket.event": "chat:join_session"}, {"http.route": "/health"}]
)
def test_everything_else_is_a_matter_of_the_baseline(attributes: dict[str, object]) -> None:
    sampler = RenovationSampler(baseline=0.1)
    kept, dropped = (
        sampler.decide(Facts(trace_id=number, name="x", attributes=attributes))
        for number in (HIGHEST, LOWEST)
    )
    assert kept == (True, "baseline", 0.1)
    assert dropped == (False, "baseline", 0.1)


@pytest.fixture
def configured(unconfigured: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(telemetry, "_running", [])
    yield
    turntrace.uninstrument()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TURNTRACE_ENVIRONMENT": "development"}, 1.0),
        ({"TURNTRACE_ENVIRONMENT": "production"}, 0.1),
        ({"TURNTRACE_ENVIRONMENT": "production", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 0.5),
    ],
)
def test_without_a_baseline_of_its_own_the_sampler_takes_that_of_the_settings(
    configured: None,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    expected: float,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    telemetry.init_telemetry()
    span = trace.get_tracer("test").start_span("GET /health")
    assert span.local_trace.verdict.probability == expected  # type: ignore[attr-defined]
    span.end()
    telemetry.shutdown_telemetry(0.0)


def test_starting_twice_is_starting_once(configured: None) -> None:
    telemetry.init_telemetry()
    running = pipeline._active
    telemetry.init_telemetry()
    assert pipeline._active is running
    telemetry.shutdown_telemetry(0.0)


def test_every_log_line_within_a_span_carries_its_ids_at_every_level(
    recorded: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("renovation.test_every_log_line")
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    monkeypatch.setattr(logger, "propagate", False)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logger, "handlers", [handler])
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    with turntrace.turn("turn"):
        context = trace.get_current_span().get_span_context()
        for level in levels:
            logger.log(level, "said")
    logger.info("outside")
    *inside, outside = [json.loads(line) for line in stream.getvalue().splitlines()]
    ids = (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert [(line["trace_id"], line["span_id"]) for line in inside] == [ids] * len(levels)
    assert not {"trace_id", "span_id"} & outside.keys()


def test_the_current_trace_id_is_that_of_the_trace_and_none_outside(recorded: object) -> None:
    assert telemetry.current_trace_id() is None
    with turntrace.turn("turn"):
        expected = trace.get_current_span().get_span_context().trace_id
        assert telemetry.current_trace_id() == f"{expected:032x}"
