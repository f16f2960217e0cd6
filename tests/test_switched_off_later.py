"""configure(enabled=False) after something has begun: hooks go, and tracers make no spans."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import wrapt
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from starlette.applications import Starlette

import turntrace
from turntrace import pipeline
from turntrace.record.provider import MAX_TRACERS


@pytest.fixture(autouse=True)
def _for_now(unconfigured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_said_for_now", None)


def _is_nothing(span: trace.Span) -> bool:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    context = span.get_span_context()
    is_silent = carrier == {} and turntrace.get_trace_context() == {}
    return is_silent and not span.is_recording() and not context.is_valid


def test_hooks_that_were_put_on_before_are_taken_off() -> None:
    before = vars(Starlette)["__call__"]
    assert "logging" in turntrace.instrument("asgi", "logging")
    assert vars(Starlette)["__call__"] is not before
    turntrace.configure(enabled=False)
    assert vars(Starlette)["__call__"] is before
    assert turntrace.instrument() == ()


def test_hooks_go_also_where_the_environment_had_switched_off_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_ENABLED", "false")
    turntrace.instrument("asgi")
    pipeline.configure_for_now()
    turntrace.configure()
    assert not isinstance(vars(Starlette)["__call__"], wrapt.FunctionWrapper)


def test_tracers_that_were_handed_out_make_no_spans_and_let_errors_pass() -> None:
    pipeline.configure_for_now()
    early = trace.get_tracer("early")
    decorator = early.start_as_current_span("decorated")
    many = [trace.get_tracer(f"scope {number}") for number in range(MAX_TRACERS + 1)]
    turntrace.configure(enabled=False)
    for tracer in (early, many[0], many[-1], trace.get_tracer("late")):
        with tracer.start_as_current_span("x") as span:
            assert _is_nothing(span)
        with pytest.raises(ValueError, match="own"), tracer.start_as_current_span("x"):
            raise ValueError("the app's own")

    @decorator
    def decorated() -> bool:
        return _is_nothing(trace.get_current_span())

    assert decorated()


def test_below_a_span_that_is_still_open_there_is_none() -> None:
    pipeline.configure_for_now()
    tracer = trace.get_tracer("app")
    with tracer.start_as_current_span("open"):
        turntrace.configure(enabled=False)
        with tracer.start_as_current_span("child") as span:
            turntrace.bind(session_id="s")
            assert _is_nothing(span)
        with turntrace.turn("turn") as span:
            assert _is_nothing(span)


def test_a_remote_parent_is_passed_on_as_by_a_process_without_telemetry() -> None:
    pipeline.configure_for_now()
    tracer = trace.get_tracer("app")
    turntrace.configure(enabled=False)
    header = {"traceparent": f"00-{7:032x}-{8:016x}-01"}
    token = otel_context.attach(propagate.extract(header))
    try:
        with tracer.start_as_current_span("x"):
            propagate.inject(carrier := {})
    finally:
        otel_context.detach(token)
    assert carrier == header


def test_switching_off_does_not_wait_for_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    early = pipeline.configure_for_now()
    assert early is not None
    with turntrace.turn("x"):
        pass
    started = time.monotonic()
    turntrace.configure(enabled=False)
    assert time.monotonic() - started < 1.0
    counts = early.export_counts()
    assert counts is not None
    assert (counts.waiting, counts.on_disk, dict(counts.dropped)) == (0, 1, {})


def test_hooks_that_another_thread_is_putting_on_do_not_stay() -> None:
    program = """
import sys, threading, turntrace, wrapt
reached, is_off = threading.Event(), threading.Event()
class Gate:
    def find_spec(self, name, path=None, target=None):
        if name == "turntrace.instrument.httpx":
            reached.set()
            is_off.wait(20)
sys.meta_path.insert(0, Gate())
thread = threading.Thread(target=turntrace.instrument, args=("httpx",))
thread.start()
assert reached.wait(20)
turntrace.configure(enabled=False)
is_off.set()
thread.join()
import httpx
print(isinstance(vars(httpx.Client)["send"], wrapt.FunctionWrapper))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
