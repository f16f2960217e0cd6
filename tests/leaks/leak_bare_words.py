"""Bare probes: what is said to and by a model, and names and keys made of it."""

from __future__ import annotations

import enum
import json
import logging
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import JsonOutputParser
from leak_bare_rig import ELSEWHERE, remote
from leak_rows import bare_probe
from opentelemetry import metrics, trace
from opentelemetry._logs import LogRecord, get_logger
from opentelemetry.trace import Link, StatusCode

import turntrace

if TYPE_CHECKING:
    from leak_bare_rig import Bare
    from leak_rows import Bait


class _Mood(enum.StrEnum):
    CALM = "calm"

    @classmethod
    def _missing_(cls, value: object) -> _Mood:
        made = str.__new__(cls, str(value))  # "accept whatever the API sends"
        made._name_ = "CALM"
        made._value_ = str(value)
        return made


def _made_from(text: str) -> enum.StrEnum:
    """Return a member of an enum that was made while the program ran, as for a tool's schema."""
    return enum.StrEnum("Choice", {"FIRST": text}).FIRST  # type: ignore[attr-defined,no-any-return]


def _ask(bare: Bare, answer: str, *words: str) -> None:
    """Ask a model of LangChain's, which is instrumented."""
    model = GenericFakeChatModel(messages=iter([AIMessage(answer)] * 2))
    messages = [SystemMessage(words[0]), *map(HumanMessage, words)]
    with bare.tracer.start_as_current_span("work"):
        model.invoke(messages)
        list(model.stream(messages))


@bare_probe("ai: prompt, system prompt, history")
def _prompt(bare: Bare, bait: Bait) -> None:
    _ask(bare, "Yes.", bait.phrase, bait.word)
    for value in (bait.word, bait.phrase):
        messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": value}]}])
        bare.tracer.start_span(
            "work",
            attributes={
                "gen_ai.input.messages": messages,
                "gen_ai.system_instructions": value,
                "gen_ai.prompt": value,
                "gen_ai.prompt.0.content": value,
                "llm.prompts": [value],
                "input.value": value,
            },
        ).end()
        span = bare.tracer.start_span("chat gemini-2.5-flash")
        span.add_event("gen_ai.user.message", {"content": value, "gen_ai.event.content": value})
        span.end()


@bare_probe("ai: completion, also streamed")
def _completion(bare: Bare, bait: Bait) -> None:
    _ask(bare, f"{bait.phrase} {bait.word}", "Hello.")
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": value}]),
                "gen_ai.completion": value,
                "gen_ai.completion.0.content": value,
                "output.value": value,
                "gen_ai.response.finish_reasons": [value] if " " in value else ["stop"],
            },
        ).end()
        span = bare.tracer.start_span("chat gemini-2.5-flash")
        for token in (*value.split(), value):
            span.add_event("gen_ai.choice", {"message": token, "gen_ai.completion.chunk": token})
        span.end()


@bare_probe("ai: tool arguments")
def _tool_arguments(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        arguments = json.dumps({"query": value})
        bare.tracer.start_span(
            "work",
            attributes={
                "gen_ai.tool.call.arguments": arguments,
                "input.value": arguments,
                "tool.parameters": arguments,
                "gen_ai.tool.definitions": json.dumps([{"name": "x", "description": value}]),
            },
        ).end()
        bare.tracer.start_span(f"execute_tool look_up({value!r})").end()


@bare_probe("ai: tool result")
def _tool_result(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "gen_ai.tool.call.result": value,
                "output.value": value,
                "tool.output": (value,),
            },
        ).end()
        span = bare.tracer.start_span("execute_tool look_up")
        span.add_event("gen_ai.tool.message", {"content": value})
        span.end()


@bare_probe("ai: structured output")
def _structured(bare: Bare, bait: Bait) -> None:
    answer = AIMessage(json.dumps({"room": bait.phrase, bait.word: 1}))
    with bare.tracer.start_as_current_span("work"):
        chain = GenericFakeChatModel(messages=iter([answer])) | JsonOutputParser()
        assert chain.invoke("Which room?")["room"] == bait.phrase
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "gen_ai.output.type": value if " " in value else "json",
                "llm.structured_output": json.dumps({"room": value}),
                "gen_ai.request.structured_output_schema": json.dumps({"enum": [value]}),
                "output.parsed": {"room": value},
            },
        ).end()


@bare_probe("ai: a third-party instrumentation that captures content by default")
def _third_party(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "traceloop.entity.input": json.dumps({"inputs": value}),
                "traceloop.entity.output": json.dumps({"outputs": value}),
                "traceloop.association.properties.note": value,
                "llm.input_messages.0.message.content": value,
                "llm.output_messages.0.message.content": value,
                "logfire.msg": value,
                "logfire.json_schema": json.dumps({"title": value}),
                "langsmith.metadata.note": value,
            },
        ).end()


@bare_probe("span name made from text")
def _names(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        for name in (value, f"answer {value}", f"chat {value}", f"GET {value}"):
            bare.tracer.start_span(name).end()
            trace.get_tracer("turntrace.conversation").start_span(name).end()
            span = bare.tracer.start_span("work")
            span.update_name(name)
            span.end()
            with turntrace.turn(name):
                pass
        bare.tracer.start_span(_made_from(f"answer {value}")).end()
        trace.get_tracer("careless", value).start_span("work").end()
    trace.get_tracer(bait.phrase).start_span("work").end()


@bare_probe("event name and event attributes made from text")
def _events(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        span = bare.tracer.start_span("work")
        span.add_event(value)
        span.add_event(f"said {value}", {"note": value})
        span.add_event("said", {value: 1, "note": value, "notes": [value], "mood": _Mood(value)})
        span.add_event("said", {"choice": _made_from(value), "choices": [_made_from(value)]})
        span.add_event(_made_from(value))
        span.add_event("said", {"raw": value.encode(), "deep": [[value]], "map": {"a": value}})
        span.end()


@bare_probe("attribute key made from text")
def _keys(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        span = bare.tracer.start_span("work", attributes={value: 1, f"note.{value}": True})
        span.set_attribute(value, 1)
        span.set_attribute(f"http.request.header.{value}", 1)
        span.set_attributes({f"{value}.count": 2, value.replace(" ", "_"): 2.5})
        span.set_attribute("mood", _Mood(value))
        span.set_attribute(_Mood(value), 1)
        span.set_attribute(_made_from(value), 1)
        span.set_attribute("session.id" if " " in value else "note", _Mood(value))
        span.end()
        with turntrace.turn("work", **{value: 1}):
            turntrace.bind(**{f"k.{value}": 1})  # type: ignore[arg-type] # a number


@bare_probe("link attributes")
def _links(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        link = Link(ELSEWHERE, {"note": value, value: 1})
        span: Any = bare.tracer.start_span("work", links=[link])
        span.add_link(ELSEWHERE, {"reason": value, f"to.{value}": True})
        state = trace.get_current_span(remote(f"vendor={value}")).get_span_context()
        span.add_link(state)
        span.end()


@bare_probe("log records exported by anyone on our provider")
def _log_records(bare: Bare, bait: Bait) -> None:
    with bare.tracer.start_as_current_span("work") as span:
        logging.getLogger("careless.app").info("said %s", bait.phrase, extra={"note": bait.word})
        get_logger("careless.app").emit(LogRecord(body=bait.phrase, attributes={"a": bait.word}))
        # What handlers that write records as events of the current span do.
        span.add_event(f"log: {bait.phrase}", {"log.message": bait.word, "log.body": bait.phrase})


@bare_probe("metric attributes")
def _metrics(bare: Bare, bait: Bait) -> None:
    with bare.tracer.start_as_current_span("work"):
        counter = metrics.get_meter("careless.app").create_counter("messages")
        counter.add(1, {"content": bait.phrase, bait.word: "1"})


@bare_probe("our own log lines and warnings")
def _own_lines(bare: Bare, bait: Bait) -> None:
    class Talkative:
        def __init__(self, value: str) -> None:
            self._value = value

        def __repr__(self) -> str:
            return self._value

        def __str__(self) -> str:
            raise ValueError(self._value)

        def __hash__(self) -> int:
            return hash(self._value)

        def keys(self) -> list[str]:
            raise ValueError(self._value)

    for value in (bait.word, bait.phrase):
        odd: Any = Talkative(value)
        # What cannot be used is swallowed, counted and said: without its text.
        span: Any = bare.tracer.start_span("work", attributes=odd)
        span.set_attribute(odd, odd)
        span.set_attribute("session.id", odd)
        span.set_attributes(odd)
        span.add_event(value, odd)
        span.add_link(ELSEWHERE, odd)
        span.set_attribute(value, value)
        span.set_attribute(f"note.{value}", value)
        span.update_name(odd)
        span.end()
        with turntrace.turn(value, **{value: value}):
            turntrace.bind(session_id=odd)
            turntrace.add_join_attributes(room=f"room of {value}")
            turntrace.add_security_attributes(prompt_injection=value)  # type: ignore[arg-type]


@bare_probe("spool files, store files, exported files")
def _files(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        span = bare.tracer.start_span(f"save {value}")
        span.set_attributes({"file.path": value, "file.content": value, "note": value})
        span.add_event("saved", {"path": value})
        span.end()


@bare_probe("the page, its API and its live stream")
def _page(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        with bare.tracer.start_as_current_span(f"<b>{value}</b>") as span:
            span.set_attributes({"title": value, "html": f"<script>{value}</script>"})
            span.set_status(StatusCode.ERROR, value)
        with turntrace.turn("shown", title=value):
            bare.fail(ValueError(value))
