"""Starts spans: finds the parent, the local trace and the ids, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.trace import SpanContext, SpanKind

from turntrace.call_sites import given, plain_key
from turntrace.failsafe import Guarded, swallowed
from turntrace.record.context import (
    LOCAL_TRACE_KEY,
    SPAN_KEY,
    attach,
    detach,
    get_current,
    with_span,
)
from turntrace.record.local_trace import MAX_OPEN_SPANS, LocalTrace
from turntrace.record.scope import Decorates
from turntrace.record.span import NO_NAME, Span
from turntrace.record.values import MAX_ATTRIBUTES, SCALARS, TEXT, own_all
from turntrace.registry import KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Link

    from turntrace.call_sites import Given
    from turntrace.record.provider import TracerProvider
    from turntrace.record.span_record import Scope


_new = object.__new__


def _add_links(span: Span, links: Sequence[Link]) -> None:
    with Guarded("the links given to start_span"):
        for link in links:
            if link is not None:
                span.add_link(link.context, link.attributes)


def _note_giver(span: Span, attributes: Mapping[str, Any] | None) -> None:
    """Note of a span that is not ours who gave its name and attributes."""
    name = span.name
    try:
        giver = given(name, attributes, KNOWN, depth=3)
        if type(name) is not str:
            name = span.name = plain_key(name)  # of a member of an enum its text
        span.came_from(giver, name)
    except Exception as error:  # noqa: BLE001 - telemetry never breaks the app
        swallowed("the giver of a span's name", error)


class Tracer(trace_api.Tracer):
    """The OpenTelemetry tracer of one instrumentation scope."""

    def __init__(self, provider: TracerProvider, scope: Scope) -> None:
        self._provider = provider
        self._scope = scope
        self._is_own = scope.name == "turntrace" or scope.name.startswith("turntrace.")

    def start_span(  # noqa: PLR0917, C901 - the API's signature; a call saved for each branch
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002 - only scopes use it
        set_status_on_exception: bool = True,  # noqa: ARG002 - only scopes use it
    ) -> Span:
        """Start a span below the current one of ``context``; ``start_time`` in ns since the epoch.

        Long for a reason: start and end may cost 3 us (``benchmarks/span.py``); a call is felt.
        """
        provider = self._provider
        parent = (get_current() if context is None else context).get(SPAN_KEY)
        if parent.__class__ is Span and parent.provider is provider:
            local_trace: LocalTrace = parent.local_trace
            parent_id = parent.span_id
            parent_context = None
        else:
            local_trace, parent_context = self._adopt(parent, context, name, kind, attributes)
            parent_id = 0 if parent_context is None else parent_context.span_id
        try:
            if not attributes:
                mine = {}
            elif SCALARS.issuperset(map(type, attributes.values())) and (
                self._is_own or TEXT.issuperset(map(type, attributes))
            ):
                mine = dict(attributes)
            else:
                mine = own_all(attributes)
        except Exception as error:  # noqa: BLE001 - no mapping, or one that raises
            swallowed("the attributes given to start_span", error)
            mine = {}
        # Made in place: without the frame of an __init__.
        span: Span = _new(Span)
        span.name = name
        span.kind = kind
        span.provider = provider
        span.scope = self._scope
        span.local_trace = local_trace
        span.trace_id = local_trace.trace_id
        span.span_id = span_id = provider.new_span_id()
        span.parent_id = parent_id
        span.parent_context = parent_context
        span.constant_name = NO_NAME
        span._attributes = mine  # noqa: SLF001 - see above
        span._context = span.end_time = None  # noqa: SLF001 - see above
        is_absent = start_time is None or not isinstance(start_time, int)
        span.start_time = provider.now_ns() if is_absent else start_time  # type: ignore[assignment] # an int
        if not self._is_own:
            _note_giver(span, attributes)
        if len(mine) > MAX_ATTRIBUTES:
            span.cut_attributes()
        if links:
            _add_links(span, links)
        open_spans = local_trace.open_spans
        open_spans[span_id] = span
        if local_trace.root is None:
            local_trace.root = span
        elif len(open_spans) > MAX_OPEN_SPANS:
            local_trace.abandon_oldest()
        if provider.processors:
            provider.on_start(span)
        return span

    def _adopt(
        self,
        parent: object,
        context: Context | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
    ) -> tuple[LocalTrace, SpanContext | None]:
        """Find the local trace below a parent that is not a span of ours, or start one."""
        provider = self._provider
        parent_context = parent.get_span_context() if isinstance(parent, trace_api.Span) else None
        if parent_context is None or not parent_context.is_valid:
            trace_id = provider.new_trace_id()
            return provider.new_local_trace(trace_id, None, name, kind, attributes), None
        if not parent_context.is_remote:
            # Somebody wrapped our span (Logfire, OpenInference): the local trace has its own key.
            local_trace = (get_current() if context is None else context).get(LOCAL_TRACE_KEY)
            if (
                isinstance(local_trace, LocalTrace)
                and local_trace.trace_id == parent_context.trace_id
            ):
                return local_trace, parent_context
        return (
            provider.new_local_trace(
                parent_context.trace_id, parent_context, name, kind, attributes
            ),
            parent_context,
        )

    def start_as_current_span(  # type: ignore[override] # noqa: PLR0917 - a class, not a generator
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Return a context manager (and decorator) that starts a span and makes it current."""
        giver: Given | None = None
        if not self._is_own:
            with Guarded("the giver of a span's name"):
                giver = given(name, attributes, KNOWN)
                name = plain_key(name)
        return CurrentSpan(
            self,
            (name, context, kind, attributes, links, start_time),
            giver,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
            end_on_exit=end_on_exit,
        )


class CurrentSpan(Decorates):
    """What ``start_as_current_span`` returns; also good for several tasks at once."""

    __slots__ = ("_arguments", "_end", "_entered", "_giver", "_record", "_status", "_tracer")

    takes_generators = True  # as the API's own does

    def __init__(
        self,
        tracer: Tracer,
        arguments: tuple[Any, ...],
        giver: Given | None,
        *,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> None:
        self._tracer = tracer
        self._arguments = arguments
        self._giver = giver
        self._record = record_exception
        self._status = set_status_on_exception
        self._end = end_on_exit
        self._entered: list[tuple[Span, Token[Context]]] = []

    def __enter__(self) -> Span:
        """Start the span and make it current."""
        span = self._tracer.start_span(*self._arguments)
        if self._giver is not None and isinstance(span, Span):
            # A decorated function is called from anywhere.
            span.came_from(self._giver, self._arguments[0])
        self._entered.append((span, attach(with_span(span, self._arguments[1]))))
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span; an ``Exception`` is recorded by its type and raised on."""
        entered = self._entered
        # Of several tasks inside, the one that leaves is the one whose span is current here.
        current = get_current().get(SPAN_KEY) if len(entered) > 1 else None
        index = next((i for i, (span, _) in enumerate(entered) if span is current), -1)
        span, token = entered.pop(index)
        detach(token)
        if isinstance(error, Exception):
            span.failed(error, record=self._record, set_status=self._status)
        if self._end:
            span.end()

    def _again(self) -> CurrentSpan:
        return CurrentSpan(
            self._tracer,
            self._arguments,
            self._giver,
            record_exception=self._record,
            set_status_on_exception=self._status,
            end_on_exit=self._end,
        )
