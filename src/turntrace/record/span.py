"""The span that people hold while it is open: plain slots, no lock, as few calls as it takes.

Hot path: start and end with eight attributes cost under 3 us on CPython 3.11, so methods here
repeat a line rather than call a function, and values are judged once, later, by the guard.
"""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace import Span as ApiSpan

from turntrace.attributes import ERROR_TYPE, EXCEPTION_ESCAPED, EXCEPTION_MESSAGE
from turntrace.call_sites import (
    NOTHING_UNKNOWN,
    caller,
    given,
    is_constant,
    origin,
    origins,
    plain_key,
)
from turntrace.failsafe import Guarded, swallowed
from turntrace.record.event import Event
from turntrace.record.values import MAX_ATTRIBUTES, SCALARS, limited, own, own_all
from turntrace.registry import KNOWN
from turntrace.type_names import qualified_type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from turntrace.call_sites import Given, Origin
    from turntrace.record.local_trace import LocalTrace
    from turntrace.record.provider import TracerProvider
    from turntrace.record.span_record import AttributeValue, Scope

MAX_EVENTS = 128
MAX_LINKS = 128
NO_NAME = object()
"""Stands for a name that stands in code: nobody gave one."""


class Span(ApiSpan):
    """An OpenTelemetry span with every property that the SDK's ``ReadableSpan`` has.

    Thread-safe without a lock: each change is one atomic step of the interpreter, and ``end``
    takes effect for exactly one of its callers.
    """

    __slots__ = (
        "_attributes",
        "_context",
        "constant_name",
        "end_time",
        "kind",
        "local_trace",
        "name",
        "parent_context",
        "parent_id",
        "provider",
        "scope",
        "span_id",
        "start_time",
        "trace_id",
    )

    # What most spans never have, kept off the slots: an assignment saved for each span, and the
    # guard sees by an empty ``__dict__`` that there is none of it.
    status_code = StatusCode.UNSET
    status_description: str | None = None
    is_renamed = False
    name_origin: Origin | None = None
    origins: dict[str, Origin] | None = None
    link_origins: dict[str, Origin] | None = None
    dropped_attributes = 0
    dropped_events = 0
    dropped_links = 0
    _events: list[Event] | None = None
    _links: list[Link] | None = None

    # Filled by ``Tracer.start_span``, which is the only one to make spans.
    name: str
    kind: SpanKind
    provider: TracerProvider
    scope: Scope
    constant_name: object
    """The name it had when that stood in the code; it may leave if it is still that very object."""
    local_trace: LocalTrace
    trace_id: int
    span_id: int
    parent_id: int
    parent_context: SpanContext | None
    start_time: int
    end_time: int | None
    _attributes: dict[str, AttributeValue]
    _context: SpanContext | None

    # -- what the API asks for ----------------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        """Return ids, flags and trace state; made at the first call: the API checks them."""
        context = self._context
        if context is None:
            local_trace = self.local_trace
            context = self._context = SpanContext(
                self.trace_id,
                self.span_id,
                is_remote=False,
                trace_flags=TraceFlags(local_trace.flags),
                trace_state=local_trace.trace_state,
            )
        return context

    def is_recording(self) -> bool:
        """Return whether the span is still open."""
        return self.end_time is None

    def set_attribute(self, key: str, value: object) -> None:
        """Set one attribute; ignored once the span has ended. At most 128, more are counted.

        ``None`` changes nothing. Never raises, whatever it is given.
        """
        if self.end_time is not None or value is None:
            return
        attributes = self._attributes
        try:
            if len(attributes) >= MAX_ATTRIBUTES and key not in attributes:
                self.dropped_attributes += 1
                return
            if key not in KNOWN:
                found = origin(key, value, caller())
                key = plain_key(key)
                self.origins = {**(self.origins or {}), key: found}
            elif type(key) is not str:
                key = plain_key(key)
            if type(value) not in SCALARS:
                value = own(value)
            attributes[key] = value  # type: ignore[assignment] # the guard judges it
        except Exception as error:  # noqa: BLE001 - a key that is none, a list that raises
            swallowed("set_attribute", error)

    def set_attributes(self, attributes: Mapping[str, object]) -> None:
        """Set several attributes as ``set_attribute`` does each."""
        if self.end_time is not None:
            return
        try:
            mine = self._attributes
            if len(mine) + len(attributes) <= MAX_ATTRIBUTES:
                if not KNOWN.issuperset(attributes):
                    self.origins = {**(self.origins or {}), **(origins(attributes, KNOWN) or {})}
                mine.update(own_all(attributes))
                return
            for key, value in attributes.items():
                self.set_attribute(key, value)
        except Exception as error:  # noqa: BLE001 - no mapping, or one that raises
            swallowed("set_attributes", error)

    def add_event(
        self,
        name: str,
        attributes: Mapping[str, object] | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Add an event (``timestamp`` in ns since the epoch); at most 128, more are counted."""
        if self.end_time is not None:
            return
        events = self._events
        if events is None:
            events = self._events = []
        if len(events) >= MAX_EVENTS:
            self.dropped_events += 1
            return
        try:
            kept, dropped = limited(attributes)
        except Exception as error:  # noqa: BLE001 - no mapping, or one that raises
            swallowed("add_event", error)
            kept, dropped = {}, 0
        moment = timestamp if isinstance(timestamp, int) else self.provider.now_ns()
        with Guarded("add_event"):
            event = Event(plain_key(name), moment, kept, dropped)
            if not event.is_named_by_constant or type(name) is not str:
                event.is_named_by_constant = is_constant(name, caller())
            if kept:
                event.origins = origins(attributes or {}, KNOWN)
            events.append(event)

    def add_link(
        self, context: SpanContext, attributes: Mapping[str, object] | None = None
    ) -> None:
        """Link another span; invalid contexts are ignored; at most 128, more are counted."""
        if self.end_time is not None or not isinstance(context, SpanContext):
            return
        if not context.is_valid:
            return
        links = self._links
        if links is None:
            links = self._links = []
        if len(links) >= MAX_LINKS:
            self.dropped_links += 1
            return
        with Guarded("add_link"):
            kept, _ = limited(attributes)
            if kept and not KNOWN.issuperset(kept):
                found = origins(attributes or {}, KNOWN)
                self.link_origins = {**(self.link_origins or {}), **(found or {})}
            links.append(Link(context, kept))

    def update_name(self, name: str) -> None:
        """Rename the span; ignored once it has ended.

        A name leaves only if it stands as a constant in the caller's code: it is then nothing that
        a user typed. Our own instrumentations are trusted.
        """
        if self.end_time is not None:
            return
        with Guarded("update_name"):
            by = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001 - cheapest way
            if type(by) is str and by.startswith("turntrace."):
                self.name = name
                if self.is_renamed:
                    self.is_renamed = False
                return
            self.is_renamed = True  # first: another thread may be ending the span
            giver = given(name, None, KNOWN)
            self.name = plain = plain_key(name)
            self.came_from(giver, plain)

    def came_from(self, giver: Given, name: str) -> None:
        """Note who gave the attributes and the name, which may have been changed since."""
        if giver.is_named_by_constant:
            self.constant_name = name
        if giver is NOTHING_UNKNOWN:
            return
        self.name_origin, found = giver.name_origin, giver.origins
        if found:
            self.origins = {**(self.origins or {}), **found}

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status as the API defines it: ``OK`` is final, ``UNSET`` changes nothing."""
        if self.end_time is not None or self.status_code is StatusCode.OK:
            return
        if isinstance(status, Status):
            code, description = status.status_code, status.description
        else:
            code = status
        if code is StatusCode.UNSET or not isinstance(code, StatusCode):
            return
        self.status_code = code
        self.status_description = description if code is StatusCode.ERROR else None

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, object] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an ``exception`` event: what the provider says of it, which holds no text."""
        if self.end_time is not None:
            return
        with Guarded("record_exception"):
            facts = dict(self.provider.describe_exception(exception))
            message = facts.pop(EXCEPTION_MESSAGE, None)
            facts[EXCEPTION_ESCAPED] = bool(escaped)
            before = len(self._events or ())
            self.add_event("exception", {**attributes, **facts} if attributes else facts, timestamp)
            if message is not None and self._events is not None and len(self._events) > before:
                self._events[-1].message = message

    def end(self, end_time: int | None = None) -> None:
        """End the span (``end_time`` in ns since the epoch); every call after the first is ignored.

        Never raises, takes no lock of its own and may run in a signal handler or ``__del__``.
        """
        # The pop is atomic: of two racing calls exactly one gets the span.
        if self.local_trace.open_spans.pop(self.span_id, None) is None:
            return
        provider = self.provider
        end = end_time if isinstance(end_time, int) else provider.now_ns()
        # max() would cost a call: this line runs for every span.
        self.end_time = end if end > self.start_time else self.start_time  # noqa: FURB136
        try:
            provider.sink(self)
        except Exception as error:  # noqa: BLE001 - telemetry never breaks the app
            swallowed("the pipeline", error)
        if provider.processors:
            provider.on_end(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span; an ``Exception`` makes it an error."""
        if isinstance(error, Exception) and self.end_time is None:
            self.failed(error)
        self.end()

    def failed(self, error: BaseException, *, record: bool = True, set_status: bool = True) -> None:
        """Mark the span as failed by ``error``: an event, the status and ``error.type``."""
        if record:
            self.record_exception(error, escaped=True)
        if set_status and self.status_code is not StatusCode.OK:
            self.set_attribute(ERROR_TYPE, qualified_type(error))
            self.set_status(StatusCode.ERROR)

    def cut_attributes(self) -> None:
        """Keep the first 128 attributes given at the start, count the rest."""
        mine = self._attributes
        self.dropped_attributes += len(mine) - MAX_ATTRIBUTES
        self._attributes = dict(list(mine.items())[:MAX_ATTRIBUTES])

    # -- what others read (contrib ASGI, Redis, Traceloop, OpenInference) ----------------------

    @property
    def context(self) -> SpanContext:
        """The same as ``get_span_context()``."""
        return self.get_span_context()

    @property
    def parent(self) -> SpanContext | None:
        """The parent's context, or None for a root."""
        parent = self.parent_context
        if parent is None and self.parent_id:
            context = self.get_span_context()
            parent = self.parent_context = SpanContext(
                self.trace_id,
                self.parent_id,
                is_remote=False,
                trace_flags=context.trace_flags,
                trace_state=context.trace_state,
            )
        return parent

    @property
    def status(self) -> Status:
        """The status."""
        return Status(self.status_code, self.status_description)

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """A read-only view of the attributes, bound ones included."""
        return MappingProxyType({**self.local_trace.bound, **self._attributes})

    @property
    def events(self) -> tuple[Event, ...]:
        """The events so far."""
        return tuple(self._events or ())

    @property
    def links(self) -> tuple[Link, ...]:
        """The links so far."""
        return tuple(self._links or ())

    @property
    def resource(self) -> object:
        """The provider's resource."""
        return self.provider.resource

    @property
    def instrumentation_scope(self) -> Scope:
        """Who made this span."""
        return self.scope

    def __repr__(self) -> str:
        """Show name and ids, never attribute values."""
        return f"<Span {self.name!r} {self.trace_id:032x}:{self.span_id:016x}>"
