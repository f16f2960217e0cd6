"""The spans under one local root: what they share while any of them is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.trace import Span as ApiSpan

from turntrace.record.context import LOCAL_TRACE_KEY, SPAN_KEY, get_current
from turntrace.record.values import own_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import TraceState

    from turntrace.call_sites import Origin
    from turntrace.record.span import Span
    from turntrace.record.span_record import AttributeValue

MAX_BOUND = 128
"""Attributes that may be bound to one local trace."""
MAX_OPEN_SPANS = 10_000
"""Spans of one local trace that may be open at once; a real turn has tens."""

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
        "abandoned",
        "bound",
        "flags",
        "guarded_bound",
        "open_spans",
        "origins",
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
        self.origins: dict[str, Origin] = {}
        """Where those of ``bound`` come from that nobody registered."""
        self.guarded_bound: tuple[object, object, dict[str, AttributeValue], int]
        self.guarded_bound = (None, None, {}, 0)
        """Written by a guard: which ``bound`` was judged by whom; what may leave, how many not."""
        self.open_spans: dict[int, Span] = {}
        """Started and not ended, by span id; removal from here makes ``end`` happen once."""
        self.abandoned = 0
        """Spans given up because too many were open."""

    def bind(
        self,
        attributes: Mapping[str, AttributeValue | None],
        origins: Mapping[str, Origin] | None = None,
    ) -> None:
        """Put ``attributes`` on every span of this local trace that ends from now on.

        ``None`` changes nothing; at most 128 keys, of more the newest stay. ``origins`` says where
        those come from that nobody registered.
        """
        if origins:
            self.origins = (
                {**self.origins, **origins} if len(self.origins) < MAX_BOUND else {**origins}
            )
        given = own_all(attributes)
        bound = {**self.bound, **given}
        if len(bound) > MAX_BOUND:
            bound = dict(list({**given, **self.bound, **given}.items())[:MAX_BOUND])
        self.bound = bound

    def abandon_oldest(self) -> None:
        """Forget the span that has been open longest, the root aside: nobody will end it."""
        for span_id, span in list(self.open_spans.items())[:2]:
            if span is not self.root:
                self.open_spans.pop(span_id, None)
                self.abandoned += 1
                return


def current_local_trace(context: Context | None = None) -> LocalTrace | None:
    """Return the local trace of ``context``; a span that somebody wrapped does not hide it."""
    values = get_current() if context is None else context
    span = values.get(SPAN_KEY)
    own = getattr(span, "local_trace", None)
    if isinstance(own, LocalTrace):
        return own
    found = values.get(LOCAL_TRACE_KEY)
    if not isinstance(found, LocalTrace):
        return None
    if isinstance(span, ApiSpan) and span.get_span_context().trace_id != found.trace_id:
        return None
    return found
