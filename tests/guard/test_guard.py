"""The guard: what may leave does, unchanged; nothing else does, and it is counted."""

from __future__ import annotations

import enum
import math
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags

from turntrace import attributes as keys
from turntrace.attributes import KEYS, Vocabulary, keys_of
from turntrace.export.otlp import Resource, encode_request
from turntrace.guard.schema import WITHHELD_NAME, Schema
from turntrace.guard.stage import GuardStage
from turntrace.record import Resource as ProviderResource
from turntrace.record import SpanRecord, TracerProvider
from turntrace.record.values import own_all

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "qz canary 4711"


class Guarded:
    """A provider whose spans end in a guard."""

    def __init__(self, schema: Schema | None = None) -> None:
        self.records: list[SpanRecord] = []
        self.stage = GuardStage(schema or Schema(), self.records.append)
        self.provider = TracerProvider(ProviderResource({}), self.stage.on_end)

    def span(self, name: str = "x", scope: str = "turntrace.test", **attributes: Any) -> Any:
        return self.provider.get_tracer(scope).start_span(name, attributes=attributes)

    def record(self, span: Any) -> SpanRecord:
        span.end()
        return self.records[-1]


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


def leaks(record: SpanRecord) -> bool:
    return CANARY.encode() in encode_request(Resource({}), [record])


def test_known_keys_leave_and_unknown_ones_are_counted_and_named(guarded: Guarded) -> None:
    span = guarded.span()
    made = str(b"prompt", "ascii")
    span.set_attributes({keys.SESSION_ID: "s1", made: CANARY, keys.HTTP_STATUS_CODE: 200})
    record = guarded.record(span)
    assert record.attributes == {
        keys.SESSION_ID: "s1",
        keys.HTTP_STATUS_CODE: 200,
        keys.SAMPLING_REASON: "all",
    }
    assert record.dropped_attributes == 1
    assert guarded.stage.withheld == {"prompt": 1}


PATHS: dict[str, Callable[[Any], object]] = {
    "attribute value under an unknown key": lambda s: s.set_attribute("prompt", CANARY),
    "attribute key": lambda s: s.set_attribute(CANARY, 1),
    "status description": lambda s: s.set_status(StatusCode.ERROR, CANARY),
    "exception text": lambda s: s.record_exception(ValueError(CANARY)),
    "exception attribute": lambda s: s.record_exception(
        ValueError(), {"exception.message": CANARY}
    ),
    "event name": lambda s: s.add_event(CANARY),
    "event attribute": lambda s: s.add_event("exception", {"x": CANARY}),
    "link attribute": lambda s: s.add_link(SpanContext(1, 1, True), {"x": CANARY}),
    "a foreign object": lambda s: s.set_attribute(keys.SESSION_ID, _Talkative()),
    "bytes": lambda s: s.set_attribute(keys.SESSION_ID, CANARY.encode()),
    "a mapping": lambda s: s.set_attribute(keys.SESSION_ID, {CANARY: CANARY}),
    "nested sequences": lambda s: s.set_attribute(keys.SESSION_ID, [[CANARY]]),
}


class _Talkative:
    def __repr__(self) -> str:
        return CANARY

    __str__ = __repr__


@pytest.mark.parametrize("path", PATHS)
def test_text_does_not_leave_as(path: str, guarded: Guarded) -> None:
    span = guarded.span()
    PATHS[path](span)
    assert not leaks(guarded.record(span))


def test_a_span_name_of_somebody_else_s_is_withheld_unless_it_stands_in_their_code(
    guarded: Guarded,
) -> None:
    assert guarded.record(guarded.span(CANARY, scope="other")).name == WITHHELD_NAME
    assert guarded.record(guarded.span("plain", scope="other")).name == WITHHELD_NAME
    tracer = guarded.provider.get_tracer("other")
    assert guarded.record(tracer.start_span("plain")).name == "plain"


@pytest.mark.parametrize("name", ["a\nb", "x" * 200, "", "naïve", "it's", 'say "hi"'])
def test_a_name_of_ours_that_does_not_look_like_one_is_withheld(
    name: str, guarded: Guarded
) -> None:
    assert guarded.record(guarded.span(name)).name == WITHHELD_NAME


@pytest.mark.parametrize(
    "name",
    ["POST /api/sessions/{id}", "socket.io *", "chat gemini-2.5-flash", "SELECT a.b", "node tools"],
)
def test_names_of_ours_leave(name: str, guarded: Guarded) -> None:
    assert guarded.record(guarded.span(name)).name == name


def test_a_stranger_s_trace_state_does_not_leave(guarded: Guarded) -> None:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, TraceState

    parent = SpanContext(1, 2, True, TraceFlags(1), TraceState([("k", "qzcanary")]))
    span = guarded.provider.get_tracer("turntrace.t").start_span(
        "x", trace.set_span_in_context(NonRecordingSpan(parent), Context())
    )
    assert guarded.record(span).trace_state == ""


def test_enum_members_and_subclasses_leave_as_their_plain_value(guarded: Guarded) -> None:
    class Phase(enum.StrEnum):
        PLAN = "plan"

    class Loud(str):
        __slots__ = ()

        def __str__(self) -> str:
            return CANARY

    span = guarded.span()
    span.set_attribute(keys.TURN_PHASE, Phase.PLAN)
    span.set_attribute(keys.ROOM_ID, Loud("room"))
    values = guarded.record(span).attributes
    assert values[keys.TURN_PHASE] == "plan"
    assert type(values[keys.TURN_PHASE]) is str
    assert values[keys.ROOM_ID] == "room"
    assert type(values[keys.ROOM_ID]) is str


def test_an_identifier_that_is_too_long_to_be_one_is_withheld(guarded: Guarded) -> None:
    record = guarded.record(guarded.span(**{keys.SESSION_ID: "x" * 129}))
    assert keys.SESSION_ID not in record.attributes
    record = guarded.record(guarded.span(**{keys.SESSION_ID: "x" * 128}))
    assert record.attributes[keys.SESSION_ID] == "x" * 128


def test_bound_attributes_are_on_spans_that_end_later_and_yield_to_a_span_s_own(
    guarded: Guarded,
) -> None:
    span = guarded.span(**{keys.ROOM_ID: "own"})
    span.local_trace.bind({keys.SESSION_ID: "s", keys.ROOM_ID: "bound", "unknown": "x"})
    values = guarded.record(span).attributes
    assert (values[keys.SESSION_ID], values[keys.ROOM_ID]) == ("s", "own")
    assert "unknown" not in values


def test_only_the_local_root_says_why_the_trace_was_kept(guarded: Guarded) -> None:
    from turntrace.record.context import with_span

    tracer = guarded.provider.get_tracer("turntrace.t")
    root = tracer.start_span("root")
    child = tracer.start_span("child", with_span(root))
    assert keys.SAMPLING_REASON not in guarded.record(child).attributes
    assert guarded.record(root).attributes[keys.SAMPLING_REASON] == "all"


def test_a_span_that_a_thread_still_writes_to_is_guarded_from_a_copy(guarded: Guarded) -> None:
    stop = threading.Event()
    current: list[Any] = [guarded.span()]

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            current[0].set_attribute(f"k{number % 100}", number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3000):
            span, current[0] = current[0], guarded.span()
            span.end()
    finally:
        stop.set()
        writer.join()
    assert len(guarded.records) == 3000


def test_the_count_of_withheld_keys_is_bounded(guarded: Guarded) -> None:
    for number in range(1200):
        guarded.record(guarded.span(**{f"unknown {number}": 1}))
    assert len(guarded.stage.withheld) == 1000


def test_names_and_scopes_it_remembers_are_few_and_short(guarded: Guarded) -> None:
    for number in range(10_100):
        guarded.stage.record(guarded.span(f"name {number}", scope=f"other.{number}"))
        guarded.stage.record(guarded.span(f"name {number}"))
    scopes = guarded.stage._scopes
    assert len(scopes) == 10_000
    assert sum(len(judged.names) for judged in scopes.values()) == 10_000
    guarded.record(guarded.span(**{"k" * 20_000: 1}))
    assert max(map(len, guarded.stage.withheld)) == 64


def test_a_value_of_another_kind_than_its_key_s_does_not_leave(guarded: Guarded) -> None:
    span = guarded.span()
    span.set_attribute(keys.GEN_AI_USAGE_INPUT_TOKENS, CANARY)
    span.set_attribute(keys.HTTP_STATUS_CODE, CANARY)
    span.set_attribute(keys.GEN_AI_REQUEST_STREAM, CANARY)
    span.set_attribute(keys.SESSION_ID, 7)
    assert set(guarded.record(span).attributes) == {keys.SAMPLING_REASON}


def test_a_number_of_a_type_of_its_own_leaves_as_a_plain_one(guarded: Guarded) -> None:
    record = guarded.record(guarded.span(**{keys.HTTP_STATUS_CODE: HTTPStatus.OK}))
    assert type(record.attributes[keys.HTTP_STATUS_CODE]) is int


def test_the_reason_for_sampling_is_the_guard_s_to_say(guarded: Guarded) -> None:
    span = guarded.span(**{keys.SAMPLING_REASON: CANARY})
    assert guarded.record(span).attributes[keys.SAMPLING_REASON] == "all"


@pytest.mark.parametrize("key", [keys.ERROR_TYPE, keys.EXCEPTION_TYPE])
def test_a_type_is_a_name_and_never_a_sentence(key: str, guarded: Guarded) -> None:
    for name in ("ValueError", "pkg.mod.Outer.<locals>.Inner", "503"):
        assert guarded.record(guarded.span(**{key: name})).attributes[key] == name
    assert key not in guarded.record(guarded.span(**{key: f"ValueError: {CANARY}"})).attributes


@pytest.mark.parametrize("scope", ["turntrace.test", "other"])
@pytest.mark.parametrize("system", [keys.DB_SYSTEM, keys.DB_SYSTEM_NAME])
@pytest.mark.parametrize("key", [keys.DB_STATEMENT, keys.DB_QUERY_TEXT])
def test_a_statement_leaves_without_its_literals_whoever_set_it(
    key: str, system: str, scope: str, guarded: Guarded
) -> None:
    span = guarded.span("x", scope, **{key: f"SELECT a FROM t WHERE b = '{CANARY}'"})  # noqa: S608 - none is run
    span.set_attribute(system, "postgresql")
    assert guarded.record(span).attributes[key] == "SELECT a FROM t WHERE b = ?"


def test_a_statement_of_nobody_knows_which_database_is_withheld(guarded: Guarded) -> None:
    span = guarded.span(**{keys.DB_STATEMENT: f"SET greeting {CANARY}"})
    assert keys.DB_STATEMENT not in guarded.record(span).attributes
    span = guarded.span(**{keys.DB_STATEMENT: f"SET k {CANARY}", keys.DB_SYSTEM: "redis"})
    assert keys.DB_STATEMENT not in guarded.record(span).attributes


def test_a_scope_that_does_not_look_like_one_is_withheld(guarded: Guarded) -> None:
    tracer = guarded.provider.get_tracer(CANARY, CANARY, f"https://{CANARY}")
    record = guarded.record(tracer.start_span("x"))
    assert record.scope == (WITHHELD_NAME, "", "")
    tracer = guarded.provider.get_tracer(
        "opentelemetry.instrumentation.httpx", "0.66b1", "https://opentelemetry.io/schemas/1.44.0"
    )
    assert guarded.record(tracer.start_span("x")).scope.version == "0.66b1"


@pytest.mark.parametrize(
    ("version", "leaves"),
    [
        *((one, one) for one in ("1.0", "0.45b0", "v2.1.3", "1.2.3-rc.1", "3.0.0.dev1+g1a2b3c4")),
        *((one, "") for one in ("", "yes", "Cheesecake", "1.0 please", "1.cheesecake", "9" * 65)),
    ],
)
def test_the_version_of_a_scope_is_a_number(version: str, leaves: str, guarded: Guarded) -> None:
    span: Any = guarded.provider.get_tracer("app", version).start_span("x")
    assert guarded.record(span).scope.version == leaves


def test_a_span_that_the_app_renamed_loses_its_name(guarded: Guarded) -> None:
    span = guarded.span("socket.io chat:message")
    span.update_name(str(b"plain words", "ascii"))
    assert guarded.record(span).name == WITHHELD_NAME


def test_a_span_that_makes_no_sense_still_keeps_its_place_in_the_tree(guarded: Guarded) -> None:
    tracer: Any = guarded.provider.get_tracer("turntrace.t")
    record = guarded.record(tracer.start_span(None, kind=None))
    assert (record.name, record.kind) == (WITHHELD_NAME, 0)


def test_the_vocabulary_decides_which_names_leave() -> None:
    both, semconv, original = (keys_of(vocabulary) for vocabulary in Vocabulary)
    assert both == frozenset(KEYS)
    assert semconv | original == both
    assert keys.HTTP_METHOD in original - semconv
    assert keys.HTTP_REQUEST_METHOD in semconv - original
    assert keys.SESSION_ID in semconv & original


@given(
    st.dictionaries(
        st.sampled_from(sorted(KEYS)) | st.text(max_size=20),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=30)
        | st.binary(max_size=10)
        | st.lists(st.integers() | st.text(max_size=5) | st.none(), max_size=4),
        max_size=12,
    )
)
def test_whatever_is_set_only_known_keys_with_plain_values_leave(values: dict[str, Any]) -> None:
    stage = GuardStage(Schema(), lambda _: None)
    kept, dropped = stage.filtered(own_all(values))
    values = {key: value for key, value in values.items() if value is not None}
    assert set(kept) <= set(KEYS)
    assert len(kept) + dropped == len(values)
    for key, value in kept.items():
        assert type(value) in (bool, int, float, str, tuple)
        if type(value) is tuple:
            assert all(type(item) in (bool, int, float, str) for item in value)
        elif not (isinstance(value, float) and math.isnan(value)):
            assert value == values[key]
