"""Turns made up for the tests of the Turn page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turntrace.store.contract import StoredEvent, StoredLink, StoredSpan

if TYPE_CHECKING:
    from turntrace.store.contract import Attributes, StatusWord

TRACE_ID = "7d3f0c1be94a4d52a6e1f08b53c92a17"
CONNECT_TRACE_ID = "11" * 16
START_NS = 1_795_339_927_412_000_000
MS = 1_000_000

SQL: Attributes = {"db.system.name": "postgresql"}
SOCKET: Attributes = {"messaging.system": "socket.io"}
HTTP: Attributes = {"http.request.method": "POST", "http.response.status_code": 200}
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Story:
    """Collects the spans of a trace; times are milliseconds since its start."""

    def __init__(self, trace_id: str = TRACE_ID) -> None:
        self.trace_id = trace_id
        self.spans: list[StoredSpan] = []

    def add(
        self,
        name: str,
        parent: str,
        start: float,
        length: float,
        attributes: Attributes | None = None,
        *,
        error: str = "",
        service: str = "renovation-backend",
        **more: Any,
    ) -> str:
        """Add a span and return its id; ids count up from 1."""
        status: StatusWord = "error" if error else "unset"
        span = StoredSpan(
            trace_id=self.trace_id,
            span_id=f"{len(self.spans) + 1:016x}",
            parent_span_id=parent,
            name=name,
            start_ns=START_NS + int(start * MS),
            end_ns=START_NS + int((start + length) * MS),
            status_code=status,
            attributes={**(attributes or {}), **({"error.type": error} if error else {})},
            service=service,
            resource={"service.name": service},
            **more,
        )
        self.spans.append(span)
        return span.span_id


def chat(into: int, out: int, cost: float, first_chunk_seconds: float) -> Attributes:
    """Return what a streamed model call says."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gemini-2.5-flash",
        "gen_ai.usage.input_tokens": into,
        "gen_ai.usage.output_tokens": out,
        "gen_ai.usage.cache_read.input_tokens": into // 2,
        "gen_ai.usage.reasoning.output_tokens": 20,
        "ai.cost.estimated_usd": cost,
        "gen_ai.response.time_to_first_chunk": first_chunk_seconds,
    }


def tool(name: str) -> Attributes:
    """Return what a tool says."""
    return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}


def eight_seconds(trace_id: str = TRACE_ID) -> Story:
    """Return a turn with two model calls, tools in parallel, a failed one and a slow query."""
    story = Story(trace_id)
    summary: Attributes = {
        **SOCKET,
        "turntrace.turn.outcome": "ok",
        "turntrace.turn.first_token_ms": 5650.0,
        "turntrace.turn.iterations": 2,
        "turntrace.turn.db_ms": 2381.0,
        "turntrace.turn.db_statements": 6,
        "session.id": "5f1c9e2a-7b40-4d1e-9a63-0c8e51d7f2b4",
        "turntrace.phase": "CHECKLIST",
        "turntrace.sampling.reason": "ai",
    }
    link = StoredLink(trace_id=CONNECT_TRACE_ID, span_id="22" * 8)
    turn = story.add("socket.io chat:user_message", "", 0, 8214, summary, links=(link,))
    story.add("validate chat:user_message", turn, 1, 2.4)
    story.add("SELECT renovation_sessions", turn, 4, 4.8, SQL)
    story.add("SELECT chat_messages", turn, 9, 6.9, SQL)
    story.add("INSERT chat_messages", turn, 16, 7.3, SQL)
    story.add("socket.io emit chat:message_ack", turn, 24, 0.6, SOCKET)
    agent = story.add("invoke_agent renovation", turn, 25, 8164, _agent())
    node = story.add("node agent", agent, 27, 2276)
    call = story.add("chat gemini-2.5-flash", node, 31, 2270, chat(3412, 68, 0.00064, 1.9))
    story.add("POST generativelanguage.googleapis.com", call, 36, 2262, HTTP)
    node = story.add("node tools", agent, 2305, 2363)
    run = story.add("execute_tool get_style_examples", node, 2308, 2338, tool("get_style_examples"))
    story.add("GET style:{key}", run, 2310, 1.4, {"db.system.name": "redis"})
    story.add("SELECT style_catalog", run, 2312, 2296, SQL)
    failure = "sqlalchemy.exc.OperationalError"
    event = StoredEvent(
        name="exception",
        time_ns=START_NS + 2370 * MS,
        attributes={"exception.type": failure},
        dropped_attributes=2,
    )
    run = story.add(
        "execute_tool save_checklist_state",
        node,
        2309,
        63,
        tool("save_checklist_state"),
        error=failure,
        events=(event,),
        dropped_attributes=3,
    )
    story.add("UPDATE renovation_sessions", run, 2311, 57, SQL, error=failure)
    node = story.add("node agent", agent, 4669, 3519)
    call = story.add("chat gemini-2.5-flash", node, 4673, 3512, chat(4870, 296, 0.00137, 0.973))
    story.add("POST generativelanguage.googleapis.com", call, 4677, 3504, HTTP)
    story.add("INSERT chat_messages", turn, 8191, 8.6, SQL)
    story.add("enqueue render_room_document", turn, 8200, 2.1, {"messaging.system": "arq"})
    return story


def long_turn(count: int) -> Story:
    """Return a turn of ``count`` spans: steps in order, each with four statements."""
    story = Story()
    turn = story.add("long turn", "", 0, count * 2, {"turntrace.turn.outcome": "ok"})
    step = turn
    for number in range(1, count):
        if number % 5 == 1:
            step = story.add(f"step {number}", turn, number * 2, 10)
        else:
            story.add(f"SELECT table_{number}", step, number * 2 - 1, 1.5, SQL)
    return story


def connection() -> StoredSpan:
    """Return the span that the turn of ``eight_seconds`` links to."""
    return StoredSpan(
        trace_id=CONNECT_TRACE_ID,
        span_id="22" * 8,
        name="socket.io connect /",
        start_ns=START_NS - 1000 * MS,
        end_ns=START_NS - 990 * MS,
        attributes=SOCKET,
        service="renovation-backend",
    )


def _agent() -> Attributes:
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "renovation"}
