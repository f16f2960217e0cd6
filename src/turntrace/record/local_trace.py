"""The spans under one local root: what they share while any of them is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turntrace.record.context import LOCAL_TRACE_KEY, get_current

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import TraceState

    from turntrace.record.span import Span
    from turntrace.record.span_record import AttributeValue

SAMPLED = 0x01
RANDOM = 0x02


class Verdict(NamedTuple):
    """What becomes of a trace, and why."""

    keep: bool
    reason: str
    probability: float
    """Chance that such a trace is kept: 1.0 under a rule, the baseline otherwise."""


class LocalTrace:
    """One local root (no parent, or a parent elsewhere) and everything below it in this process.

    Owned by its spans; no lock: each field is replaced whole, so readers see the old or the new.
    """

    __slots__ = (
        "__weakref__",
        "bound",
        "flags",
        "open_spans",
        "root",
        "trace_id",
        "trace_state",
        "verdict",
    )

    def __init__(
        self,
        trace_id: int,
        verdict: Verdict,
        *,
        is_random: bool = True,
        trace_state: TraceState | None = None,
    ) -> None:
        self.trace_id = trace_id
        self.flags = (RANDOM if is_random else 0) | (SAMPLED if verdict.keep else 0)
        """W3C trace flags of every span of it."""
        self.trace_state = trace_state
        self.verdict = verdict
        self.root: Span | None = None
        self.bound: dict[str, AttributeValue] = {}
        """Attributes of every span that ends from now on (session, user, request id, ...)."""
        self.open_spans: dict[int, Span] = {}
        """Started and not ended, by span id; removal from here makes ``end`` happen once."""

    def bind(self, attributes: dict[str, AttributeValue]) -> None:
        """Put ``attributes`` on every span of this local trace that ends from now on."""
        self.bound = {**self.bound, **attributes}


def current_local_trace(context: Context | None = None) -> LocalTrace | None:
    """Return the local trace of ``context``, found by its own key: wrapped spans do not hide it."""
    found = (get_current() if context is None else context).get(LOCAL_TRACE_KEY)
    return found if isinstance(found, LocalTrace) else None
