"""Ways to pass off what somebody typed as something of the program's: none works."""

from __future__ import annotations

import enum
import sys
import time
from decimal import Decimal
from fractions import Fraction
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
import shop_constants
from opentelemetry.trace import SpanContext, TraceFlags
from shop_constants import ELSEWHERE

import turntrace
from turntrace import attributes as keys
from turntrace import call_sites, literals
from turntrace.guard.schema import WITHHELD_NAME, Schema
from turntrace.guard.stage import GuardStage
from turntrace.record import Resource, SpanRecord, TracerProvider
from turntrace.record.local_trace import Verdict

TYPED = "depyt yranac zq"[::-1]
BASE = {"shop.region": 4, "shop.floor": 2}
LISTED = ("shop.listed", "shop.also")
COMPUTED = "detupmoc.pohs"[::-1]


class Key(enum.StrEnum):
    """Keys as many apps keep them."""

    VISITS = "shop.visits"


class Size(enum.StrEnum):
    """Its texts stand nowhere, its names do."""

    SMALL = enum.auto()
    LARGE = "egral yrev"[::-1]


class Claims(str):
    """Says that it equals another text than the one it is."""

    __slots__ = ("claimed",)

    def __eq__(self, other: object) -> bool:
        return bool(self.claimed == other)

    def __hash__(self) -> int:
        return hash(self.claimed)


def claiming(text: str) -> Any:
    key = Claims(TYPED)
    key.claimed = text
    return key


class StandsIn:
    """Stands in for a text and lies about its class, as proxies do."""

    @property
    def __class__(self) -> Any:
        return str


class App:
    """An app's tracer on a provider of ours."""

    def __init__(self) -> None:
        self.records: list[SpanRecord] = []
        self.guard = GuardStage(Schema(), self.records.append)
        self.provider = TracerProvider(Resource({}), self.guard.on_end)
        self.tracer: Any = self.provider.get_tracer("app")

    def ended(self, span: Any) -> SpanRecord:
        span.end()
        assert TYPED not in repr(self.records)
        return self.records[-1]

    def facts(self, **given: Any) -> dict[str, Any]:
        return facts(self.ended(self.tracer.start_span("checkout", **given)))


def facts(record: SpanRecord) -> dict[str, Any]:
    return {key: value for key, value in record.attributes.items() if key != keys.SAMPLING_REASON}


@pytest.fixture
def app() -> App:
    return App()


# -- enums ----------------------------------------------------------------------------------------


def test_a_member_of_an_enum_that_was_made_of_what_was_typed_does_not_leave(app: App) -> None:
    made: Any = enum.Enum("Size", {"SMALL": TYPED})
    named: Any = enum.StrEnum("Made", {"X": TYPED})
    span = app.tracer.start_span(named.X)
    span.set_attribute("shop.size", made.SMALL)
    span.set_attribute(named.X, 1)
    record = app.ended(span)
    assert record.name == WITHHELD_NAME
    assert facts(record) == {
        "shop.size.length": len(TYPED),
        keys.WITHHELD_KEYS: ("shop.size",),
    }
    assert not literals.is_literal(named.X, sys._getframe())


def test_a_member_that_was_added_to_an_enum_does_not_leave(app: App) -> None:
    added = str.__new__(Size, TYPED)
    added._name_, added._value_ = "ADDED", TYPED
    Size._member_map_["ADDED"] = added
    try:
        span = app.tracer.start_span("checkout")
        span.set_attribute("shop.size", added)
        assert "shop.size" not in facts(app.ended(span))
    finally:
        del Size._member_map_["ADDED"]


def test_members_whose_texts_the_class_works_out_leave(app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute("shop.size", Size.SMALL)
    span.set_attribute("shop.largest", Size.LARGE)
    assert facts(app.ended(span)) == {"shop.size": "small", "shop.largest": "very large"}


def test_members_are_keys_and_names_of_events(app: App) -> None:
    span = app.tracer.start_span("checkout", attributes={Key.VISITS: 2})
    span.add_event(Key.VISITS, {Key.VISITS: 3})
    record = app.ended(span)
    assert facts(record) == {"shop.visits": 2}
    assert (record.events[0].name, record.events[0].attributes) == (
        "shop.visits",
        {"shop.visits": 3},
    )
    texts = [record.events[0].name, *record.attributes, *record.events[0].attributes]
    assert {type(text) for text in texts} == {str}


def test_an_enum_s_text_does_not_vouch_for_what_is_set_later(app: App) -> None:
    span = app.tracer.start_span("checkout")
    for value in (Size.SMALL, TYPED):
        span.set_attribute("shop.size", value)
    assert facts(app.ended(span))["shop.size.length"] == len(TYPED)


def test_a_member_vouches_for_its_own_text_and_no_other(app: App) -> None:
    attributes: dict[str, Any] = {"shop.size": Size.SMALL}
    scope = app.tracer.start_as_current_span("checkout", attributes=attributes)
    attributes["shop.size"] = TYPED
    with scope as span:
        pass
    assert "shop.size" not in facts(app.ended(span))


# -- code -----------------------------------------------------------------------------------------


def test_constants_of_code_that_was_compiled_from_a_text_do_not_count(app: App) -> None:
    span = app.tracer.start_span("checkout")
    text = "span.set_attribute('typed.key', 1); span.add_event('typed'); span.update_name('typed')"
    for name in ("<string>", "typed.py", "/typed.py"):
        exec(compile(text, name, "exec"), {"span": span, "__name__": "__main__"})  # noqa: S102 - an app's code
    record = app.ended(span)
    assert (record.name, facts(record)) == (WITHHELD_NAME, {})
    assert {event.name for event in record.events} == {WITHHELD_NAME}


def test_no_line_of_the_log_names_a_file_that_somebody_made_up(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    span = app.tracer.start_span("checkout")
    code = compile("span.set_attribute('typed.key', 1)", "qzcanary.py", "exec")
    exec(code, {"span": span})  # noqa: S102 - an app's code
    span.end()
    assert "typed" not in caplog.text
    assert "qzcanary" not in caplog.text
    assert "(code without a file):1" in caplog.text


def test_keys_that_stand_elsewhere_in_the_module_leave_and_words_do_not(app: App) -> None:
    def of_another_function() -> dict[str, Any]:
        return {"shop.helped": 3, "helped": 3}

    span = app.tracer.start_span("checkout", attributes={**BASE, **of_another_function()})
    for place, key in enumerate(LISTED):
        span.set_attribute(key, place)
    assert facts(app.ended(span)) == {**BASE, "shop.helped": 3, "shop.listed": 0, "shop.also": 1}


def test_another_module_s_small_collections_hold_constants_too(app: App) -> None:
    span = app.tracer.start_span("checkout", attributes=ELSEWHERE)
    for place, key in enumerate(shop_constants.LISTED_ELSEWHERE):
        span.set_attribute(key, place)
    assert facts(app.ended(span)) == {"shop.till": 1, "shop.door": 0, "shop.window": 1}


def test_a_key_that_a_module_works_out_is_looked_up_once(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    owners = call_sites._owners
    monkeypatch.setattr(
        call_sites, "_owners", lambda *given: asked.append(given[0]) or owners(*given)
    )
    span = app.tracer.start_span("checkout")
    for _ in range(10):
        span.set_attribute(COMPUTED, 1)
    assert facts(app.ended(span)) == {}
    assert asked == ["COMPUTED"]


def test_code_started_by_its_module_s_name_has_constants(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = sys.modules[__name__]
    started = ModuleType("__main__")
    started.__dict__.update(__file__=here.__file__, __spec__=here.__spec__)
    started.__loader__ = literals.SourceFileLoader(__name__, str(here.__file__))
    monkeypatch.setattr(literals, "_modules", {})
    monkeypatch.setitem(sys.modules, "__main__", started)
    assert "shop.listed" in literals.texts_of("__main__")


@pytest.mark.parametrize(
    ("code", "module", "is_loaded"),
    [
        ("/app/shop.py", "/app/shop.py", True),
        ("shop.py", "/app/shop.py", True),  # frozen
        ("/build/shop.py", "/app/shop.pyc", True),  # without its source
        ("/build/other.py", "/app/shop.pyc", False),
        ("/build/shop.py", "/app/shop.py", False),
        ("<string>", "/app/shop.py", False),
        ("<string>", None, False),
    ],
)
def test_code_is_loaded_from_its_module_s_file(
    code: str, module: str | None, is_loaded: bool
) -> None:
    assert literals.is_loaded_from(code, {"__file__": module}) is is_loaded


# -- keys and values that lie ---------------------------------------------------------------------


@pytest.mark.parametrize("claimed", [keys.SESSION_ID, "shop.floor"])
def test_a_key_that_claims_to_be_another_does_not_leave(claimed: str, app: App) -> None:
    assert app.facts(attributes={keys.SESSION_ID: "abc"}) == {keys.SESSION_ID: "abc"}
    assert app.facts(attributes={claiming(claimed): "abc"}) == {}
    span = app.tracer.start_span("checkout")
    span.set_attribute(claiming(claimed), "abc")
    span.set_attributes({claiming(claimed): "abc"})
    span.add_event(claiming("exception"), {claiming(claimed): "abc"})
    span.add_link(SpanContext(1, 1, is_remote=True), {claiming(claimed): "abc"})
    span.update_name(claiming("checkout"))
    record = app.ended(span)
    assert (record.name, facts(record)) == (WITHHELD_NAME, {})
    assert (record.events[0].name, record.events[0].attributes) == (WITHHELD_NAME, {})
    assert record.links[0].attributes == {}


def test_what_stands_in_for_a_text_costs_its_attribute_and_not_the_span(app: App) -> None:
    given = {keys.SESSION_ID: StandsIn(), keys.USER_ID: "u-1", StandsIn(): 1}
    assert app.facts(attributes=given) == {keys.USER_ID: "u-1"}
    span = app.tracer.start_span("checkout")
    span.set_attribute(keys.SESSION_ID, StandsIn())
    assert facts(app.ended(span)) == {}


def test_a_kind_or_flags_that_are_none_hold_no_text_and_no_number_without_end(app: App) -> None:
    kind: Any = enum.Enum("Kind", {"X": TYPED})
    span = app.tracer.start_span("checkout", kind=kind.X)
    span.add_link(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(2**200 + 1)))
    record = app.ended(span)
    assert (record.kind, record.links[0].flags) == (0, 0x101)


@pytest.mark.parametrize("value", [1, 1.0, 0])
def test_a_number_is_no_flag_although_it_equals_one(value: float, app: App) -> None:
    for flag in (True, False):
        assert app.facts(attributes={keys.VALIDATION_PASSED: flag, keys.JOB_QUEUE: "a"})
    given = {keys.VALIDATION_PASSED: value, keys.JOB_QUEUE: "a"}
    assert app.facts(attributes=given) == {keys.JOB_QUEUE: "a"}


def test_numbers_of_any_type_and_ids_leave_as_plain_ones(app: App) -> None:
    given = {
        keys.AI_COST_ESTIMATED_USD: Decimal("0.25"),
        keys.SESSION_ID: UUID(int=7),
        "shop.share": Fraction(1, 2),
    }
    values = app.facts(attributes=given)
    assert values == {
        keys.AI_COST_ESTIMATED_USD: 0.25,
        keys.SESSION_ID: "00000000-0000-0000-0000-000000000007",
        "shop.share": 0.5,
    }
    assert {type(value) for value in values.values()} == {float, str}


def test_a_number_with_the_digits_of_a_text_does_not_leave(app: App) -> None:
    number = int.from_bytes(TYPED.encode())
    assert app.facts(attributes={"shop.number": number, "shop.numbers": [number]}) == {
        "shop.numbers.length": 1,
        keys.WITHHELD_KEYS: ("shop.numbers",),
    }
    assert keys.shapes.NUMBER.clean(number) is None
    assert keys.shapes.NUMBER.clean(-2.5e300) == -2.5e300


def test_of_a_long_list_the_first_items_leave_and_are_all_that_is_copied(app: App) -> None:
    many = list(range(1_000_000))
    span = app.tracer.start_span("checkout")
    started = time.thread_time()
    for _ in range(100):
        span.set_attribute("shop.numbers", many)
    assert time.thread_time() - started < 1
    assert facts(app.ended(span))["shop.numbers"] == tuple(range(64))


def test_a_value_that_is_none_is_said_to_the_developer(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    assert app.facts(attributes={"shop.thing": object()}) == {}
    assert 'value of attribute "shop.thing" (test_tricks.py' in caplog.text


# -- names ----------------------------------------------------------------------------------------


def test_a_constant_vouches_for_itself_and_not_for_the_name_that_came_after(app: App) -> None:
    class Renames:
        def on_start(self, span: Any) -> None:
            span.update_name(TYPED)

        def on_end(self, span: Any) -> None:
            """Do nothing."""

    app.provider.add_span_processor(Renames())  # type: ignore[arg-type] # all that is called
    with app.tracer.start_as_current_span("checkout") as span:
        pass
    assert app.ended(span).name == WITHHELD_NAME


def test_a_reason_for_sampling_is_a_word(app: App) -> None:
    for reason, left in [(TYPED, None), ("chat_message", "chat_message"), (7, None)]:
        verdict: Any = Verdict(keep=True, reason=reason, probability=1.0)  # type: ignore[arg-type] # that is the point
        app.provider._decide = lambda *_, kept=verdict: kept
        record = app.ended(app.tracer.start_span("checkout"))
        assert record.attributes.get(keys.SAMPLING_REASON) == left


def test_a_turn_named_by_code_that_was_compiled_from_a_text_is_nobody_s(recorded: Any) -> None:
    exec("with turntrace.turn('typed word'): pass", {"turntrace": turntrace})  # noqa: S102 - an app's code
    assert [span.name for span in recorded.spans] == ["turn"]
