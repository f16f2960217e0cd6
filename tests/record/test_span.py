"""The span: what the OpenTelemetry API promises, and what other libraries read from it."""

from __future__ import annotations

import gc
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from turntrace.record import Resource, TracerProvider
from turntrace.record.context import with_span

if TYPE_CHECKING:
    from turntrace.record import Span

OTHER = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1))


class Ended(list[Any]):
    """A provider's sink that keeps ended spans."""

    def tracer(self, **more: Any) -> Any:
        return TracerProvider(Resource({"service.name": "t"}), self.append, **more).get_tracer(
            "test.scope", "1.2"
        )


class SteppingClock:
    """Each look at it is one second later."""

    def __init__(self) -> None:
        self.seconds = 0

    def now_ns(self) -> int:
        self.seconds += 1
        return self.seconds * 1_000_000_000


@pytest.fixture
def ended() -> Ended:
    return Ended()


@pytest.fixture
def tracer(ended: Ended) -> Any:
    return ended.tracer()


def test_a_span_is_passed_on_once_however_often_and_wherever_it_is_ended(
    tracer: Any, ended: Ended
) -> None:
    for _ in range(50):
        ended.clear()
        span = tracer.start_span("x")
        gate = threading.Barrier(4)

        def end(span: Any = span, gate: threading.Barrier = gate) -> None:
            gate.wait()
            span.end()

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        span.end()
        assert ended == [span]


def test_nothing_changes_a_span_that_has_ended(tracer: Any) -> None:
    span = tracer.start_span("x", attributes={"a": 1})
    span.end(end_time=span.start_time + 5)
    span.set_attribute("a", 2)
    span.set_attributes({"b": 2})
    span.add_event("late")
    span.add_link(OTHER)
    span.update_name("y")
    span.set_status(StatusCode.ERROR)
    span.record_exception(ValueError())
    assert (span.name, dict(span.attributes), span.events, span.links) == ("x", {"a": 1}, (), ())
    assert span.status.status_code is StatusCode.UNSET
    assert span.end_time == span.start_time + 5
    assert not span.is_recording()


def test_an_end_before_the_start_is_moved_to_the_start(tracer: Any) -> None:
    span = tracer.start_span("x", start_time=1_000)
    span.end(end_time=10)
    assert span.end_time == 1_000


def test_sequences_are_copied_when_set(tracer: Any) -> None:
    given = ["a", "b"]
    span = tracer.start_span("x", attributes={"start": given, "n": 1})
    span.set_attribute("one", given)
    span.set_attributes({"many": given})
    span.add_event("e", {"event": given})
    given.append("later")
    assert dict(span.attributes) == {
        "start": ("a", "b"),
        "n": 1,
        "one": ("a", "b"),
        "many": ("a", "b"),
    }
    assert span.events[0].attributes == {"event": ("a", "b")}


def test_the_caller_s_dictionary_is_not_kept(tracer: Any) -> None:
    given = {"a": 1}
    span = tracer.start_span("x", attributes=given)
    given["a"] = 2
    span.set_attribute("b", 3)
    assert dict(span.attributes) == {"a": 1, "b": 3}
    assert given == {"a": 2}


def test_what_is_over_a_limit_is_cut_and_counted(tracer: Any) -> None:
    span = tracer.start_span("x", attributes={f"k{n}": n for n in range(130)})
    span.set_attribute("more", 1)
    span.set_attributes({"k0": "replaced", "yet more": 1})
    for n in range(130):
        span.add_event(f"e{n}")
        span.add_link(SpanContext(n + 1, n + 1, is_remote=True))
    assert len(span.attributes) == 128
    assert span.attributes["k0"] == "replaced"
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (4, 2, 2)


def test_status_ok_is_final_and_unset_changes_nothing(tracer: Any) -> None:
    span = tracer.start_span("x")
    span.set_status(StatusCode.ERROR, "why")
    span.set_status(StatusCode.UNSET)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "why")
    span.set_status(Status(StatusCode.OK))
    span.set_status(StatusCode.ERROR)
    assert (span.status.status_code, span.status.description) == (StatusCode.OK, None)


def test_an_exception_leaves_its_type_and_no_text(tracer: Any) -> None:
    with pytest.raises(KeyError, match="secret"), tracer.start_as_current_span("x") as span:
        raise KeyError("secret")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert span.attributes["error.type"] == "KeyError"
    assert span.events[0].name == "exception"
    assert span.events[0].attributes == {"exception.type": "KeyError", "exception.escaped": True}
    assert "secret" not in repr(span)


@pytest.mark.parametrize("leaving", [GeneratorExit, KeyboardInterrupt, SystemExit])
def test_leaving_by_what_is_no_exception_is_no_error(tracer: Any, leaving: Any) -> None:
    with pytest.raises(leaving), tracer.start_as_current_span("x") as span:
        raise leaving
    assert span.status.status_code is StatusCode.UNSET
    assert not span.is_recording()


def test_exceptions_are_not_recorded_when_the_caller_says_so(tracer: Any) -> None:
    quiet = tracer.start_as_current_span("x", record_exception=False, set_status_on_exception=False)
    with pytest.raises(ValueError), quiet as span:  # noqa: PT011 - any
        raise ValueError
    assert span.events == ()
    assert span.status.status_code is StatusCode.UNSET


def test_it_has_what_others_read_from_a_readable_span(ended: Ended) -> None:
    tracer = ended.tracer(clock=SteppingClock())
    parent = tracer.start_span("parent")
    span = tracer.start_span(
        "x", with_span(parent), SpanKind.CLIENT, {"a": 1}, [Link(OTHER, {"l": 1})]
    )
    span.add_event("e", {"b": 2}, timestamp=7)
    span.end()
    assert (span.name, span.kind) == ("x", SpanKind.CLIENT)
    assert (span.start_time, span.end_time) == (2_000_000_000, 3_000_000_000)
    assert span.attributes["a"] == span._attributes["a"] == 1
    assert [(e.name, e.timestamp, e.attributes) for e in span.events] == [("e", 7, {"b": 2})]
    assert [(link.context, link.attributes) for link in span.links] == [(OTHER, {"l": 1})]
    assert span.parent == parent.get_span_context()
    assert span.context == span.get_span_context()
    assert span.resource.attributes == {"service.name": "t"}
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == (
        "test.scope",
        "1.2",
    )


def test_invalid_links_are_ignored(tracer: Any) -> None:
    span = tracer.start_span("x", links=[Link(SpanContext(0, 0, is_remote=False))])
    assert span.links == ()


def test_a_span_ended_in_a_signal_handler_arrives_and_blocks_nothing(
    tracer: Any, ended: Ended
) -> None:
    spans: list[Span] = [tracer.start_span(f"s{n}") for n in range(200)]
    waiting = list(spans)

    def end_one(*_: object) -> None:
        if waiting:
            waiting.pop().end()

    before = signal.signal(signal.SIGALRM, end_one)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while waiting:
            tracer.start_span("busy").end()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert {id(span) for span in spans} <= {id(span) for span in ended}


def test_a_span_ended_by_the_garbage_collector_arrives(tracer: Any, ended: Ended) -> None:
    class Holder:
        def __init__(self) -> None:
            self.span = tracer.start_span("held")
            self.circle = self

        def __del__(self) -> None:
            self.span.end()

    Holder()
    gc.collect()
    assert [span.name for span in ended] == ["held"]


class _Raising(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    "misuse",
    [
        lambda span: span.set_attribute("k", _circle()),
        lambda span: span.set_attribute("k", _Raising([1])),
        lambda span: span.set_attribute(["no key"], 1),
        lambda span: span.set_attributes(None),
        lambda span: span.set_attributes({"k": _Raising([1])}),
        lambda span: span.add_event("e", {"k": _Raising([1])}),
        lambda span: span.add_event("e", timestamp="now"),
        lambda span: span.add_link(None),
        lambda span: span.set_status("ERROR"),
        lambda span: span.set_status(None),
        lambda span: span.end("now"),
        lambda span: eval("span.update_name('y')", {"__name__": None, "span": span}),  # noqa: S307 - an app's code
    ],
)
def test_no_misuse_of_a_span_reaches_the_app_or_loses_the_span(
    misuse: Any, tracer: Any, ended: Ended
) -> None:
    span = tracer.start_span("x", links=[None])
    misuse(span)
    span.end()
    assert ended == [span]
    assert span.end_time >= span.start_time
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("moment", ["now", 1.5, [], object()])
def test_a_start_that_is_no_time_is_now(moment: Any, tracer: Any, ended: Ended) -> None:
    before = time.time_ns()
    tracer.start_span("x", start_time=moment).end()
    assert before <= ended[0].start_time <= ended[0].end_time


def test_none_says_nothing_and_takes_nothing_away(tracer: Any) -> None:
    span = tracer.start_span("x", attributes={"a": 1, "b": None})
    span.set_attribute("a", None)
    span.set_attributes({"a": None, "c": 2})
    span.local_trace.bind({"a": 9, "d": None})
    assert dict(span.attributes) == {"a": 1, "c": 2}


def test_an_error_after_a_final_ok_is_an_event_and_no_more(tracer: Any) -> None:
    span = tracer.start_span("x")
    span.set_status(StatusCode.OK)
    span.failed(ValueError())
    assert "error.type" not in span.attributes
    assert len(span.events) == 1


def test_attributes_bound_to_a_local_trace_are_bounded(tracer: Any) -> None:
    span = tracer.start_span("x")
    for number in range(300):
        span.local_trace.bind({f"k{number}": number})
    assert len(span.local_trace.bound) == 128


def test_spans_that_nobody_ends_are_given_up_and_counted(tracer: Any, ended: Ended) -> None:
    root = tracer.start_span("root")
    context = with_span(root)
    for _ in range(10_100):
        tracer.start_span("leak", context)
    assert len(root.local_trace.open_spans) == 10_000
    assert root.local_trace.abandoned == 101
    root.end()
    assert ended == [root]
