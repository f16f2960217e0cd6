"""capture() and what it holds: spans behind the real guard, and all else that left meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict, deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from turntrace import pipeline
from turntrace.attributes import Vocabulary
from turntrace.errors import ConfigurationError
from turntrace.guard.schema import Schema
from turntrace.guard.stage import GuardStage
from turntrace.registry import register_attributes
from turntrace.settings import Settings, load
from turntrace.testing.captured import CapturedSpan
from turntrace.testing.content import Canary, readings
from turntrace.testing.recorder import Recorder
from turntrace.testing.taps import MAX_LINES, Header, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from turntrace.clock import Clock, IdGenerator
    from turntrace.record import Span, SpanRecord

_RECORDER = Recorder()
_MAX_NAMED = 20

_ADVICE = {
    "attribute": "a string leaves only under a key with a declared shape: take it off the span, or"
    " out of what register_attributes() or TURNTRACE_ATTRIBUTES declares, or declare a narrower"
    " shape",
    "name": "names leave that are constants in the code: put what varies into no name",
    "resource": "OTEL_RESOURCE_ATTRIBUTES and configure() set the resource: take it out there",
    "header": "context that is sent along holds ids: keep text out of baggage and trace state",
    "log line": "a log line of turntrace never holds content: please report it",
    "spool": "a span that waits on disk holds it: capture() around the code in question names it",
    "request": "an exported request holds it: capture() around the code in question names the span",
}


class _Place(NamedTuple):
    """Something that left, and where it was."""

    kind: str
    where: str
    content: str | bytes


class Capture:
    """What was recorded while it was open; made by `capture`, and readable afterwards."""

    def __init__(
        self, given: Mapping[str, object], clock: Clock | None, ids: IdGenerator | None
    ) -> None:
        self.clock = clock
        self.ids = ids
        self._given = dict(given)
        self._spans: list[CapturedSpan] = []
        self._headers: deque[Header] = deque(maxlen=MAX_LINES)
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._wire = Wire()
        self._guard: GuardStage | None = None
        self._schema: Schema | None = None
        self._resource: dict[tuple[str, str], None] = {}
        self._is_over = False

    def __enter__(self) -> Self:
        """Begin; see `capture` for what is raised."""
        if self._guard is not None:
            raise ConfigurationError("a capture can be entered once: call capture() again")
        settings = _settings(self._given)
        schema = _schema(settings)
        self._guard = GuardStage(schema, self._keep)
        _register(settings, is_given="attributes" in self._given)
        _RECORDER.begin(self, settings)
        self._schema = schema
        self._look_at_resource()
        _LAST[:] = [self]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; what was raised goes on."""
        self._look_at_resource()
        self._is_over = True
        _RECORDER.finish(self)

    # What was captured.

    @property
    def spans(self) -> list[CapturedSpan]:
        """The spans that have ended, in the order in which they did."""
        return list(self._spans)

    @property
    def withheld(self) -> Mapping[str, int]:
        """How often the guard withheld each attribute key."""
        return MappingProxyType({} if self._guard is None else dict(self._guard.withheld))

    @property
    def outgoing_headers(self) -> list[Header]:
        """``(name, value)`` of each header that trace context was written into, for another."""
        return list(self._headers)

    @property
    def log_lines(self) -> list[str]:
        """The lines of turntrace's own loggers, of the levels that `logging` lets through."""
        return list(self._lines)

    def one(self, name: str) -> CapturedSpan:
        """Return the only span of that name.

        Raises:
            AssertionError: There is none, or more than one; it says which spans there are.
        """
        found = [span for span in self._spans if span.name == name]
        if len(found) != 1:
            tree = self.tree() or "(none)"
            raise AssertionError(f"{len(found)} spans are named {name!r}; captured:\n{tree}")
        return found[0]

    def children(self, of: CapturedSpan | str) -> list[CapturedSpan]:
        """Return the children of a span (or of the only one of that name) in order of their start.

        Those that start at the same instant, as under a `ManualClock`, stand in the order of their
        end.
        """
        parent = self.one(of) if isinstance(of, str) else of
        return _by_start(
            [
                span
                for span in self._spans
                if span.parent_id == parent.span_id and span.trace_id == parent.trace_id
            ]
        )

    def tree(self) -> str:
        """Return a line for each span, its name indented below its parent's; good for a snapshot.

        Example:
            >>> import turntrace
            >>> with capture() as captured, turntrace.turn("outer"), turntrace.turn("inner"):
            ...     pass
            >>> print(captured.tree())
            outer
              inner
        """
        spans = _by_start(self.spans)
        known = {(span.trace_id, span.span_id) for span in spans}
        below: dict[tuple[str, str] | None, list[CapturedSpan]] = defaultdict(list)
        for span in spans:
            parent = (span.trace_id, span.parent_id)
            below[parent if parent in known else None].append(span)
        lines: list[str] = []
        pending = [(0, root) for root in reversed(below[None])]
        while pending:
            depth, span = pending.pop()
            lines.append("  " * depth + span.name)
            children = below.pop((span.trace_id, span.span_id), [])
            pending += [(depth + 1, child) for child in reversed(children)]
        return "\n".join(lines)

    def assert_no_content(self, *canaries: str) -> None:
        """Do what `turntrace.testing.assert_no_content` does, for this capture."""
        __tracebackhide__ = True
        self._look_at_resource()
        wanted = [Canary(canary) for canary in canaries]
        if not wanted:
            raise ValueError("assert_no_content() was given no canary: name what must not leave")
        if not (self._spans or self._lines or self._headers or self._wire.bodies):
            raise AssertionError(
                "nothing was captured, so there is nothing to look at: run the code inside"
                " capture(), with turntrace.instrument() called or spans of its own"
            )
        if self._wire.forgotten:
            raise AssertionError(
                f"{self._wire.forgotten} requests were too many to keep: capture less at a time"
            )
        found: dict[_Place, list[str]] = {}
        seen: dict[str | bytes, list[str]] = {}  # most values stand in many places
        for place in self._places():
            if place.content not in seen:
                texts = readings(place.content)
                seen[place.content] = [canary.text for canary in wanted if canary.is_in(texts)]
            if seen[place.content]:
                found[place] = seen[place.content]
        if found:
            raise AssertionError(_report(found))

    # What the recorder tells.

    def take_span(self, span: Span) -> None:
        """Guard a span that ended and keep what is left."""
        if self._guard is not None and not self._is_over:
            self._guard.on_end(span)

    def take_line(self, line: str) -> None:
        """Keep a log line."""
        self._lines.append(line)

    def take_header(self, header: Header) -> None:
        """Keep a header."""
        self._headers.append(header)

    def take_request(self, body: bytes) -> None:
        """Keep the body of a request."""
        self._wire.add(body)

    def _look_at_resource(self) -> None:
        """Note what leaves of the resource, which ``configure()`` may change meanwhile."""
        provider, running = _RECORDER.provider(), pipeline.running()
        if self._is_over or provider is None or self._schema is None:
            return
        configured = {} if running is None else running.settings.resource_attributes
        for key, value in provider.resource.attributes.items():
            if self._schema.has_resource_key(key) or key in configured:
                self._resource[key, f"{key} {value!s}"] = None

    def _keep(self, record: SpanRecord) -> None:
        self._spans.append(CapturedSpan(record, self._spans))

    def _places(self) -> Iterator[_Place]:
        """Yield everything that left."""
        for key, text in self._resource:
            yield _Place("resource", f"resource attribute {key!r}", text)
        for span in list(self._spans):
            yield from _places_of(span.record)
        for line in list(self._lines):
            yield _Place("log line", "a log line of turntrace", line)
        for name, value in list(self._headers):
            yield _Place("header", f"outgoing header {name!r}", f"{name}: {value}")
        for number, body in enumerate(list(self._wire.bodies), start=1):
            yield _Place("request", f"export request {number}", body)
        running = pipeline.running()
        for path in running.spool_files() if running else ():
            with contextlib.suppress(OSError):  # it was sent and removed just now
                yield _Place("spool", f"the spool file {path.name}", path.read_bytes())


_LAST: list[Capture] = []
"""The capture that began last."""


def capture(
    *, clock: Clock | None = None, ids: IdGenerator | None = None, **settings: object
) -> Capture:
    """Record the spans that end inside a ``with`` block, in whatever thread or task of the process.

    All traces are kept, and each span passes the guard that the app's spans pass. It works whether
    or not ``turntrace.configure()`` was called, before or inside the block; what is configured goes
    on as without a capture, its exporter included, and afterwards everything is as it was. Captures
    may be nested and may overlap: each gets all spans that end while it is open. Time and ids are
    those of the last one that brought some.

    Args:
        clock: Where spans get their time, such as a `ManualClock`; the machine's by default.
        ids: Where spans get their ids, such as `SequentialIds`; random by default.
        settings: Fields of ``turntrace.settings.Settings`` as ``configure`` takes them, such as
            ``vocabulary``; those about sending have no effect. By default what is configured, and
            the environment. ``attributes`` are registered as by ``register_attributes``, so they
            stay; ``exception_messages`` counts where nothing is configured and no capture is open.

    Raises:
        ConfigurationError: On entering: a setting cannot be used, or another library's tracer
            provider is installed.

    Example:
        >>> import turntrace
        >>> from turntrace.testing import ManualClock, SequentialIds, capture
        >>> clock = ManualClock()
        >>> with capture(clock=clock, ids=SequentialIds()) as captured:
        ...     with turntrace.turn("summary"):
        ...         clock.advance(seconds=1.5)
        >>> captured.one("summary").duration_seconds, captured.one("summary").span_id
        (1.5, '0000000000000001')
    """
    return Capture(settings, clock, ids)


def assert_no_content(*canaries: str) -> None:
    """Fail if one of the texts left the process since the innermost or last `capture` began.

    It looks at spans behind the guard (names, keys, values, events, links, the resource), at
    the headers that trace context was written into, at turntrace's own log lines, and at the
    requests that a configured exporter sent, before compression. A canary is found in any case and
    with any whitespace, URL-quoted, JSON-escaped, as base64, hex or UTF-16; of one that is longer
    than 12 characters, any 12 in a row are enough.

    Args:
        canaries: Texts of 4 characters or more that stand nowhere else, such as made-up sentences
            that the test sends as a chat message.

    Raises:
        AssertionError: A canary left; it says where, and what to do. Or nothing was captured.
        ValueError: A canary is too short to prove anything.

    Example:
        >>> import turntrace
        >>> with capture(), turntrace.turn("answer"):
        ...     turntrace.bind(session_id="0d9f6a4e")
        >>> assert_no_content("the blue heron dances")
        >>> assert_no_content("0d9f6a4e")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AssertionError: content left the process:
          '0d9f6a4e' in attribute 'session.id' of span 'answer'...
    """
    __tracebackhide__ = True
    inner = [one for one in _RECORDER.listeners if isinstance(one, Capture)][-1:] or _LAST
    if not inner:
        raise AssertionError(
            "nothing was captured in this process: put the code in `with capture():` first"
        )
    inner[-1].assert_no_content(*canaries)


def _settings(given: Mapping[str, object]) -> Settings:
    """Return what is configured, else the environment's settings, with ``given`` on top."""
    loaded, _ = load(given)
    running = pipeline.running()
    if running is None or type(running.settings) is not Settings:
        return loaded
    return dataclasses.replace(running.settings, **{name: getattr(loaded, name) for name in given})


def _schema(settings: Settings) -> Schema:
    return Schema(
        vocabulary=Vocabulary(settings.vocabulary), resource_keys=settings.resource_attributes
    )


def _register(settings: Settings, *, is_given: bool) -> None:
    """Declare the app's attributes; raise only for what the test itself asks for."""
    if is_given:
        register_attributes(settings.attributes)
        return
    for key, shape in settings.attributes.items():
        with contextlib.suppress(ConfigurationError):  # `configure` says what it could not use
            register_attributes({key: shape})


def _by_start(spans: list[CapturedSpan]) -> list[CapturedSpan]:
    return sorted(spans, key=lambda span: span.start_ns)  # stable: else as they ended


def _places_of(record: SpanRecord) -> Iterator[_Place]:
    span = f"of span {record.name!r}"
    yield _Place("name", f"the name {span}", record.name)
    yield _Place("name", f"the scope {span}", " ".join(record.scope))
    yield _Place("header", f"the trace state {span}", record.trace_state)
    yield _Place("attribute", f"the status description {span}", record.status_description)
    yield from _attributes(record.attributes, span)
    for event in record.events:
        yield _Place("name", f"the name of an event {span}", event.name)
        yield from _attributes(event.attributes, f"of event {event.name!r} {span}")
    for link in record.links:
        yield _Place("header", f"the trace state of a link {span}", link.trace_state)
        yield from _attributes(link.attributes, f"of a link {span}")


def _attributes(attributes: Mapping[str, Any], of: str) -> Iterator[_Place]:
    for key, value in attributes.items():
        yield _Place("attribute", f"the key of attribute {key!r} {of}", str(key))
        content = value if isinstance(value, (str, bytes)) else str(value)
        yield _Place("attribute", f"attribute {key!r} {of}", content)


def _report(found: Mapping[_Place, list[str]]) -> str:
    lines = [f"  {text!r} in {place.where}" for place, held in found.items() for text in held]
    more = len(lines) - _MAX_NAMED
    advice = dict.fromkeys(_ADVICE[place.kind] for place in found)
    return "\n".join(
        [
            "content left the process:",
            *lines[:_MAX_NAMED],
            *([f"  and in {more} more places"] if more > 0 else []),
            "what to do:",
            *(f"  {text}" for text in advice),
        ]
    )
