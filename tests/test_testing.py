"""turntrace.testing: what a capture sees and gives back, and that no canary escapes the search."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import Setter
from opentelemetry.trace import SpanKind, StatusCode

import turntrace
from otlp_collector import OtlpCollector
from turntrace import pipeline
from turntrace.errors import ConfigurationError
from turntrace.export.transport import http_transport
from turntrace.guard.propagation import GuardedPropagator
from turntrace.testing import ManualClock, SequentialIds, assert_no_content, capture
from turntrace.testing import capturing as module
from turntrace.testing.taps import MAX_WIRE_BYTES, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("unconfigured")

PHRASE = "qzherons dance über blue water"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test be the first of its process to capture."""
    monkeypatch.setattr(pipeline, "_said_for_now", None)
    monkeypatch.setattr(module, "_RECORDER", module.Recorder())
    monkeypatch.setattr(module, "_LAST", [])


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as made:
        yield made


# -- what a capture sees --------------------------------------------------------------------------


def test_without_anything_configured_spans_are_captured_behind_the_guard() -> None:
    with capture() as captured, turntrace.turn("summary", prompt=PHRASE) as span:
        turntrace.bind(session_id="s1")
        span.set_status(StatusCode.ERROR, PHRASE)
    (found,) = captured.spans
    assert found.name == "summary"
    assert found.attributes["session.id"] == "s1"
    assert found.kind is SpanKind.INTERNAL
    assert found.status is StatusCode.ERROR
    assert found.parent is None
    assert found.scope.name == "turntrace.conversation"
    assert captured.withheld["prompt"] == 1
    assert PHRASE not in str(found)


def test_clock_and_ids_of_the_test_decide_times_and_ids() -> None:
    clock = ManualClock(start_ns=5)
    with capture(clock=clock, ids=SequentialIds()) as captured:
        for _ in range(2):
            with turntrace.turn("summary"):
                clock.advance(seconds=0.25, nanoseconds=1)
    first, second = captured.spans
    assert (first.start_ns, first.end_ns, second.end_ns) == (5, 250_000_006, 500_000_007)
    assert first.duration_seconds == pytest.approx(0.25)
    assert [span.trace_id[-1] + span.span_id[-1] for span in captured.spans] == ["11", "22"]


def test_the_tree_shows_names_below_their_parents_in_order_of_start() -> None:
    with capture(clock=ManualClock()) as captured:
        with turntrace.turn("outer"):
            with turntrace.turn("first"), turntrace.turn("leaf"):
                pass
            with turntrace.turn("second"):
                pass
        with turntrace.turn("other root"):
            pass
    assert captured.tree() == "outer\n  first\n    leaf\n  second\nother root"
    assert [child.name for child in captured.children("outer")] == ["first", "second"]
    assert captured.one("leaf").parent is captured.one("first")


def test_a_span_that_is_not_the_only_one_of_its_name_is_said_with_all_there_are() -> None:
    with capture() as captured:
        for _ in range(2):
            with turntrace.turn("twin"):
                pass
    with pytest.raises(AssertionError, match=r"2 spans are named 'twin'; captured:\ntwin\ntwin"):
        captured.one("twin")
    with pytest.raises(AssertionError, match="0 spans are named 'none'"):
        captured.one("none")


def test_spans_of_other_threads_and_tasks_are_captured() -> None:
    def work() -> None:
        with turntrace.turn("thread"):
            pass

    async def tasks() -> None:
        async def one() -> None:
            with turntrace.turn("task"):
                await asyncio.sleep(0)

        await asyncio.gather(one(), one())

    with capture() as captured:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        asyncio.run(tasks())
    assert sorted(span.name for span in captured.spans) == ["task", "task", "thread"]


def test_settings_reach_the_guard_and_wrong_ones_are_refused() -> None:
    with capture(vocabulary="semconv") as captured, turntrace.turn("x") as span:
        span.set_attributes({"http.method": "GET", "http.request.method": "GET"})
    assert "http.method" not in captured.spans[0].attributes
    assert captured.spans[0].attributes["http.request.method"] == "GET"
    with pytest.raises(ConfigurationError, match="vocabulary"), capture(vocabulary="latin"):
        pass


def test_an_attribute_that_cannot_be_declared_is_refused_in_code_and_not_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key in ("url.full", "session.id"):
        with pytest.raises(ConfigurationError, match=key), capture(attributes={key: "id"}):
            pass
    monkeypatch.setenv("TURNTRACE_ATTRIBUTES", "url.full:id,session.id:id")
    with capture() as captured, turntrace.turn("x"):
        pass
    assert [span.name for span in captured.spans] == ["x"]


def test_every_trace_is_kept_whatever_the_policy_says() -> None:
    telemetry = turntrace.configure(endpoint="http://127.0.0.1:9", baseline=0.0)
    with capture() as captured:
        for _ in range(20):
            with turntrace.turn("x"):
                pass
    assert len(captured.spans) == 20
    with turntrace.turn("after"):
        assert not trace.get_current_span().get_span_context().trace_flags.sampled
    assert len(captured.spans) == 20
    assert telemetry.shutdown(0.0) is False


# -- nested and overlapping -----------------------------------------------------------------------


def test_nested_captures_get_all_that_ends_while_they_are_open() -> None:
    outer_clock, inner_clock = ManualClock(start_ns=1), ManualClock(start_ns=2)
    with capture(clock=outer_clock) as outer:
        with capture(clock=inner_clock) as inner, turntrace.turn("inside"):
            pass
        with turntrace.turn("outside"):
            pass
    assert [span.name for span in inner.spans] == ["inside"]
    assert [span.name for span in outer.spans] == ["inside", "outside"]
    assert [span.start_ns for span in outer.spans] == [2, 1]


def test_overlapping_captures_may_end_in_any_order() -> None:
    first, second = capture(), capture()
    with first:
        second.__enter__()
    with turntrace.turn("alone"):
        pass
    second.__exit__(None, None, None)
    with turntrace.turn("late") as span:
        assert not span.is_recording()
    assert (len(first.spans), len(second.spans)) == (0, 1)


def test_a_capture_can_be_entered_once() -> None:
    made = capture()
    with made:
        pass
    with pytest.raises(ConfigurationError, match="once"), made:
        pass


# -- what is there afterwards ---------------------------------------------------------------------


def test_a_configured_pipeline_goes_on_and_is_as_it_was_afterwards(
    collector: OtlpCollector,
) -> None:
    telemetry = turntrace.configure(endpoint=collector.url)
    provider: Any = telemetry.provider
    before, propagator = dict(vars(provider)), propagate.get_global_textmap()
    handlers = list(logging.getLogger("turntrace").handlers)
    with capture(clock=ManualClock(), ids=SequentialIds()), turntrace.turn("inside"):
        pass
    after = vars(provider)
    assert {key for key in after if key not in before or after[key] != before[key]} <= {"_tracers"}
    assert propagate.get_global_textmap() is propagator
    assert logging.getLogger("turntrace").handlers == handlers
    assert http_transport.taps == ()
    with turntrace.turn("outside"):
        pass
    assert telemetry.force_flush(10.0)
    assert collector.names() == ["inside", "outside"]


def test_configure_inside_a_capture_exports_and_the_capture_goes_on(
    collector: OtlpCollector,
) -> None:
    with capture() as captured:
        with turntrace.turn("early"):
            pass
        telemetry = turntrace.configure(endpoint=collector.url)
        with turntrace.turn("late"):
            pass
    with turntrace.turn("after"):
        pass
    assert telemetry.force_flush(10.0)
    assert [span.name for span in captured.spans] == ["early", "late"]
    assert collector.names() == ["after", "late"]


def test_configure_after_a_capture_takes_the_tracers_that_were_handed_out(
    collector: OtlpCollector,
) -> None:
    tracer: Any = trace.get_tracer("turntrace.early")
    with capture() as captured:
        tracer.start_span("GET /a").end()
    tracer.start_span("GET /between").end()
    telemetry = turntrace.configure(endpoint=collector.url)
    tracer.start_span("GET /b").end()
    assert telemetry.force_flush(10.0)
    assert [span.name for span in captured.spans] == ["GET /a"]
    assert collector.names() == ["GET /b"]
    with pytest.raises(ConfigurationError, match="another service_name"):
        turntrace.configure(service_name="other")


def test_a_second_capture_gets_the_spans_of_tracers_from_before_the_first() -> None:
    tracer: Any = trace.get_tracer("turntrace.early")
    for _ in range(2):
        with capture() as captured:
            tracer.start_span("GET /a").end()
        assert [span.name for span in captured.spans] == ["GET /a"]
        assert not tracer.start_span("GET /b").is_recording()


def test_switched_off_in_the_environment_a_capture_still_captures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_ENABLED", "false")
    turntrace.configure()
    with capture() as captured, turntrace.turn("x"):
        pass
    assert [span.name for span in captured.spans] == ["x"]


def test_another_librarys_provider_is_refused_with_what_to_do() -> None:
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    with pytest.raises(ConfigurationError, match="leave that provider out"), capture():
        pass
    assert module._RECORDER.listeners == ()


def test_a_provider_that_was_shut_down_captures_all_the_same() -> None:
    with capture():
        trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined] # ours has it
    with capture() as captured:
        trace.get_tracer("turntrace.fresh").start_span("GET /a").end()
    assert len(captured.spans) == 1


# -- headers, log lines, requests -----------------------------------------------------------------


def test_headers_that_context_was_written_into_are_captured() -> None:
    carrier: dict[str, str] = {}
    with capture(ids=SequentialIds()) as captured, turntrace.turn("x"):
        propagate.inject(carrier)
    assert carrier["traceparent"] == dict(captured.outgoing_headers)["traceparent"]


def test_a_propagator_that_was_set_meanwhile_stays() -> None:
    before = propagate.get_global_textmap()
    with capture():
        propagate.set_global_textmap(mine := propagate.composite.CompositePropagator([]))
    assert propagate.get_global_textmap() is mine
    propagate.set_global_textmap(before)


def test_own_log_lines_are_captured_with_their_exception() -> None:
    with capture() as captured:
        logging.getLogger("turntrace").error("turntrace: failed", exc_info=ValueError(PHRASE))
        logging.getLogger("app").warning("not ours")
    (line,) = captured.log_lines
    assert line.startswith("ERROR turntrace: turntrace: failed\n")
    assert PHRASE in line


def test_requests_are_captured_before_they_are_compressed(collector: OtlpCollector) -> None:
    telemetry = turntrace.configure(endpoint=collector.url, compression="gzip")
    with capture() as captured:
        with turntrace.turn("x"):
            turntrace.bind(session_id="qz4711")
        assert telemetry.force_flush(10.0)
    with pytest.raises(AssertionError, match=r"in export request 1\n"):
        captured.assert_no_content("qz4711")


def test_what_waits_on_disk_is_looked_at_too() -> None:
    turntrace.configure(endpoint="http://127.0.0.1:9", schedule_delay_seconds=3600.0)
    with capture() as captured, turntrace.turn("x"):
        turntrace.bind(session_id="qz4712")
    with pytest.raises(AssertionError, match=r"in the spool file \d+\.seg\n"):
        captured.assert_no_content("qz4712")


def test_requests_that_are_too_many_to_keep_make_the_check_fail() -> None:
    wire = Wire()
    for _ in range(3):
        wire.add(b"x" * (MAX_WIRE_BYTES // 2))
    assert (len(wire.bodies), wire.forgotten) == (2, 1)
    with capture() as captured, turntrace.turn("x"):
        pass
    captured._wire = wire
    with pytest.raises(AssertionError, match="1 requests were too many"):
        captured.assert_no_content(PHRASE)


# -- no content -----------------------------------------------------------------------------------


def test_clean_spans_pass_and_the_last_capture_is_the_one_that_is_looked_at() -> None:
    with capture(), turntrace.turn("x"):
        turntrace.bind(session_id="qzfirst")
        with capture(), turntrace.turn("inner"):
            turntrace.bind(session_id="qzother")
    assert_no_content(PHRASE, "qzfirst")
    with pytest.raises(AssertionError, match="'qzother' in attribute 'session"):
        assert_no_content("qzother")


def test_inside_nested_captures_the_innermost_open_one_is_looked_at() -> None:
    with capture():
        with turntrace.turn("x"):
            turntrace.bind(session_id="qzfirst")
        with capture():
            with turntrace.turn("y"):
                pass
            assert_no_content("qzfirst")
        with pytest.raises(AssertionError, match="qzfirst"):
            assert_no_content("qzfirst")


def test_without_a_capture_or_with_an_empty_one_there_is_nothing_to_prove() -> None:
    with pytest.raises(AssertionError, match="nothing was captured"):
        assert_no_content(PHRASE)
    with capture() as captured:
        pass
    with pytest.raises(AssertionError, match="nothing to look at"):
        captured.assert_no_content(PHRASE)


@pytest.mark.parametrize(
    ("canary", "says"),
    [("", "is empty"), ("  \n", "is empty"), ("a b c", "has 3 characters"), (7, "is a int")],
)
def test_a_canary_that_proves_nothing_is_refused_with_advice(canary: Any, says: str) -> None:
    with capture() as captured, turntrace.turn("x"):
        pass
    with pytest.raises(ValueError, match=says):
        captured.assert_no_content(PHRASE, canary)


def test_no_canary_at_all_is_refused() -> None:
    with capture() as captured, turntrace.turn("x"):
        pass
    with pytest.raises(ValueError, match="no canary"):
        captured.assert_no_content()


def _in_attribute(text: str) -> None:
    turntrace.bind(session_id=text)


def _in_log_line(text: str) -> None:
    logging.getLogger("turntrace").warning("%s", text)


@pytest.mark.parametrize(
    ("leak", "where", "advice"),
    [
        (_in_attribute, "attribute 'session.id' of span 'x'", "declared shape"),
        (_in_log_line, "a log line of turntrace", "report it"),
    ],
)
def test_the_failure_names_the_place_and_what_to_do(
    leak: Callable[[str], None], where: str, advice: str
) -> None:
    with capture() as captured, turntrace.turn("x"):
        leak("qz4711")
    with pytest.raises(AssertionError) as failure:
        captured.assert_no_content("blue heron", "qz4711")
    assert f"'qz4711' in {where}" in str(failure.value)
    assert advice in str(failure.value)
    assert "blue heron" not in str(failure.value)


def test_the_resource_is_looked_at_too() -> None:
    with capture(resource_attributes={"team": "qz4711"}) as captured, turntrace.turn("x"):
        pass
    with pytest.raises(AssertionError, match="resource attribute 'team'"):
        captured.assert_no_content("qz4711")


def test_the_resource_of_a_configure_inside_is_looked_at_too() -> None:
    with capture() as captured:
        turntrace.configure(endpoint="http://127.0.0.1:9", resource_attributes={"team": "qz4711"})
        with turntrace.turn("x"):
            pass
    with pytest.raises(AssertionError, match="resource attribute 'team'"):
        captured.assert_no_content("qz4711")


def test_a_header_is_captured_although_its_setter_writes_it_under_another_name() -> None:
    class Renaming(Setter[dict[str, str]]):
        def set(self, carrier: dict[str, str], key: str, value: str) -> None:
            carrier[f"HTTP_{key.upper()}"] = value

    carrier: dict[str, str] = {"HTTP_ACCEPT": "*/*"}
    with capture() as captured, turntrace.turn("x"):
        propagate.inject(carrier, setter=Renaming())
    assert captured.outgoing_headers == [("HTTP_TRACEPARENT", carrier["HTTP_TRACEPARENT"])]


def test_the_spans_of_tasks_in_an_async_test_are_captured_when_a_task_fails() -> None:
    async def fail() -> None:
        with turntrace.turn("task"):
            raise ValueError(PHRASE)

    async def test() -> None:
        with capture() as captured:
            await asyncio.gather(fail(), fail(), return_exceptions=True)
        assert captured.tree() == "task\ntask"
        captured.assert_no_content(PHRASE)

    asyncio.run(test())


# -- time and ids ---------------------------------------------------------------------------------


def test_ids_are_given_once_however_many_threads_ask() -> None:
    ids = SequentialIds()
    given: list[int] = []

    def ask() -> None:
        given.extend([ids.new_span_id() for _ in range(500)])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(1, 2001))
    assert ids.new_trace_id() == 1


def test_no_step_of_a_clock_is_lost_however_many_threads_advance_it() -> None:
    clock = ManualClock(start_ns=0)

    def advance() -> None:
        for _ in range(5_000):
            clock.advance(nanoseconds=1)

    threads = [threading.Thread(target=advance) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert clock.now_ns() == 20_000


def test_it_needs_no_test_framework() -> None:
    script = (
        "import sys, turntrace.testing\n"
        "print(*sorted({'pytest', '_pytest', 'hypothesis'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "\n"


def test_what_is_sent_along_is_guarded_although_nothing_is_configured() -> None:
    carrier: dict[str, str] = {}
    token = context.attach(baggage.set_baggage("note", PHRASE))
    with capture() as captured, turntrace.turn("x"):
        propagate.inject(carrier)
    context.detach(token)
    assert sorted(carrier) == ["traceparent"]
    captured.assert_no_content(PHRASE)


def test_configure_inside_a_capture_leaves_its_own_propagator_behind() -> None:
    before = propagate.get_global_textmap()
    with capture():
        turntrace.configure(endpoint="http://127.0.0.1:9")
    after = propagate.get_global_textmap()
    assert isinstance(after, GuardedPropagator)
    assert after.inner is before
    propagate.set_global_textmap(before)


def test_an_exception_is_described_as_in_a_configured_process() -> None:
    with pytest.raises(ValueError, match="qzherons"), capture() as captured, turntrace.turn("x"):
        raise ValueError(PHRASE)
    (event,) = captured.one("x").events
    assert event.attributes["exception.type"] == "ValueError"
    assert "test_testing.py" in str(event.attributes["exception.stacktrace"])
    captured.assert_no_content(PHRASE)


def test_baggage_stays_out_of_what_our_own_hooks_send() -> None:
    import httpx

    turntrace.instrument("httpx")
    try:
        with capture() as captured, turntrace.turn("x"):
            token = context.attach(baggage.set_baggage("note", PHRASE))
            with pytest.raises(httpx.ConnectError), httpx.Client() as client:
                client.get("http://127.0.0.1:9/")
            context.detach(token)
    finally:
        turntrace.uninstrument()
    assert "traceparent" in dict(captured.outgoing_headers)
    captured.assert_no_content(PHRASE)
