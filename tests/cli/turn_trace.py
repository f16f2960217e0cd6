"""The turn that ``docs`` draws, as an OTLP request and as the document of the view's API."""

from __future__ import annotations

from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from turntrace.view.api import trace_document
from turntrace.view.decode import decode_protobuf

TRACE_ID = bytes.fromhex("7d3f0c1be94a4d52a6e1f08b53c92a17")
START_NS = 1_795_339_927_412_000_000
MS = 1_000_000

SQL = {"db.system.name": "postgresql"}
HTTP = {"http.request.method": "POST", "http.response.status_code": 200}


class TraceBuilder:
    """Collects spans of one trace; ids count up from 1, times are milliseconds from its start."""

    def __init__(self, trace_id: bytes = TRACE_ID) -> None:
        self.request = ExportTraceServiceRequest()
        self._trace_id = trace_id
        self._count = 0

    def add(
        self,
        name: str,
        parent: bytes,
        start: float,
        duration: float,
        attributes: dict[str, Any] | None = None,
        *,
        error: str = "",
        service: str = "renovation-backend",
    ) -> bytes:
        resource_spans = self.request.resource_spans.add()
        resource_spans.resource.attributes.append(_attribute("service.name", service))
        span = resource_spans.scope_spans.add().spans.add()
        self._count += 1
        span.trace_id = self._trace_id
        span.span_id = self._count.to_bytes(8, "big")
        span.parent_span_id = parent
        span.name = name
        span.start_time_unix_nano = START_NS + int(start * MS)
        span.end_time_unix_nano = START_NS + int((start + duration) * MS)
        facts = dict(attributes or {})
        if error:
            span.status.code = 2
            facts["error.type"] = error
        span.attributes.extend(_attribute(key, value) for key, value in facts.items())
        return bytes(span.span_id)

    def document(self) -> dict[str, Any]:
        """Return the trace as the view serves it."""
        spans = decode_protobuf(self.request.SerializeToString()).spans
        spans.sort(key=lambda span: (span.start_ns, span.span_id))
        document = msgspec.json.decode(msgspec.json.encode(trace_document(spans)))
        assert isinstance(document, dict)
        return document


def build_turn(trace_id: bytes = TRACE_ID) -> TraceBuilder:
    trace = TraceBuilder(trace_id)
    turn = trace.add(
        "socket.io chat:user_message",
        b"",
        0,
        8214,
        {
            "messaging.system": "socket.io",
            "turntrace.turn.outcome": "ok",
            "turntrace.turn.first_token_ms": 5650.0,
        },
    )
    trace.add("validate chat:user_message", turn, 1, 2.4)
    trace.add("SELECT chat_messages", turn, 9, 6.9, SQL)
    agent = trace.add(
        "invoke_agent renovation", turn, 31, 8160, {"gen_ai.operation.name": "invoke_agent"}
    )
    node = trace.add("node agent", agent, 32, 2280)
    chat = trace.add("chat gemini-2.5-flash", node, 33, 2270, _chat(3412, 68, 0.00064, 2.1))
    trace.add("POST generativelanguage.googleapis.com", chat, 34, 2260, HTTP)
    node = trace.add("node tools", agent, 2314, 2360)
    tool = trace.add(
        "execute_tool get_style_examples", node, 2316, 2340, _tool("get_style_examples")
    )
    trace.add("GET style:{key}", tool, 2318, 1.4, {"db.system.name": "redis"})
    trace.add("SELECT style_catalog", tool, 2322, 2300, SQL)
    tool = trace.add(
        "execute_tool save_checklist_state",
        node,
        2316,
        63,
        _tool("save_checklist_state"),
        error="sqlalchemy.exc.OperationalError",
    )
    node = trace.add("node agent", agent, 4676, 3514)
    chat = trace.add("chat gemini-2.5-flash", node, 4677, 3512, _chat(4870, 296, 0.00137, 0.973))
    trace.add("POST generativelanguage.googleapis.com", chat, 4678, 3500, HTTP)
    trace.add("INSERT chat_messages", turn, 8200, 8.6, SQL)
    return trace


def _chat(input_tokens: int, output_tokens: int, cost: float, first_chunk: float) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gemini-2.5-flash",
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
        "ai.usage.prompt_tokens": input_tokens,
        "ai.usage.completion_tokens": output_tokens,
        "ai.cost.estimated_usd": cost,
        "gen_ai.response.time_to_first_chunk": first_chunk,
    }


def _tool(name: str) -> dict[str, Any]:
    return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}


def _attribute(key: str, value: str | float) -> KeyValue:
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=value))
