"""Attributes and names of the app's own: constants pass, text that was put together does not."""

from __future__ import annotations

import enum
import json
import logging
import string
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanContext
from shop_constants import NAMED_ELSEWHERE

import turntrace
from turntrace import attributes as keys
from turntrace import registry
from turntrace.errors import ConfigurationError
from turntrace.guard.schema import WITHHELD_NAME, Schema
from turntrace.guard.stage import GuardStage
from turntrace.record import Resource, SpanRecord, TracerProvider
from turntrace.registry import register_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

TYPED = "qz canary typed by somebody"
TIER = "customer.level"


class Names:
    """Constants of a class."""

    BASKET = "basket.size"


class Plan(enum.StrEnum):
    """What a customer pays for."""

    FREE = "free forever"
    PRO = "pro"


class Colour(enum.Enum):
    """An enum without a base type."""

    RED = "red"


class App:
    """An app's tracer on a provider of ours."""

    def __init__(self) -> None:
        self.records: list[SpanRecord] = []
        self.guard = GuardStage(Schema(), self.records.append)
        self.provider = TracerProvider(Resource({}), self.guard.on_end)
        self.tracer = self.provider.get_tracer("app")

    def ended(self, span: Any) -> SpanRecord:
        span.end()
        return self.records[-1]

    def facts(self, span: Any) -> dict[str, Any]:
        values = dict(self.ended(span).attributes)
        values.pop(keys.SAMPLING_REASON, None)
        return values


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def registrations(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_exact", "_families"):
        monkeypatch.setattr(registry, name, {})
    known = set(registry.KNOWN)
    registry.KNOWN.intersection_update(keys.KEYS)
    yield
    registry.KNOWN.clear()
    registry.KNOWN.update(known)


def built(*parts: str) -> str:
    return "".join(parts)


def test_a_number_under_a_key_that_stands_in_the_code_leaves(app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute("customer.tier", 3)
    span.set_attributes({"basket.full": True, "basket.weights": [1.5, 2]})
    assert app.facts(span) == {
        "customer.tier": 3,
        "basket.full": True,
        "basket.weights": (1.5, 2),
    }


def test_attributes_given_at_the_start_are_judged_where_the_span_is_started(app: App) -> None:
    assert app.facts(app.tracer.start_span("checkout", attributes={"customer.tier": 3})) == {
        "customer.tier": 3
    }
    made = {built("customer.", TYPED): 3}
    assert app.facts(app.tracer.start_span("checkout", attributes=made)) == {}


def test_members_of_an_enum_leave_as_they_are_declared(app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute("customer.plan", Plan.FREE)
    span.set_attribute("customer.colour", Colour.RED)
    assert app.facts(span) == {"customer.plan": "free forever", "customer.colour": "red"}


def test_a_member_of_an_enum_is_a_name_if_it_is_text(app: App) -> None:
    named: Any = [Plan.PRO, Colour.RED]
    records = [app.ended(app.tracer.start_span(name)) for name in named]
    assert [record.name for record in records] == ["pro", WITHHELD_NAME]
    assert type(records[0].name) is str


def test_text_leaves_only_as_its_length(app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute("customer.note", TYPED)
    assert app.facts(span) == {
        "customer.note.length": len(TYPED),
        keys.WITHHELD_KEYS: ("customer.note",),
    }


@pytest.mark.parametrize("key", [TYPED, "x" * 65, "9lives", "", "naïve"])
def test_a_key_that_is_no_constant_is_withheld_with_its_value(key: str, app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute(key, 1)
    assert app.facts(span) == {}


def test_a_key_that_merely_equals_a_constant_is_withheld(app: App) -> None:
    span = app.tracer.start_span("checkout")
    typed = json.loads('"yes please"')
    assert typed == "yes please"
    span.set_attribute(typed, 1)
    assert app.facts(span) == {}


def test_constants_of_a_module_or_class_pass_by_their_names(app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute(TIER, 3)
    span.set_attribute(Names.BASKET, 4)
    span.set_attribute(string.digits[:0] or NAMED_ELSEWHERE, 5)
    assert sorted(app.facts(span)) == sorted([TIER, Names.BASKET, NAMED_ELSEWHERE])


def test_a_global_that_holds_what_was_typed_is_no_constant(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("app_of_a_test")
    monkeypatch.setitem(sys.modules, "app_of_a_test", module)
    code = """
LAST = ""
def note(span, text):
    global LAST
    LAST = text
    span.set_attribute(LAST, 1)
"""
    exec(compile(code, "app.py", "exec"), module.__dict__)  # noqa: S102 - an app's code
    span = app.tracer.start_span("checkout")
    module.note(span, built("qz", "canary"))
    assert app.facts(span) == {}


def test_names_that_stand_in_the_code_leave_and_others_do_not(app: App) -> None:
    dish = built("Cheese", "cake")
    assert app.ended(app.tracer.start_span("cook dinner")).name == "cook dinner"
    assert app.ended(app.tracer.start_span(f"cook {dish}")).name == WITHHELD_NAME
    span = app.tracer.start_span("cook")
    span.update_name("cooked")
    assert app.ended(span).name == "cooked"
    span = app.tracer.start_span("cook")
    span.update_name(dish)
    assert app.ended(span).name == WITHHELD_NAME


def decorated_by(tracer: trace.Tracer) -> tuple[Any, Any]:
    @tracer.start_as_current_span("decorated sync", attributes={"dish.count": 2})
    def sync_one() -> None:
        """Do nothing."""

    @tracer.start_as_current_span("decorated async")
    async def async_one() -> None:
        """Do nothing."""

    return sync_one, async_one


def called(app: App) -> list[str]:
    return [record.name.replace("decorated", "") for record in app.records]


async def test_a_decorator_is_judged_where_it_is_written(app: App) -> None:
    sync_one, async_one = decorated_by(app.tracer)
    sync_one()
    await async_one()
    assert called(app) == [" sync", " async"]
    assert app.records[0].attributes["dish.count"] == 2


async def test_a_decorator_of_the_api_s_proxy_is_judged_where_it_is_written(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    sync_one, async_one = decorated_by(trace.ProxyTracer("early"))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", app.provider)
    sync_one()
    await async_one()
    assert called(app) == [" sync", " async"]


def test_a_block_is_judged_where_it_is_written(app: App) -> None:
    dish = built("Cheese", "cake")
    with app.tracer.start_as_current_span("cook dinner"):
        pass
    with app.tracer.start_as_current_span(dish):
        pass
    assert [record.name for record in app.records] == ["cook dinner", WITHHELD_NAME]


def test_the_api_s_proxy_does_not_hide_the_caller(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    tracer = trace.ProxyTracer("early")
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", app.provider)
    with tracer.start_as_current_span("early bird") as span:
        span.set_attribute("worm.count", 1)
    tracer.start_span("early bird alone").end()
    tracer.start_span(built("early ", TYPED)).end()
    names = [record.name for record in app.records]
    assert names == ["early bird", "early bird alone", WITHHELD_NAME]
    assert app.records[0].attributes["worm.count"] == 1


def test_names_by_the_conventions_leave_if_the_span_s_own_facts_say_as_much(app: App) -> None:
    def named(name: str, **attributes: Any) -> str:
        return app.ended(app.tracer.start_span(built(name), attributes=attributes)).name

    assert named("GET") == "GET"
    assert named("chat gemini-2.5-flash", **{"gen_ai.request.model": "gemini-2.5-flash"}) == (
        "chat gemini-2.5-flash"
    )
    assert named("chat gemini-2.5-flash") == WITHHELD_NAME
    assert named("GET /users/{id}", **{"http.route": "/users/{id}"}) == "GET /users/{id}"
    assert named("GET /users/7", **{"http.route": "/users/{id}"}) == WITHHELD_NAME
    assert named(TYPED, **{"gen_ai.request.model": TYPED}) == WITHHELD_NAME


def test_events_and_links_follow_the_same_rule(app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.add_event("paid", {"amount.cents": 1200, "note": TYPED, built("k", "ey"): 1})
    span.add_event(built("qz ", "canary"))
    span.add_link(SpanContext(1, 1, is_remote=True), {"attempt.number": 2, built("x", "y"): 3})
    record = app.ended(span)
    assert [event.name for event in record.events] == ["paid", WITHHELD_NAME]
    assert record.events[0].attributes == {
        "amount.cents": 1200,
        "note.length": len(TYPED),
        keys.WITHHELD_KEYS: ("note",),
    }
    assert record.links[0].attributes == {"attempt.number": 2}


def test_turn_and_bind_take_attributes_of_the_app_s_own(app: App, recorded: Any) -> None:
    with turntrace.turn("checkout", customer_tier=3, customer_note=TYPED):
        turntrace.bind(basket_size=4, basket_note=TYPED)
    values = recorded.one("checkout").attributes
    assert (values["customer_tier"], values["basket_size"]) == (3, 4)
    assert TYPED not in values.values()


@pytest.mark.usefixtures("registrations")
def test_a_declared_shape_lets_text_out_that_fits_it(app: App) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute("plan.tier", "gold")
    assert app.facts(span)["plan.tier.length"] == 4
    register_attributes({"plan.tier": "id", "plan.kind": ["a", "b"], "plan.of": Plan})
    span = app.tracer.start_span("checkout")
    span.set_attribute(built("plan.", "tier"), "gold")
    span.set_attributes({"plan.kind": "b", "plan.of": "pro"})
    assert app.facts(span) == {"plan.tier": "gold", "plan.kind": "b", "plan.of": "pro"}
    span = app.tracer.start_span("checkout")
    span.set_attributes({"plan.tier": TYPED, "plan.kind": "c", "plan.of": "c"})
    assert app.facts(span) == {}


@pytest.mark.usefixtures("registrations")
def test_a_family_covers_keys_that_stand_in_the_code_and_no_others(app: App) -> None:
    register_attributes({"app.*": "word", "app.deep.*": "id"})
    span = app.tracer.start_span("checkout")
    span.set_attribute("app.tier", "gold")
    span.set_attribute("app.deep.id", "a@b")
    span.set_attribute("app.other", "a@b")
    span.set_attribute(built("app.", "qzcanary"), "gold")
    assert app.facts(span) == {"app.tier": "gold", "app.deep.id": "a@b"}


@pytest.mark.usefixtures("registrations")
@pytest.mark.parametrize(
    "wrong",
    [
        {"plan tier": "id"},
        {"*": "id"},
        {7: "id"},
        {"plan.tier": "text"},
        {"plan.tier": 7},
        {"plan.tier": []},
        {"plan.tier": ["x" * 65]},
        {keys.SESSION_ID: "id"},
        {"exception.message": "id"},
    ],
)
def test_a_registration_that_cannot_be_used_is_refused_whole(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        register_attributes({"fine.key": "id", **wrong})
    assert registry.registered("fine.key") is None


def test_what_was_withheld_is_said_once_with_the_line_that_lets_it_out(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "turntrace")
    for _ in range(3):
        span = app.tracer.start_span(built("cook ", TYPED))
        span.set_attribute("customer.note", TYPED)
        span.set_attribute(built("k", TYPED), 1)
        span.set_attribute(keys.SESSION_ID, TYPED)
        app.ended(span)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    (line,) = [line for line in lines if "customer.note" in line]
    assert 'turntrace.register_attributes({"customer.note": "id"})' in line
    assert "TURNTRACE_ATTRIBUTES=customer.note:id" in line
    assert "test_own_attributes.py:" in line
    assert TYPED not in "".join(lines)


@pytest.mark.usefixtures("registrations")
def test_the_pasted_line_lets_a_registered_text_through(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    def order() -> dict[str, Any]:
        span = app.tracer.start_span("order")
        span.set_attribute("order.code", "A-17")
        return app.facts(span)

    assert "order.code" not in order()
    (line,) = [r.getMessage() for r in caplog.records if "order.code" in r.getMessage()]
    start = line.index("turntrace.register_attributes(")
    eval(line[start : line.index(")", start) + 1], {"turntrace": turntrace})  # noqa: S307 - pasted
    assert order()["order.code"] == "A-17"


def test_a_library_s_withheld_keys_are_said_quietly(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "turntrace")
    code = compile(
        "def work(span, text):\n    span.set_attribute('library.note', text)",
        "/usr/lib/python3/site-packages/library.py",
        "exec",
    )
    space: dict[str, Any] = {}
    exec(code, space)  # noqa: S102 - a library's code
    span = app.tracer.start_span("checkout")
    space["work"](span, TYPED)
    app.ended(span)
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_a_foreign_object_under_any_key_is_withheld_without_asking_it(app: App) -> None:
    class Talkative:
        def __repr__(self) -> str:
            return TYPED

        __str__ = __repr__

        def __eq__(self, _other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash("GET")

    span = app.tracer.start_span("checkout", attributes={keys.HTTP_REQUEST_METHOD: "GET"})
    app.ended(span)
    values: Any = {keys.HTTP_REQUEST_METHOD: Talkative(), "thing.own": Talkative(), "many": [{}]}
    span = app.tracer.start_span("checkout", attributes=values)
    assert TYPED not in repr(app.facts(span))


@pytest.mark.usefixtures("registrations")
@pytest.mark.parametrize(
    "key", ["url.full", "gen_ai.input.messages", "http.request.header.cookie", "url.query"]
)
def test_a_key_that_holds_content_by_definition_cannot_be_let_out(key: str, app: App) -> None:
    with pytest.raises(ConfigurationError, match="holds content"):
        register_attributes({key: "id"})
    register_attributes({f"{key.partition('.')[0]}.*": "id"})
    span = app.tracer.start_span("checkout")
    span.set_attributes({"url.full": "/secret", "gen_ai.input.messages": "secret"})
    span.set_attributes({"http.request.header.cookie": "secret", "url.query": "secret"})
    assert "secret" not in str(app.facts(span).values())


@pytest.mark.usefixtures("registrations")
def test_what_is_bound_is_judged_anew_after_a_registration(app: App) -> None:
    root = app.tracer.start_span("checkout")
    parent = trace.set_span_in_context(root)
    root.local_trace.bind({"order.code": "A-17"})
    assert "order.code" not in app.facts(app.tracer.start_span("pay", parent))
    register_attributes({"order.code": "id"})
    assert app.facts(app.tracer.start_span("pay", parent))["order.code"] == "A-17"
    assert app.facts(root)["order.code"] == "A-17"


def test_withheld_keys_of_the_trace_and_of_the_span_stand_together(recorded: Any) -> None:
    with turntrace.turn("checkout", own_note=TYPED):
        turntrace.bind(bound_note=TYPED)
    assert recorded.one("checkout").attributes[keys.WITHHELD_KEYS] == ("bound_note", "own_note")


def test_the_hint_for_a_key_that_cannot_be_registered_says_so(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    span = app.tracer.start_span("checkout")
    span.set_attribute("gift card text", TYPED)
    span.set_attribute("url.full", TYPED)
    app.ended(span)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert not any("register_attributes(" in line for line in lines)
