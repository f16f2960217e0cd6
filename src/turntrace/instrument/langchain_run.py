"""One run of LangChain's while it has a span: what it is part of and what is counted for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turntrace.ai.call import RUN_KEY
from turntrace.record.failure import failed
from turntrace.record.turn_summary import CANCELLED, ERROR, TurnSummary, current_turn

if TYPE_CHECKING:
    from uuid import UUID

    from opentelemetry import trace
    from opentelemetry.context import Context

    from turntrace.ai.call import ModelCall

AGENT, NODE, CHAT, TOOL = "agent", "node", "chat", "tool"

_NO_ERRORS = frozenset({"GraphBubbleUp", "GraphInterrupt", "ParentCommand"})
_RECURSION = "GraphRecursionError"


class Run:
    """One span of a run, with what is counted for it until it ends."""

    __slots__ = (
        "agent",
        "call",
        "children",
        "is_joined",
        "iterations",
        "kind",
        "outer",
        "parent",
        "run_id",
        "span",
        "tool_calls",
        "turn",
    )

    def __init__(self, kind: str, run_id: UUID, span: trace.Span, outer: Context) -> None:
        self.kind = kind
        self.run_id = run_id
        self.span = span
        self.outer = outer
        """The context the run was started in."""
        self.turn: TurnSummary | None = current_turn(outer)
        parent = outer.get(RUN_KEY)
        self.parent: Run | None = parent if isinstance(parent, Run) else None
        self.agent: Run | None = (
            self if kind == AGENT else self.parent.agent if self.parent is not None else None
        )
        self.children: dict[UUID, Run] = {}
        self.iterations = 0
        self.tool_calls = 0
        self.call: ModelCall | None = None
        """What is measured of a model call; no other kind of run has one."""
        self.is_joined = False
        """Whether the span is somebody else's, who traced the same call by hand and ends it."""

    @property
    def speaks_for_turn(self) -> TurnSummary | None:
        """The turn whose outcome this run decides; None within a tool or a node of another run."""
        return self.turn if self.kind == AGENT and self.parent is None else None

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
