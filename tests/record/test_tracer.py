"""The tracer and its provider: parents, local traces, contexts, and stages that fail."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from turntrace.record import Resource, TracerProvider, Verdict, current_local_trace
from turntrace.record.context import attach, detach, get_current, with_span

if TYPE_CHECKING:
    from conftest import Recorded


def remote(*, sampled: bool = True) -> Context:
    flags = TraceFlags(1 if sampled else 0)
    context = SpanContext(
        0xABC, 0xDEF, is_remote=True, trace_flags=flags, trace_state=TraceState([("k", "v")])
    )
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


class Wrapped(trace.Span):
    """What Logfire and others do: a span of their own around ours."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)


for _name in trace.Span.__abstractmethods__:

    def _pass_on(self: Wrapped, *args: Any, _name: str = _name, **kwargs: Any) -> Any:
        return getattr(self._span, _name)(*args, **kwargs)

    setattr(Wrapped, _name, _pass_on)
Wrapped.__abstractmethods__ = frozenset()


def test_a_child_joins_the_local_trace_of_its_parent(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    with (
        tracer.start_as_current_span("root") as root,
        tracer.start_as_current_span("child") as child,
    ):
        assert child.local_trace is root.local_trace
        assert child.parent == root.get_span_context()
    assert root.local_trace.root is root
    assert root.local_trace.open_spans == {}
    assert recorded.tree() == ["root", "  child"]


def test_a_remote_parent_starts_a_local_trace_with_its_id_and_state(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    span = tracer.start_span("x", remote(sampled=False))
    assert span.get_span_context().trace_id == 0xABC
    assert span.parent.span_id == 0xDEF
    assert span.local_trace.root is span
    assert span.get_span_context().trace_state.get("k") == "v"
    # Parenting and sampling are separate: the remote's "not sampled" decides nothing here.
    assert span.get_span_context().trace_flags.sampled
    span.end()
    assert recorded.spans[0].parent_is_remote


def test_two_remote_parents_of_one_trace_are_two_local_traces(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    one, two = tracer.start_span("1", remote()), tracer.start_span("2", remote())
    assert one.local_trace is not two.local_trace
    assert one.get_span_context().trace_id == two.get_span_context().trace_id


def test_roots_say_that_their_trace_id_is_random(recorded: Recorded) -> None:
    span = recorded.provider.get_tracer("turntrace.t").start_span("x")
    assert span.get_span_context().trace_flags & 0x02


def test_the_local_trace_is_found_behind_a_span_that_somebody_wrapped(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    with tracer.start_as_current_span("root") as root:
        context = trace.set_span_in_context(Wrapped(root))
        assert current_local_trace(context) is root.local_trace
        child = tracer.start_span("child", context)
        assert child.local_trace is root.local_trace
        child.end()
    assert recorded.tree() == ["root", "  child"]


def test_an_undecided_or_dropped_span_still_records_with_the_sampled_flag_off() -> None:
    provider = TracerProvider(
        Resource({}), lambda _: None, decide=lambda *_: Verdict(False, "no", 0.1)
    )
    span = provider.get_tracer("t").start_span("x")
    assert span.is_recording()
    assert not span.get_span_context().trace_flags.sampled


def test_start_as_current_span_decorates_functions_and_coroutines(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")

    @tracer.start_as_current_span("sync")
    def double(value: int) -> int:
        return value * 2

    @tracer.start_as_current_span("async")
    async def triple(value: int) -> int:
        await asyncio.sleep(0)
        return value * 3

    async def both() -> list[int]:
        return await asyncio.gather(triple(1), triple(2))

    assert (double(1), double(2)) == (2, 4)
    assert asyncio.run(both()) == [3, 6]
    assert inspect.iscoroutinefunction(triple)
    assert (double.__name__, triple.__name__) == ("double", "triple")
    assert recorded.names() == ["sync", "sync", "async", "async"]
    assert len({span.trace_id for span in recorded.spans}) == 4


def test_a_coroutine_s_span_lasts_as_long_as_the_coroutine(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")

    @tracer.start_as_current_span("outer")
    async def outer() -> None:
        await asyncio.sleep(0)
        tracer.start_span("inner").end()

    asyncio.run(outer())
    assert recorded.tree() == ["outer", "  inner"]


def test_the_same_context_manager_may_be_entered_again(recorded: Recorded) -> None:
    again = recorded.provider.get_tracer("turntrace.t").start_as_current_span("x")
    with again:
        pass
    with again:
        pass
    assert recorded.names() == ["x", "x"]


@pytest.mark.parametrize(
    "given", [{"attributes": ["a"]}, {"attributes": 5}, {"links": 5}, {"links": [None, "x"]}]
)
def test_no_argument_of_a_start_reaches_the_app_as_an_error(
    recorded: Recorded, given: dict[str, Any]
) -> None:
    recorded.provider.get_tracer("turntrace.t").start_span("x", **given).end()
    assert recorded.names() == ["x"]


def test_several_tasks_inside_one_context_manager_each_end_their_own_span(
    recorded: Recorded,
) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    shared = tracer.start_as_current_span("shared")
    first_is_in, second_is_in = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with shared:
            first_is_in.set()
            await second_is_in.wait()
            tracer.start_span("in first").end()

    async def second() -> None:
        await first_is_in.wait()
        with shared:
            second_is_in.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            tracer.start_span("in second").end()

    async def both() -> None:
        await asyncio.gather(first(), second())

    asyncio.run(both())
    assert recorded.tree() == ["shared", "  in first", "shared", "  in second"]


def test_a_local_trace_follows_the_span_that_is_current(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    other = tracer.start_span("other")
    with tracer.start_as_current_span("outer"), trace.use_span(other):
        assert current_local_trace() is other.local_trace
    with tracer.start_as_current_span("outer"), trace.use_span(Wrapped(other)):
        assert current_local_trace() is other.local_trace
    stranger = NonRecordingSpan(SpanContext(1, 1, is_remote=False))
    with tracer.start_as_current_span("outer"), trace.use_span(stranger):
        assert current_local_trace() is None


def test_end_on_exit_false_leaves_the_span_open(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    with tracer.start_as_current_span("x", end_on_exit=False) as span:
        pass
    assert span.is_recording()
    assert trace.get_current_span() is trace.INVALID_SPAN
    span.end()
    assert recorded.names() == ["x"]


def test_the_api_s_use_span_works_with_ours(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")
    root = tracer.start_span("root")
    with trace.use_span(root, end_on_exit=True):
        tracer.start_span("child").end()
    assert recorded.tree() == ["root", "  child"]


def test_a_token_used_in_another_context_raises_nothing_and_logs_nothing(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    span = recorded.provider.get_tracer("turntrace.t").start_span("x")
    token = attach(with_span(span))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(detach, token).result()
    detach(token)
    detach(token)
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert caplog.records == []


def test_a_generator_closed_elsewhere_raises_nothing(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")

    def streaming() -> Any:
        with tracer.start_as_current_span("stream"):
            yield 1
            yield 2

    stream = streaming()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(next, stream).result() == 1
    stream.close()
    assert recorded.names() == ["stream"]
    assert get_current() == Context()


def test_concurrent_tasks_never_share_a_parent(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t")

    async def turn(number: int) -> None:
        with tracer.start_as_current_span(f"turn {number}"):
            for step in range(5):
                with tracer.start_as_current_span(f"step {number}.{step}"):
                    await asyncio.sleep(0)

    async def all_turns() -> None:
        await asyncio.gather(*(turn(number) for number in range(8)))

    asyncio.run(all_turns())
    assert len({span.trace_id for span in recorded.spans}) == 8
    for number in range(8):
        steps = recorded.children(f"turn {number}")
        assert [span.name for span in steps] == [f"step {number}.{step}" for step in range(5)]


def test_a_stage_that_fails_is_said_once_without_its_text_and_breaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class OwnError(Exception):
        pass

    def failing(_: object) -> None:
        raise OwnError("typed by a user")

    tracer = TracerProvider(Resource({}), failing).get_tracer("t")
    with caplog.at_level(logging.WARNING, "turntrace"):
        for _ in range(3):
            with tracer.start_as_current_span("x"):
                pass
    assert len(caplog.records) == 1
    assert "OwnError" in caplog.text
    assert "typed by a user" not in caplog.text


def test_a_sampling_decision_that_fails_keeps_the_trace() -> None:
    def failing(*_: object) -> Verdict:
        raise RuntimeError

    spans: list[Any] = []
    provider = TracerProvider(Resource({}), spans.append, decide=failing)
    provider.get_tracer("t").start_span("x").end()
    assert spans[0].local_trace.verdict.keep


def test_processors_of_others_see_every_start_and_end() -> None:
    class Processor:
        def __init__(self) -> None:
            self.seen: list[tuple[str, str]] = []

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            self.seen.append(("start", span.name))

        def on_end(self, span: Any) -> None:
            self.seen.append(("end", span.name))
            raise RuntimeError

        def shutdown(self) -> None:
            self.seen.append(("shutdown", ""))

        def force_flush(self, timeout_millis: int = 0) -> bool:
            return False

    provider = TracerProvider(Resource({}), lambda _: None)
    processor = Processor()
    provider.add_span_processor(processor)
    provider.get_tracer("t").start_span("x").end()
    assert not provider.force_flush(10)
    provider.shutdown()
    assert processor.seen == [("start", "x"), ("end", "x"), ("shutdown", "")]


def test_tracers_asked_for_after_shutdown_do_nothing() -> None:
    spans: list[Any] = []
    provider = TracerProvider(Resource({}), spans.append)
    provider.shutdown()
    with provider.get_tracer("t").start_as_current_span("x"):
        pass
    assert spans == []


def test_an_app_that_seeds_random_repeats_no_ids() -> None:
    tracer = TracerProvider(Resource({}), lambda _: None).get_tracer("t")
    ids = set()
    for _ in range(3):
        random.seed(1)
        ids.add(tracer.start_span("x").trace_id)
    assert len(ids) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    tracer = TracerProvider(Resource({}), lambda _: None).get_tracer("t")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"%032x" % tracer.start_span("x").trace_id)
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(read, 32), 16)
    os.close(read)
    os.close(write)
    assert theirs != tracer.start_span("x").trace_id


def test_kind_and_scope_reach_the_record(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("turntrace.t", "2.0")
    tracer.start_span("x", kind=SpanKind.CONSUMER).end()
    (record,) = recorded.spans
    assert record.kind == SpanKind.CONSUMER.value
    assert (record.scope.name, record.scope.version) == ("turntrace.t", "2.0")
