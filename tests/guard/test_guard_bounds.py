"""What the guard remembers is bounded, and no span is lost by it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from turntrace import attributes as keys
from turntrace.guard.schema import WITHHELD_NAME, Schema
from turntrace.guard.stage import MAX_PLANS, GuardStage
from turntrace.record import Resource, SpanRecord, TracerProvider

TYPED = "qz canary typed by somebody"


class App:
    """An app's tracer on a provider of ours."""

    def __init__(self) -> None:
        self.records: list[SpanRecord] = []
        self.guard = GuardStage(Schema(), self.records.append)
        self.tracer: Any = TracerProvider(Resource({}), self.guard.on_end).get_tracer("app")

    def ended(self, span: Any) -> SpanRecord:
        span.end()
        return self.records[-1]

    def facts(self, attributes: dict[str, Any]) -> dict[str, Any]:
        return self.ended(self.tracer.start_span("checkout", attributes=attributes)).attributes


@pytest.fixture
def app() -> App:
    return App()


def test_keys_that_were_typed_push_nobody_s_plan_out(app: App) -> None:
    for number in range(MAX_PLANS + 10):
        app.facts({f"typed.{number}": 1})
    assert app.guard._plans == {}
    app.facts({keys.USER_ID: "u-1"})
    assert len(app.guard._plans) == 1


def test_more_plans_than_may_be_remembered_take_the_place_of_the_old(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turntrace.guard.stage.MAX_PLANS", 3)
    names = [keys.USER_ID, keys.ROOM_ID, keys.SESSION_ID, keys.REQUEST_ID]
    for name in names:
        app.facts({name: "x"})
    assert list(app.guard._plans) == [(keys.REQUEST_ID,)]


def test_texts_that_passed_are_remembered_up_to_a_sum(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turntrace.guard.stage.MAX_REMEMBERED_CHARACTERS", 1_000)
    for number in range(100):
        app.facts({keys.JOB_QUEUE: f"{number:0100}"})
        assert sum(len(plan._passed) for plan in app.guard._plans.values()) <= 10


def test_a_log_filter_that_raises_costs_no_span(app: App) -> None:
    def refuse(_: logging.LogRecord) -> bool:
        raise RuntimeError

    logging.getLogger("turntrace").addFilter(refuse)
    try:
        assert app.facts({"shop.note": TYPED})["shop.note.length"] == len(TYPED)
        app.tracer.start_span("checkout").set_attributes(None)
    finally:
        logging.getLogger("turntrace").removeFilter(refuse)


def test_a_span_that_others_wrote_to_behind_our_back_keeps_its_place(app: App) -> None:
    with app.tracer.start_as_current_span("checkout") as parent:
        span = app.tracer.start_span("pay")
        span._attributes[keys.SESSION_ID] = [TYPED]
        app.ended(span)
    assert [record.name for record in app.records] == [WITHHELD_NAME, "checkout"]
    assert app.records[0].parent_span_id == parent.span_id.to_bytes(8, "big")
    assert app.records[0].dropped_attributes == 1
