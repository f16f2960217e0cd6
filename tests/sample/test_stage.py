"""The stage shows a policy the facts of a local root, and lets only kept spans through."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from turntrace.record import Resource, TracerProvider
from turntrace.sample.rules import Facts, Rule, SamplingPolicy
from turntrace.sample.stage import SampleStage


class Rig:
    def __init__(self) -> None:
        self.seen: list[Facts] = []
        self.passed: list[str] = []
        rule = Rule(reason="chat", holds=self._is_chat)
        self.stage = SampleStage(
            SamplingPolicy(rules=(rule,), baseline=0.0), lambda span: self.passed.append(span.name)
        )
        provider = TracerProvider(Resource({}), self.stage.on_end, decide=self.stage.decide)
        self.tracer = provider.get_tracer("test")

    def _is_chat(self, facts: Facts) -> bool:
        self.seen.append(facts)
        return facts.attributes.get("socket.event") == "chat:user_message"


def test_a_rule_sees_name_kind_trace_id_and_what_the_root_was_started_with() -> None:
    rig = Rig()
    started = {"socket.event": "chat:user_message"}
    span = rig.tracer.start_span("turn", kind=SpanKind.CONSUMER, attributes=started)
    (facts,) = rig.seen
    assert facts == Facts(
        trace_id=span.get_span_context().trace_id, name="turn", is_server=True, attributes=started
    )


def test_a_rule_cannot_change_what_the_span_holds() -> None:
    rig = Rig()
    started: dict[str, object] = {"socket.event": "chat:user_message"}
    rig.tracer.start_span("turn", attributes=started)
    shown: Any = rig.seen[0].attributes
    with pytest.raises(AttributeError):
        shown.clear()
    assert started == {"socket.event": "chat:user_message"}


def test_attributes_that_are_none_leave_the_decision_to_the_baseline() -> None:
    rig = Rig()
    garbage: Any = ["no", "mapping"]
    span = rig.tracer.start_span("job", attributes=garbage)
    assert rig.seen[0].attributes == {}
    assert not span.get_span_context().trace_flags.sampled


def test_a_root_that_was_started_with_nothing_has_no_attributes() -> None:
    rig = Rig()
    rig.tracer.start_span("job")
    assert rig.seen[0].attributes == {}
    assert not rig.seen[0].is_server


def test_spans_of_a_kept_trace_pass_and_those_of_another_are_counted() -> None:
    rig = Rig()
    rig.tracer.start_span("kept", attributes={"socket.event": "chat:user_message"}).end()
    rig.tracer.start_span("dropped").end()
    assert rig.passed == ["kept"]
    assert rig.stage.sampled_out == 1
