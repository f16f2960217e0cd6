"""The OpenTelemetry tracer provider: hands out tracers and passes ended spans on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace as trace_api
from opentelemetry.trace import INVALID_SPAN

from turntrace.attributes import EXCEPTION_TYPE
from turntrace.clock import Clock, IdGenerator, RandomIds, SystemClock
from turntrace.failsafe import Guarded, swallowed
from turntrace.record.local_trace import RANDOM, LocalTrace, Verdict
from turntrace.record.span_record import AttributeValue, Scope
from turntrace.record.tracer import Tracer
from turntrace.type_names import qualified_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanContext, SpanKind

    from turntrace.record.span import Span


MAX_TRACERS = 1000
"""Tracers kept for the next caller who asks for the same scope."""


class Resource:
    """Attributes of the whole process, as ``provider.resource`` offers them to other libraries."""

    __slots__ = ("attributes", "schema_url")

    def __init__(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.attributes = dict(attributes)
        self.schema_url = ""


class RootDecision(Protocol):
    """Decides a local trace by what is known when its root starts."""

    def __call__(
        self,
        trace_id: int,
        remote_parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, object] | None,
    ) -> Verdict:
        """Return the verdict; called once for each local root, on the app's thread."""
        ...


def _drop(_span: Span) -> None:
    """Do nothing with a span of a provider that was switched off."""


def only_type(error: BaseException) -> dict[str, AttributeValue]:
    """Say of an exception what type it has."""
    return {EXCEPTION_TYPE: qualified_type(error)}


class SpanProcessor(Protocol):
    """The part of the SDK's SpanProcessor that we call."""

    def on_start(self, span: Span, parent_context: object = None) -> None:
        """See every span that starts."""
        ...

    def on_end(self, span: Span) -> None:
        """See every span that ended."""
        ...

    def shutdown(self) -> None:
        """Let go of everything."""
        ...

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Hand on what is held."""
        ...


def keep_all(
    trace_id: int,  # noqa: ARG001 - the signature of RootDecision
    remote_parent: SpanContext | None,  # noqa: ARG001 - the signature of RootDecision
    name: str,  # noqa: ARG001 - the signature of RootDecision
    kind: SpanKind,  # noqa: ARG001 - the signature of RootDecision
    attributes: Mapping[str, object] | None,  # noqa: ARG001 - the signature of RootDecision
) -> Verdict:
    """Keep every trace."""
    return Verdict(keep=True, reason="all", probability=1.0)


class _NoSpan(trace_api.NonRecordingSpan):
    """What a provider makes that was switched off."""

    def failed(self, error: BaseException, *, record: bool = True, set_status: bool = True) -> None:
        """Do nothing, where a span of ours would note the error."""


class _CarefulTracer(Tracer):
    """Asks at each span whether its provider still makes any."""

    def start_span(self, *arguments: Any, **options: Any) -> Span:
        """Start a span; once switched off, an invalid one, or what the remote parent was."""
        if not self._provider.is_switched_off:
            return super().start_span(*arguments, **options)
        context = options.get("context", arguments[1] if len(arguments) > 1 else None)
        current = trace_api.get_current_span(context)
        parent = current if isinstance(current, trace_api.NonRecordingSpan) else INVALID_SPAN
        return _NoSpan(parent.get_span_context())  # type: ignore[return-value] # all that is asked


class TracerProvider(trace_api.TracerProvider):
    """Makes spans and gives each one that ended to ``sink``, on the thread that ended it.

    ``sink`` and ``decide`` may raise: what they raise is counted and swallowed here, so that no
    error of a later stage ever reaches the app.
    """

    def __init__(
        self,
        resource: Resource,
        sink: Callable[[Span], None],
        *,
        decide: RootDecision = keep_all,
        clock: Clock | None = None,
        ids: IdGenerator | None = None,
    ) -> None:
        self.resource = resource
        clock = clock or SystemClock()
        ids = ids or RandomIds()
        self.now_ns = clock.now_ns
        self.new_trace_id = ids.new_trace_id
        self.new_span_id = ids.new_span_id
        self.force_flush_stages: Callable[[float], bool] = lambda _timeout_seconds: True
        self.shutdown_stages: Callable[[], object] = lambda: None
        self.sink = sink
        self._decide = decide
        self.describe_exception: Callable[[BaseException], Mapping[str, AttributeValue]] = only_type
        """Says what an ``exception`` event holds; replaced by the guard's."""
        self.processors: tuple[SpanProcessor, ...] = ()
        self._tracers: dict[tuple[str | None, ...], Tracer] = {}
        self._closed = False
        self.is_switched_off = False
        """Whether it makes no spans any more; final."""

    def redirect(
        self, resource: Resource, sink: Callable[[Span], None], *, decide: RootDecision
    ) -> None:
        """Give spans to other stages from now on; tracers that were handed out follow."""
        self.resource, self.sink, self._decide = resource, sink, decide

    def switch_off(self) -> None:
        """Make no span any more, by any tracer; those that are open end and go nowhere."""
        self.is_switched_off = True
        self.sink = _drop
        self.force_flush_stages = lambda _timeout_seconds: True
        self.shutdown_stages = lambda: None
        for tracer in tuple(self._tracers.values()):
            tracer.__class__ = _CarefulTracer

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,  # noqa: ARG002 - scope attributes are not kept
    ) -> trace_api.Tracer:
        """Return the tracer of one instrumentation scope; a no-op one after ``shutdown``."""
        if self._closed:
            return trace_api.NoOpTracer()
        key = (instrumenting_module_name, instrumenting_library_version, schema_url)
        tracer = self._tracers.get(key)
        if tracer is None:
            scope = Scope(*(part or "" for part in key))
            if len(self._tracers) >= MAX_TRACERS:
                return _CarefulTracer(self, scope)  # nobody could find it to switch it off
            tracer = self._tracers[key] = Tracer(self, scope)
            if self.is_switched_off:
                tracer.__class__ = _CarefulTracer
        return tracer

    def new_local_trace(
        self,
        trace_id: int,
        remote_parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, object] | None,
    ) -> LocalTrace:
        """Start a local trace with its verdict; a decision that fails keeps the trace."""
        try:
            verdict = self._decide(trace_id, remote_parent, name, kind, attributes)
        except Exception as error:  # noqa: BLE001 - telemetry never breaks the app
            swallowed("the sampling decision", error)
            verdict = Verdict(keep=True, reason="decision_failed", probability=1.0)
        if remote_parent is None:
            return LocalTrace(trace_id, verdict)
        return LocalTrace(
            trace_id,
            verdict,
            is_random=bool(remote_parent.trace_flags & RANDOM),
            trace_state=remote_parent.trace_state,
        )

    def on_start(self, span: Span) -> None:
        """Show a started span to the processors that others added."""
        for processor in self.processors:
            with Guarded("a span processor's on_start"):
                processor.on_start(span)

    def on_end(self, span: Span) -> None:
        """Show an ended span to the processors that others added."""
        for processor in self.processors:
            with Guarded("a span processor's on_end"):
                processor.on_end(span)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Show spans to another processor too; it must not rely on SDK internals."""
        self.processors = (*self.processors, span_processor)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until every span that ended has been acknowledged; False if time ran out."""
        done = self.force_flush_stages(timeout_millis / 1000)
        for processor in self.processors:
            with Guarded("a span processor's force_flush"):
                done = bool(processor.force_flush(timeout_millis)) and done
        return done

    def shutdown(self) -> None:
        """Flush and close; tracers asked for later do nothing."""
        if self._closed:
            return
        self._closed = True
        self.shutdown_stages()
        for processor in self.processors:
            with Guarded("a span processor's shutdown"):
                processor.shutdown()
