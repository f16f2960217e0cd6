"""The one recorder of the process: stands between its provider and its stages while one captures.

OpenTelemetry takes one provider in the life of a process. So a configured provider is borrowed and
given back; where there is none, one is installed that makes no spans while nobody captures, and
that a later ``turntrace.configure()`` takes over.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace as trace_api

from turntrace import pipeline
from turntrace.errors import ConfigurationError
from turntrace.failsafe import Guarded
from turntrace.guard.exceptions import ExceptionDescriber, content_free
from turntrace.record import Resource, TracerProvider
from turntrace.sample.rules import SamplingPolicy
from turntrace.sample.stage import SampleStage
from turntrace.settings import Settings
from turntrace.testing.taps import Header, HeaderTap, LogTap, WireTap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanContext, SpanKind

    from turntrace.clock import Clock, IdGenerator
    from turntrace.record import Span, Verdict
    from turntrace.record.provider import RootDecision


class Listener(Protocol):
    """Somebody who captures."""

    clock: Clock | None
    ids: IdGenerator | None

    def take_span(self, span: Span) -> None:
        """See a span that ended, on the thread that ended it."""
        ...

    def take_line(self, line: str) -> None:
        """See a log line of turntrace's own."""
        ...

    def take_header(self, header: Header) -> None:
        """See a header that context was written into."""
        ...

    def take_request(self, body: bytes) -> None:
        """See the body of a request to the collector."""
        ...


class _NotConfigured(Settings):
    """Equal to no settings: whatever `configure` asks for is something else."""


class _RestingProvider(TracerProvider):
    """Makes no spans until it is borrowed, or until ``configure()`` takes it over for good."""

    def __init__(self) -> None:
        super().__init__(Resource({}), _drop)
        self.switch_off()

    def redirect(
        self, resource: Resource, sink: Callable[[Span], None], *, decide: RootDecision
    ) -> None:
        """Give spans to the stages of ``configure()``."""
        self.is_switched_off = False
        super().redirect(resource, sink, decide=decide)


def _drop(_span: Span) -> None:
    """Do nothing with a span that nobody captures."""


_BORROWED = (
    "resource",
    "sink",
    "_decide",
    "now_ns",
    "new_trace_id",
    "new_span_id",
    "_closed",
    "is_switched_off",
)
"""What a capture changes of a provider."""


class _Loan:
    """A provider while somebody captures, and how it was before."""

    def __init__(
        self, provider: TracerProvider, take: Callable[[Span], None], settings: Settings
    ) -> None:
        self.provider = provider
        self._take = take
        self._before: dict[str, Any] = {name: getattr(provider, name) for name in _BORROWED}
        self._describe = self._describe_before = provider.describe_exception
        self.is_of_nobody = isinstance(provider, _RestingProvider) and provider.is_switched_off
        """Whether nothing is configured, so that all of the guard is ours to provide."""
        if self.is_of_nobody:
            provider.resource = pipeline.resource_of(settings)
            everything = SampleStage(SamplingPolicy(baseline=1.0), _drop)
            self._before["_decide"] = everything.decide
            messages = content_free if settings.exception_messages == "safe" else None
            self._describe = provider.describe_exception = ExceptionDescriber(messages)
        provider.sink = self._on_end
        provider._decide = self._decide  # noqa: SLF001 - borrowed
        provider._closed = provider.is_switched_off = False  # noqa: SLF001 - as above
        # What configure() asks for meanwhile comes below the capture, and stays afterwards.
        provider.redirect = self._redirect  # type: ignore[method-assign] # for the time

    def _decide(
        self,
        trace_id: int,
        remote_parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, object] | None,
    ) -> Verdict:
        """Keep every trace, for the reason that the real decision gives."""
        verdict: Verdict = self._before["_decide"](trace_id, remote_parent, name, kind, attributes)
        return verdict if verdict.keep else verdict._replace(keep=True, probability=1.0)

    def _on_end(self, span: Span) -> None:
        self._take(span)
        self._before["sink"](span)

    def _redirect(
        self, resource: Resource, sink: Callable[[Span], None], *, decide: RootDecision
    ) -> None:
        self.provider.resource = resource
        self._before.update(resource=resource, sink=sink, _decide=decide, is_switched_off=False)

    def set_source(self, clock: Clock | None, ids: IdGenerator | None) -> None:
        """Take time and ids from these, or from where they came from before."""
        provider, before = self.provider, self._before
        provider.now_ns = before["now_ns"] if clock is None else clock.now_ns
        provider.new_trace_id = before["new_trace_id"] if ids is None else ids.new_trace_id
        provider.new_span_id = before["new_span_id"] if ids is None else ids.new_span_id

    def end(self) -> None:
        """Give the provider back as it was, or as ``configure()`` wanted it since."""
        provider = self.provider
        was_switched_off = provider.is_switched_off  # by configure(enabled=False), meanwhile
        del provider.redirect
        if provider.describe_exception is self._describe:  # else configure() has set another
            provider.describe_exception = self._describe_before
        for name, value in self._before.items():
            setattr(provider, name, value)
        if was_switched_off or provider.is_switched_off:
            provider.switch_off()  # the tracers, too, that were handed out meanwhile


class Recorder:
    """Shows what is recorded to everybody who captures at the moment."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._listeners: tuple[Listener, ...] = ()
        self._loan: _Loan | None = None
        self._headers = HeaderTap(lambda header: self._tell("take_header", header))
        self._taps = (
            self._headers,
            LogTap(lambda line: self._tell("take_line", line)),
            WireTap(lambda body: self._tell("take_request", body)),
        )
        self._resting: _RestingProvider | None = None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who captures now, the last to begin last."""
        return self._listeners

    def provider(self) -> TracerProvider | None:
        """Return the provider that is borrowed."""
        return None if self._loan is None else self._loan.provider

    def begin(self, listener: Listener, settings: Settings) -> None:
        """Show everything to ``listener`` from now on.

        Raises:
            ConfigurationError: Somebody else's tracer provider is installed.
        """
        with self._lock:
            if self._loan is None:
                self._loan = _Loan(self._borrowed(), self._take, settings)
                for tap in self._taps:
                    tap.install()
                if self._loan.is_of_nobody:
                    self._headers.guard()
            self._listeners = (*self._listeners, listener)
            self._choose_source()

    def finish(self, listener: Listener) -> None:
        """Show nothing more to ``listener``."""
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one is not listener)
            self._choose_source()
            if not self._listeners and self._loan is not None:
                for tap in self._taps:
                    tap.remove()
                self._loan.end()
                self._loan = None

    def _choose_source(self) -> None:
        if self._loan is not None:
            clocks = [one.clock for one in self._listeners if one.clock is not None]
            ids = [one.ids for one in self._listeners if one.ids is not None]
            self._loan.set_source(clocks[-1] if clocks else None, ids[-1] if ids else None)

    def _take(self, span: Span) -> None:
        for listener in self._listeners:
            with Guarded("a capture"):
                listener.take_span(span)

    def _tell(self, method: str, what: object) -> None:
        for listener in self._listeners:
            getattr(listener, method)(what)

    def _borrowed(self) -> TracerProvider:
        """Return the process's provider; install one where there is none."""
        installed = trace_api.get_tracer_provider()
        if isinstance(installed, trace_api.ProxyTracerProvider):
            self._resting = installed = self._resting or _RestingProvider()
            trace_api.set_tracer_provider(installed)
            _let_configure_take_over(installed)
        if not isinstance(installed, TracerProvider):
            raise ConfigurationError(
                f"a tracer provider is installed already ({type(installed).__qualname__}), and"
                " capture() sees only what turntrace's records: leave that provider out of this"
                " test process, or call turntrace.configure() before it"
            )
        return installed


def _let_configure_take_over(provider: TracerProvider) -> None:
    """Let a ``configure()`` to come build on ``provider``, as it does on one that is for now."""
    running = pipeline.running()
    is_for_now = pipeline._said_for_now is not None  # noqa: SLF001 - the two are one mechanism
    if running is None or (is_for_now and running.provider is None):
        pipeline._active = pipeline.Telemetry(_NotConfigured(), None, provider, None)  # noqa: SLF001
        pipeline._said_for_now = ()  # noqa: SLF001 - see above
