"""configure(): the stages joined in order, once, and nothing at all when switched off."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import turntrace
from turntrace import SamplingPolicy, pipeline
from turntrace.errors import ConfigurationError, MissingLibraryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("unconfigured")


@pytest.fixture(autouse=True)
def _nothing_is_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_said_for_now", None)


@pytest.fixture
def received() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    requests: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
        server.shutdown()
        thread.join()


def test_a_span_travels_through_every_stage_to_the_receiver(
    received: tuple[str, list[ExportTraceServiceRequest]],
) -> None:
    endpoint, requests = received
    telemetry = turntrace.configure(
        service_name="shop",
        endpoint=endpoint,
        compression="none",
        resource_attributes={"team": "kitchen"},
    )
    with turntrace.turn("first", prompt="withheld"):
        turntrace.bind(session_id="s1")
    assert telemetry.force_flush(5.0)
    (whole,) = requests[0].resource_spans
    resource = {a.key: a.value.string_value for a in whole.resource.attributes}
    assert resource["service.name"] == "shop"
    assert resource["team"] == "kitchen"
    assert resource["telemetry.sdk.name"] == "turntrace"
    (span,) = whole.scope_spans[0].spans
    values = {a.key: a.value.string_value for a in span.attributes}
    assert span.name == "first"
    assert values == {
        "session.id": "s1",
        "turntrace.turn.outcome": "ok",
        "turntrace.sampling.reason": "baseline",
        "prompt.length": "",  # a number
        "turntrace.withheld.keys": "",  # a list
    }
    assert b"withheld" not in whole.SerializeToString().replace(b"turntrace.withheld.keys", b"")
    counts = telemetry.export_counts()
    assert counts is not None
    assert (counts.offered, counts.acknowledged) == (1, 1)
    assert telemetry.shutdown(2.0)
    assert telemetry.shutdown(2.0)


def test_a_trace_that_is_not_kept_sends_nothing(
    received: tuple[str, list[ExportTraceServiceRequest]],
) -> None:
    endpoint, requests = received
    telemetry = turntrace.configure(endpoint=endpoint, baseline=0.0)
    with turntrace.turn("x"):
        assert not trace.get_current_span().get_span_context().trace_flags.sampled
    assert telemetry.force_flush(2.0)
    assert requests == []


def test_outside_development_a_tenth_is_kept_unless_said_otherwise() -> None:
    assert turntrace.configure(environment="production").settings.sampling_baseline == 0.1


def test_configure_twice_returns_the_same_and_refuses_other_settings() -> None:
    first = turntrace.configure(service_name="a")
    assert turntrace.configure() is first
    assert turntrace.configure(service_name="a") is first
    with pytest.raises(ConfigurationError, match="another service_name"):
        turntrace.configure(service_name="b")
    with pytest.raises(ConfigurationError, match="another policy"):
        turntrace.configure(policy=SamplingPolicy(baseline=0.5))


class Duck:
    rules = ()
    baseline = 1.0

    def decide(self, facts: object) -> None:
        """Quack."""


class WithoutSuper(SamplingPolicy):
    def __init__(self) -> None:
        """Forget the fields."""


@pytest.mark.parametrize("made", [Duck, WithoutSuper])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_policy_that_cannot_be_used_is_refused_by_name(
    made: Callable[[], Any], *, enabled: bool
) -> None:
    with pytest.raises(ConfigurationError, match=rf"policy is a {made.__qualname__}"):
        turntrace.configure(policy=made(), enabled=enabled)
    assert pipeline.running() is None


def test_a_policy_with_an_init_of_its_own_decides() -> None:
    class Never(SamplingPolicy):
        def __init__(self) -> None:
            super().__init__(baseline=None)

    turntrace.configure(policy=Never(), baseline=0.0)
    with turntrace.turn("x"):
        assert not trace.get_current_span().get_span_context().trace_flags.sampled


def test_a_span_that_ends_while_the_app_replaces_what_was_configured_for_now_is_sent(
    received: tuple[str, list[ExportTraceServiceRequest]],
) -> None:
    endpoint, requests = received
    early = pipeline.configure_for_now()
    assert early is not None
    assert early.provider is not None
    sink = early.provider.sink  # what a thread has looked up that is just ending a span
    span: Any = trace.get_tracer("app").start_span("x")
    telemetry = turntrace.configure(endpoint=endpoint, compression="none")
    sink(span)
    assert telemetry.force_flush(5.0)
    assert [len(request.resource_spans) for request in requests] == [1]
    health = telemetry.health()
    assert (health.ended, health.acknowledged, health.adds_up) == (1, 1, True)
    assert early.health().adds_up


def test_a_provider_that_is_there_already_is_said_with_what_to_do() -> None:
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    with pytest.raises(ConfigurationError, match=r"turntrace\.configure\(\) before it"):
        turntrace.configure()


def test_switched_off_there_is_no_provider_no_thread_and_nothing_patched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from starlette.applications import Starlette

    monkeypatch.setenv("OTEL_ENABLED", "false")
    before, threads = Starlette.__call__, threading.active_count()
    telemetry = turntrace.configure()
    assert turntrace.instrument() == ()
    with turntrace.turn("x") as span:
        turntrace.bind(session_id="s")
    assert not span.is_recording()
    assert Starlette.__call__ is before
    assert threading.active_count() == threads
    assert telemetry.force_flush()
    assert telemetry.shutdown()
    assert telemetry.export_counts() is None


def test_a_bad_environment_value_is_one_warning_and_the_app_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5s")
    with caplog.at_level(logging.WARNING, "turntrace"):
        turntrace.configure()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "OTEL_BSP_SCHEDULE_DELAY='5s'" in caplog.text


def test_an_unknown_instrumentation_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="asgi"):
        turntrace.instrument("no-such")


def test_a_library_asked_for_by_name_and_missing_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = import_module("turntrace.instrument")
    row = module.BUILTIN["httpx"]._replace(requires="no_such_module_anywhere")
    monkeypatch.setitem(module.BUILTIN, "httpx", row)
    with pytest.raises(MissingLibraryError, match="pip install httpx"):
        turntrace.instrument("httpx")


def test_a_turn_that_fails_says_so_in_its_summary(
    received: tuple[str, list[ExportTraceServiceRequest]],
) -> None:
    endpoint, requests = received
    telemetry = turntrace.configure(endpoint=endpoint, compression="none")
    with pytest.raises(ValueError, match="typed"), turntrace.turn("x"):
        raise ValueError("typed by a user")
    assert telemetry.force_flush(5.0)
    (span,) = requests[0].resource_spans[0].scope_spans[0].spans
    values = {a.key: a.value.string_value for a in span.attributes}
    assert values["turntrace.turn.outcome"] == "error"
    assert values["error.type"] == "ValueError"
    assert b"typed by a user" not in requests[0].SerializeToString()


def test_bind_outside_a_trace_does_nothing() -> None:
    turntrace.configure()
    turntrace.bind(session_id="s")


def test_a_script_that_just_ends_has_sent_what_it_recorded(
    received: tuple[str, list[ExportTraceServiceRequest]],
) -> None:
    endpoint, requests = received
    script = (
        "import turntrace\n"
        f"turntrace.configure(endpoint={endpoint!r}, compression='none')\n"
        "with turntrace.turn('script'): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert [r.resource_spans[0].scope_spans[0].spans[0].name for r in requests] == ["script"]
