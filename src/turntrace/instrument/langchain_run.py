"""One run of LangChain's while it has a span: what it is part of and what is counted for it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from turntrace import attributes as keys
from turntrace.conversation import failed
from turntrace.record.turn_summary import CANCELLED, ERROR, TurnSummary, current_turn

if TYPE_CHECKING:
    from uuid import UUID

    from opentelemetry import trace
    from opentelemetry.context import Context

    from turntrace.ai import Provider

AGENT, NODE, CHAT, TOOL = "agent", "node", "chat", "tool"

RUN_KEY = otel_context.create_key("turntrace-ai-run")
"""In the context of a run: the run."""

_NO_ERRORS = frozenset({"GraphBubbleUp", "GraphInterrupt", "ParentCommand"})
_IDENTIFIER = re.compile(r"[A-Za-z0-9_][\w.:/@+-]{0,63}", re.ASCII)
_RECURSION = "GraphRecursionError"


class Run:
    """One span of a run, with what is counted for it until it ends."""

    __slots__ = (
        "agent",
        "children",
        "first_chunk",
        "first_text",
        "is_streamed",
        "iterations",
        "kind",
        "model",
        "outer",
        "parent",
        "provider",
        "run_id",
        "span",
        "started",
        "tool_calls",
        "turn",
    )

    def __init__(self, kind: str, run_id: UUID, span: trace.Span, outer: Context) -> None:
        self.kind = kind
        self.run_id = run_id
        self.span = span
        self.outer = outer
        """The context the run was started in."""
        self.started = time.perf_counter()
        self.turn: TurnSummary | None = current_turn(outer)
        parent = outer.get(RUN_KEY)
        self.parent: Run | None = parent if isinstance(parent, Run) else None
        self.agent: Run | None = (
            self if kind == AGENT else self.parent.agent if self.parent is not None else None
        )
        self.children: dict[UUID, Run] = {}
        self.iterations = 0
        self.tool_calls = 0
        self.first_chunk: float | None = None
        self.first_text: float | None = None
        self.is_streamed = False
        self.model = ""
        self.provider: Provider | None = None

    @property
    def speaks_for_turn(self) -> TurnSummary | None:
        """The turn whose outcome this run decides; None within a tool or a node of another run."""
        return self.turn if self.kind == AGENT and self.parent is None else None

    def stream_times(self) -> dict[str, Any]:
        """Return how long the first chunk, the first text and the whole stream took."""
        values: dict[str, Any] = {keys.GEN_AI_REQUEST_STREAM: self.is_streamed}
        if self.first_chunk is not None:
            values[keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = round(
                self.first_chunk - self.started, 6
            )
            values[keys.AI_STREAM_TOTAL_MS] = round((time.perf_counter() - self.started) * 1000, 3)
        if self.first_text is not None:
            values[keys.AI_STREAM_FIRST_TOKEN_MS] = round(
                (self.first_text - self.started) * 1000, 3
            )
        return values

    def note_error(self, error: BaseException) -> None:
        """Interrupts, cancellation and a reader that left are outcomes; the rest are errors."""
        names = {kind.__name__ for kind in type(error).__mro__}
        turn = self.speaks_for_turn
        if not isinstance(error, Exception) or names & _NO_ERRORS:
            is_outcome = not isinstance(error, GeneratorExit) and not names & _NO_ERRORS
            if turn is not None and is_outcome:
                turn.agent_ended(CANCELLED)
            return
        if _RECURSION in names:
            self.span.add_event("agent.recursion_limit_hit")
        failed(self.span, error)
        if turn is not None:
            turn.agent_ended(ERROR)


def identifier(name: object) -> str:
    """Return a name of a model, tool, graph or reason if it looks like one, else nothing.

    Such names come from configuration as a rule, and from a user or a model where an app lets
    them choose: whatever has a space in it is no name.
    """
    return name if isinstance(name, str) and _IDENTIFIER.fullmatch(name) else ""


def has_text(token: Any) -> bool:
    """Tell whether a chunk's content holds text; tool calls and the last empty chunk do not."""
    if isinstance(token, str):
        return bool(token)
    if isinstance(token, list):
        return any(
            bool(part)
            if isinstance(part, str)
            else bool(isinstance(part, dict) and part.get("text"))
            for part in token
        )
    return False
