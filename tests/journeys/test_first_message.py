"""A first message is one trace, from the user's action to the last statement, on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = "I would like a japandi bedroom for qzcanary Agathe. Where do I start?"

TREE = """\
first message INTERNAL
  POST 127.0.0.1 CLIENT
    POST /api/sessions SERVER
      INSERT renovation_sessions CLIENT
  socket.io emit chat:join_session PRODUCER
    socket.io chat:join_session CONSUMER
      SELECT renovation_sessions CLIENT
  socket.io emit chat:user_message PRODUCER
    socket.io chat:user_message CONSUMER
      socket.io emit chat:message_ack PRODUCER
      SELECT renovation_sessions CLIENT
      SELECT chat_messages CLIENT
      INSERT chat_messages CLIENT
      invoke_agent renovation INTERNAL
        node agent INTERNAL
          chat gemini-2.5-flash CLIENT
            POST 127.0.0.1 CLIENT
        node tools INTERNAL
          socket.io emit chat:tool_call PRODUCER
          execute_tool get_style_examples INTERNAL
            SELECT style_catalog CLIENT
          socket.io emit chat:tool_result PRODUCER
        node agent INTERNAL
          chat gemini-2.5-flash CLIENT
            POST 127.0.0.1 CLIENT
      INSERT chat_messages CLIENT"""


@pytest.fixture(scope="module", params=["websocket", "polling"])
def first(request: pytest.FixtureRequest, say: Callable[..., Any]) -> Any:
    ((trace, answer),) = say(MESSAGE, transport=request.param)
    return trace, request.param, answer


def test_a_first_message_is_one_trace_with_every_span_under_its_parent(first: Any) -> None:
    trace, *_ = first
    assert "\n".join(trace.tree()) == TREE


def test_the_turn_links_to_the_connection_it_came_on(first: Any, collector: Any) -> None:
    trace, transport, _ = first
    turn = trace.one("socket.io chat:user_message")
    (link,) = turn.wire.links
    (connect,) = [
        span
        for span in collector.spans()
        if (span.wire.trace_id, span.wire.span_id) == (link.trace_id, link.span_id)
    ]
    assert connect.name == "socket.io connect /"
    assert connect.wire.trace_id != turn.wire.trace_id
    assert connect.attributes["socket.transport"] == transport
    assert turn.attributes["socket.transport"] == transport


def test_each_model_call_carries_tokens_cost_and_time_to_first_chunk(first: Any) -> None:
    trace, *_ = first
    calls = trace.named("chat gemini-2.5-flash")
    for call in calls:
        assert call.attributes["gen_ai.usage.input_tokens"] > 0
        assert call.attributes["gen_ai.usage.output_tokens"] > 17
        assert call.attributes["gen_ai.usage.reasoning.output_tokens"] == 17
        assert 0 < call.attributes["ai.cost.estimated_usd"] < 0.01
        assert 0 < call.attributes["gen_ai.response.time_to_first_chunk"] < 10
        assert call.attributes["gen_ai.provider.name"] == "gcp.gemini"
    # The first call asked for a tool and said nothing, the second one answered in words.
    assert "ai.stream.first_token_ms" not in calls[0].attributes
    assert calls[1].attributes["ai.stream.first_token_ms"] > 0


def test_the_root_of_the_turn_adds_up_what_happened_below_it(first: Any) -> None:
    trace, *_ = first
    calls = trace.named("chat gemini-2.5-flash")
    turn = trace.one("socket.io chat:user_message").attributes
    assert turn["turntrace.turn.outcome"] == "ok"
    assert turn["turntrace.turn.iterations"] == 2
    assert turn["turntrace.turn.model_calls"] == 2
    assert turn["turntrace.turn.tool_calls"] == 1
    assert turn["turntrace.turn.db_statements"] == 5
    assert turn["turntrace.turn.tokens_emitted"] == 61
    for total, each in (
        ("turntrace.turn.input_tokens", "gen_ai.usage.input_tokens"),
        ("turntrace.turn.output_tokens", "gen_ai.usage.output_tokens"),
        ("turntrace.turn.cost_usd", "ai.cost.estimated_usd"),
    ):
        assert turn[total] == pytest.approx(sum(call.attributes[each] for call in calls))
    assert turn["turntrace.turn.first_token_ms"] > 0


def test_the_conversation_is_on_every_span_below_the_turn(first: Any) -> None:
    trace, *_ = first
    turn = trace.one("socket.io chat:user_message")
    session = turn.attributes["session.id"]
    pending = [turn]
    while pending:
        span = pending.pop()
        pending += trace.children(span)
        if span.service == "renovation":
            assert span.attributes["request.id"], span.name
        # What ended before the session was loaded cannot know it.
        if (
            span.wire.start_time_unix_nano
            > trace.one("invoke_agent renovation").wire.start_time_unix_nano
        ):
            assert span.attributes["session.id"] == session, span.name


def test_nothing_the_user_typed_or_the_assistant_said_leaves(first: Any, collector: Any) -> None:
    *_, answer = first
    said = [sentence.strip() for sentence in answer.split(".") if sentence.strip()]
    assert len(said) > 3
    everything = b"\n".join(collector.raw).lower()
    assert b"chat gemini-2.5-flash" in everything
    for text in ("qzcanary", "agathe", "japandi", "bedroom", MESSAGE, *said):
        assert text.lower().encode() not in everything, text


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_eight_turns_at_once_are_eight_clean_traces(
    transport: str, say: Callable[..., Any]
) -> None:
    said = say(MESSAGE, transport=transport, users=8)
    traces = [trace for trace, _ in said]
    assert len({trace.spans[0].wire.trace_id for trace in traces}) == 8
    for trace in traces:
        assert "\n".join(trace.tree()) == TREE
        turn = trace.one("socket.io chat:user_message")
        assert turn.attributes["turntrace.turn.tokens_emitted"] == 61
        below = {span.attributes["session.id"] for span in trace.named("chat gemini-2.5-flash")}
        assert below == {turn.attributes["session.id"]}


def test_what_the_backend_found_out_about_the_message_is_on_the_turn(first: Any) -> None:
    trace, *_ = first
    values = trace.one("socket.io chat:user_message").attributes
    expected = {
        "socket.content_length": len(MESSAGE),
        "validation.passed": True,
        "rate_limit.exceeded": False,
        "security.prompt_injection": False,
        "security.prompt_injection.risk": "low",
    }
    assert {key: values[key] for key in expected} == expected
    assert values["messaging.message.body.size"] > len(MESSAGE)
    assert values["rate_limit.tokens_remaining"] == values["socket.rate_limit.remaining"]
    join = trace.one("socket.io chat:join_session").attributes
    assert join["socket.room"] == f"session:{join['session.id']}"
