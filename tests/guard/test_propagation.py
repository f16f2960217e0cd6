"""What goes along with an outgoing call: ids and sampling, whichever propagator writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Setter, TextMapPropagator, default_setter
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState

from turntrace import failsafe, outgoing
from turntrace.guard import propagation
from turntrace.guard.propagation import GuardedPropagator
from turntrace.outgoing import MEMBERS, SafeSetter, safe_context, safe_trace_state

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "zq7canary"
TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SPAN_ID = 0xB7AD6B7169203331
PARENT_ID = 0x53995C3F42CD8AD8
STATE = [("vendor", CANARY), ("ot", "th:c;rv:0123456789abcd")]


def span_context(span_id: int = SPAN_ID, **options: Any) -> SpanContext:
    state = TraceState(options.get("state", STATE))
    return SpanContext(TRACE_ID, span_id, options.get("is_remote", True), TraceFlags(3), state)


class Wrapper(Span):
    """A span as other tracers wrap ours: no class of ours, with a parent."""

    def __init__(self, inner: SpanContext, parent: SpanContext | None = None) -> None:
        self._inner = inner
        self.parent = parent

    def get_span_context(self) -> SpanContext:
        return self._inner

    def _nothing(self, *_: Any, **__: Any) -> None: ...

    end = set_attribute = set_attributes = add_event = _nothing
    update_name = set_status = record_exception = _nothing

    def is_recording(self) -> bool:
        return True


def carrying(span: Span | None = None, *, typed: str | None = CANARY) -> Context:
    context = trace.set_span_in_context(span or NonRecordingSpan(span_context()), Context())
    return context if typed is None else baggage.set_baggage("typed", typed, context)


class B3(TextMapPropagator):
    """Writes what the official B3 propagator does, the parent's id included."""

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
        return context or Context()

    def inject(self, carrier: Any, context: Any = None, setter: Any = default_setter) -> None:
        span: Any = trace.get_current_span(context)
        found = span.get_span_context()
        setter.set(carrier, "x-b3-traceid", f"{found.trace_id:032x}")
        setter.set(carrier, "x-b3-spanid", f"{found.span_id:016x}")
        setter.set(carrier, "x-b3-sampled", str(found.trace_flags & 1))
        if getattr(span, "parent", None) is not None:
            setter.set(carrier, "x-b3-parentspanid", f"{span.parent.span_id:016x}")

    @property
    def fields(self) -> set[str]:
        return {"x-b3-traceid"}


class Jaeger(B3):
    """Writes a header for each baggage entry, as the official Jaeger propagator does."""

    def inject(self, carrier: Any, context: Any = None, setter: Any = default_setter) -> None:
        for key, value in baggage.get_all(context).items():
            setter.set(carrier, f"uberctx-{key}", str(value))


class Stubborn(B3):
    """Has baggage of its own, as Sentry's propagator has."""

    HEADERS = ("baggage", "Baggage", "uberctx-a", "ot-baggage-a", "baggage-a", "jaeger-baggage")

    def inject(self, carrier: Any, context: Any = None, setter: Any = default_setter) -> None:
        for header in self.HEADERS:
            setter.set(carrier, header, CANARY)
        setter.set(carrier, "tracestate", f"vendor={CANARY},ot=th:8")
        setter.set(carrier, "x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/1")


class Unheard(B3):
    """Writes baggage into a header that nobody knows."""

    def inject(self, carrier: Any, context: Any = None, setter: Any = default_setter) -> None:
        for key, value in baggage.get_all(context).items():
            setter.set(carrier, f"x-mine-{key}", str(value))


class Broken(B3):
    def inject(self, carrier: Any, context: Any = None, setter: Any = default_setter) -> None:
        raise RuntimeError(CANARY)


W3C = propagate.get_global_textmap()


def injected(inner: TextMapPropagator = W3C, context: Context | None = None) -> dict[str, str]:
    carrier: dict[str, str] = {}
    GuardedPropagator(inner).inject(carrier, carrying() if context is None else context)
    return carrier


@pytest.fixture
def global_propagator() -> Iterator[TextMapPropagator]:
    before = propagate.get_global_textmap()
    propagation.remove()  # another test may have configured
    propagate.set_global_textmap(W3C)
    yield W3C
    propagation.remove()
    propagate.set_global_textmap(before)


SPANS = {
    "remote": NonRecordingSpan(span_context()),
    "local": NonRecordingSpan(span_context(is_remote=False)),
    "wrapped": Wrapper(span_context()),
}


@pytest.mark.parametrize("span", SPANS.values(), ids=list(SPANS))
def test_ids_flags_and_sampling_go_along_and_nothing_else(span: Span) -> None:
    assert injected(context=carrying(span)) == {
        "traceparent": f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-03",
        "tracestate": "ot=th:c;rv:0123456789abcd",
    }


def test_without_the_guard_all_of_it_would_go_along() -> None:
    carrier: dict[str, str] = {}
    W3C.inject(carrier, carrying())
    assert carrier["baggage"] == f"typed={CANARY}"
    assert CANARY in carrier["tracestate"]


def test_b3_keeps_ids_sampling_and_the_parent() -> None:
    parent = span_context(PARENT_ID)
    assert injected(B3(), carrying(Wrapper(span_context(), parent))) == {
        "x-b3-traceid": f"{TRACE_ID:032x}",
        "x-b3-spanid": f"{SPAN_ID:016x}",
        "x-b3-sampled": "1",
        "x-b3-parentspanid": f"{PARENT_ID:016x}",
    }


def test_the_parent_s_trace_state_is_reduced_too() -> None:
    span: Any = trace.get_current_span(
        safe_context(carrying(Wrapper(span_context(), span_context(PARENT_ID))))
    )
    assert CANARY not in repr(span.parent.trace_state)
    assert span.context == span.get_span_context()


@pytest.mark.parametrize("inner", [Jaeger(), Unheard(), W3CBaggagePropagator()])
def test_baggage_of_the_context_stays_whoever_writes_it(inner: TextMapPropagator) -> None:
    assert injected(inner) == {}


def test_baggage_from_elsewhere_stays_too() -> None:
    assert injected(Stubborn()) == {
        "tracestate": "ot=th:8",
        "x-cloud-trace-context": "105445aa7843bc8bf206b12000100000/1",
    }


def test_a_setter_of_the_caller_is_used() -> None:
    class Upper(Setter[dict[str, str]]):
        def set(self, carrier: dict[str, str], key: str, value: str) -> None:
            carrier[key.upper()] = value

    carrier: dict[str, str] = {}
    GuardedPropagator(Stubborn()).inject(carrier, carrying(), Upper())
    assert set(carrier) == {"TRACESTATE", "X-CLOUD-TRACE-CONTEXT"}


def test_the_current_context_is_meant_where_none_is_given() -> None:
    from opentelemetry import context

    token = context.attach(carrying())
    try:
        carrier: dict[str, str] = {}
        GuardedPropagator(W3C).inject(carrier)
    finally:
        context.detach(token)
    assert set(carrier) == {"traceparent", "tracestate"}


def test_a_propagator_that_fails_breaks_no_call() -> None:
    before = sum(failsafe.failures().values())
    assert injected(Broken()) == {}
    assert sum(failsafe.failures().values()) == before + 1


def test_what_arrives_is_extracted_whole() -> None:
    carrier: dict[str, str] = {}
    W3C.inject(carrier, carrying())
    extracted = GuardedPropagator(W3C).extract(carrier)
    assert baggage.get_baggage("typed", extracted) == CANARY
    state = trace.get_current_span(extracted).get_span_context().trace_state
    assert state.get("vendor") == CANARY


def test_fields_are_those_of_the_wrapped_propagator() -> None:
    assert GuardedPropagator(B3()).fields == {"x-b3-traceid"}


@pytest.mark.parametrize("state", [[], [("ot", "th:c")], [("ot", "rv:0123456789abcd;th:8")]])
def test_where_there_is_nothing_to_withhold_nothing_is_copied(state: list[Any]) -> None:
    context = carrying(NonRecordingSpan(span_context(state=state)), typed=None)
    assert safe_context(context) is context


# -- the global propagator --------------------------------------------------------------------


def test_installed_it_guards_what_anybody_injects(global_propagator: TextMapPropagator) -> None:
    propagation.install()
    carrier: dict[str, str] = {}
    propagate.inject(carrier, carrying())
    assert CANARY not in repr(carrier)


def test_installing_twice_wraps_once(global_propagator: TextMapPropagator) -> None:
    propagation.install()
    first = propagate.get_global_textmap()
    propagation.install()
    assert propagate.get_global_textmap() is first


def test_installing_with_other_members_replaces_the_wrapper(
    global_propagator: TextMapPropagator,
) -> None:
    propagation.install()
    propagation.install(MEMBERS | {"vendor"})
    current = propagate.get_global_textmap()
    assert isinstance(current, GuardedPropagator)
    assert current.inner is global_propagator
    carrier: dict[str, str] = {}
    propagate.inject(carrier, carrying())
    assert carrier["tracestate"] == f"vendor={CANARY},ot=th:c;rv:0123456789abcd"


def test_removing_restores_what_was_there(global_propagator: TextMapPropagator) -> None:
    propagation.install()
    propagation.remove()
    propagation.remove()
    assert propagate.get_global_textmap() is global_propagator


def test_a_propagator_set_in_between_is_left_alone(global_propagator: TextMapPropagator) -> None:
    propagation.install()
    theirs = B3()
    propagate.set_global_textmap(theirs)
    propagation.remove()
    assert propagate.get_global_textmap() is theirs


def test_a_propagator_set_in_between_is_guarded_by_the_next_install(
    global_propagator: TextMapPropagator,
) -> None:
    propagation.install()
    propagate.set_global_textmap(Jaeger())
    propagation.install()
    carrier: dict[str, str] = {}
    propagate.inject(carrier, carrying())
    assert carrier == {}


def test_removed_it_does_nothing_where_somebody_still_holds_it(
    global_propagator: TextMapPropagator,
) -> None:
    propagation.install()
    propagate.set_global_textmap(CompositePropagator([propagate.get_global_textmap(), B3()]))
    propagation.remove()
    carrier: dict[str, str] = {}
    propagate.inject(carrier, carrying())
    assert carrier["baggage"] == f"typed={CANARY}"


def test_our_own_calls_are_safe_where_nothing_is_installed(
    global_propagator: TextMapPropagator,
) -> None:
    propagate.set_global_textmap(CompositePropagator([W3C, Stubborn()]))
    carrier: dict[str, str] = {}
    outgoing.inject(carrier, carrying())
    assert "traceparent" in carrier
    assert CANARY not in repr(carrier)


def test_our_own_calls_survive_a_propagator_that_fails(
    global_propagator: TextMapPropagator,
) -> None:
    propagate.set_global_textmap(Broken())
    carrier: dict[str, str] = {}
    outgoing.inject(carrier, carrying())
    assert carrier == {}


# -- trace state --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "left"),
    [
        ([("ot", "th:0")], "ot=th:0"),
        ([("ot", "th:8;rv:0123456789abcd")], "ot=th:8;rv:0123456789abcd"),
        ([("ot", f"th:8;x:{CANARY}")], "ot=th:8"),
        ([("ot", f"{CANARY};rv:0123456789abcd")], "ot=rv:0123456789abcd"),
        ([("ot", "th:8;th:9")], "ot=th:8"),
        ([("vendor", "1"), ("ot", "th:8"), ("w", "2")], "ot=th:8"),
        ([("ot", "th:")], None),
        ([("ot", "th:0123456789abcde")], None),
        ([("ot", "th:8G")], None),
        ([("ot", "TH:8")], None),
        ([("ot", "rv:0123456789abc")], None),
        ([("ot", CANARY)], None),
        ([("vendor", "1")], None),
        ([], None),
    ],
)
def test_of_a_trace_state_only_sampling_leaves(
    entries: list[tuple[str, str]], left: str | None
) -> None:
    state = safe_trace_state(TraceState(entries))
    assert (state and state.to_header()) == left


def test_no_trace_state_is_none() -> None:
    assert safe_trace_state(None) is None


@pytest.mark.parametrize(("value", "leaves"), [("a.b:c-1", True), ("two words", False)])
def test_a_member_that_the_operator_allows_leaves_as_a_word(value: str, *, leaves: bool) -> None:
    state = safe_trace_state(TraceState([("mine", value)]), MEMBERS | {"mine"})
    assert (state is not None) is leaves


def test_sampling_is_a_member_like_others() -> None:
    assert safe_trace_state(TraceState([("ot", "th:8")]), frozenset()) is None
    carrier: dict[str, str] = {}
    SafeSetter(members=frozenset()).set(carrier, "tracestate", "ot=th:8")
    assert carrier == {}


@given(st.lists(st.tuples(st.sampled_from(["ot", "a"]), st.text("th:rv;0a8zq ", max_size=30))))
def test_what_leaves_of_a_trace_state_is_sampling_whatever_it_held(
    entries: list[tuple[str, str]],
) -> None:
    state = TraceState()
    for key, value in entries:
        state = state.update(key, value)
    left = safe_trace_state(state)
    parts = left.to_header().removeprefix("ot=").split(";") if left else []
    assert len({part[:3] for part in parts}) == len(parts)
    assert all(part[:3] in {"th:", "rv:"} for part in parts)
    assert all(set(part[3:]) <= set("0123456789abcdef") for part in parts)
