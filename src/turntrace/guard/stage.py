"""The guard: turns an ended span into a record that holds nothing but what may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from turntrace.attributes import SAMPLING_REASON, Kind
from turntrace.guard.schema import (
    MAX_TEXT_LENGTH,
    OURS_ALONE,
    TYPE_NAMES,
    WITHHELD_NAME,
    Schema,
)
from turntrace.record.span_record import (
    AttributeValue,
    EventRecord,
    LinkRecord,
    Scope,
    SpanRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Link

    from turntrace.record.span import Event, Span

IS_LOCAL = 0x100
"""OTLP's bits beside the W3C flags: it is known whether the span is remote, and it is not."""
IS_REMOTE = 0x300
"""The same, and it is."""

MAX_WITHHELD_KEYS = 1_000
"""Keys whose withheld values are counted by name, each cut to 64 characters."""
MAX_JUDGED = 10_000
"""Names and scopes whose judgement is remembered, of 128 characters at most."""

_MAX_KEY_LENGTH = 64
_MAX_NAME_LENGTH = 128
_MAX_ITEMS = 64
_NONE: frozenset[type] = frozenset()


class _JudgedScope(NamedTuple):
    """What the guard thinks of a scope; asked once for each."""

    leaves: Scope
    is_own: bool
    names: dict[str, bool]


class GuardStage:
    """Stands before everything that touches a disk or a socket."""

    def __init__(self, schema: Schema, following: Callable[[SpanRecord], None]) -> None:
        self._schema = schema
        self._kinds = schema.kinds
        self._types = schema.types
        self._following = following
        self._scopes: dict[Scope, _JudgedScope] = {}
        self._judged = 0
        self.withheld: dict[str, int] = {}
        """How often each key was withheld."""

    def on_end(self, span: Span) -> None:
        """Guard an ended span and pass the record on."""
        self._following(self.record(span))

    def record(self, span: Span) -> SpanRecord:
        """Return what may leave of ``span``. Copies first: the span may still be written to."""
        local_trace = span.local_trace
        scope = self._scopes.get(span.scope) or self._judge_scope(span.scope)
        attributes, dropped = self.filtered(
            {**local_trace.bound, **span._attributes},  # noqa: SLF001 - the property copies twice
            is_own=scope.is_own,
        )
        if span is local_trace.root:
            attributes[SAMPLING_REASON] = local_trace.verdict.reason
        name = span.name
        is_known = not span.is_renamed and (
            scope.names.get(name) or self._judge_name(scope, span.scope, name)
        )
        parent = span.parent_context
        events = span._events  # noqa: SLF001 - the property copies
        links = span._links  # noqa: SLF001 - the property copies
        return SpanRecord(
            span.trace_id.to_bytes(16, "big"),
            span.span_id.to_bytes(8, "big"),
            span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
            parent is not None and parent.is_remote,
            local_trace.flags,
            "",  # a stranger writes the trace state: what of it may leave is decided key by key
            name if is_known else WITHHELD_NAME,
            getattr(span.kind, "_value_", 0),  # .value is a property in Python
            span.start_time,
            span.end_time or span.start_time,
            attributes,
            tuple([self._event(event) for event in list(events)]) if events else (),
            tuple([self._link(link) for link in list(links)]) if links else (),
            span.status_code._value_,
            "",
            span.dropped_attributes + dropped,
            span.dropped_events,
            span.dropped_links,
            scope.leaves,
        )

    def filtered(
        self, attributes: Mapping[str, Any], *, is_own: bool = True
    ) -> tuple[dict[str, AttributeValue], int]:
        """Return the attributes that may leave, and how many may not."""
        types = self._types
        # All at once for values of our own, which are what they should be.
        kept = {
            key: value
            for key, value in attributes.items()
            if (given := value.__class__) in types.get(key, _NONE)
            and (given is not str or len(value) <= MAX_TEXT_LENGTH)
        }
        if len(kept) == len(attributes):
            return kept, 0
        for key, value in attributes.items():
            if key not in kept:
                self._look_twice(kept, key, value, is_own=is_own)
        return kept, len(attributes) - len(kept)

    def _look_twice(
        self, kept: dict[str, AttributeValue], key: str, value: object, *, is_own: bool
    ) -> None:
        """Keep a value under a key with a rule of its own, or one that has to be cleaned first."""
        kind = self._kinds.get(key)
        cleaned: AttributeValue | None = None
        if kind is Kind.NUMBER:
            cleaned = _number(value)
        elif kind is Kind.TEXT and self._may_leave(key, is_own=is_own, value=value):
            cleaned = _text(value)
        if cleaned is None:
            self._count_withheld(key)
        else:
            kept[key] = cleaned

    def _may_leave(self, key: str, *, is_own: bool, value: object) -> bool:
        """Tell whether a text key with a rule of its own may leave with this value."""
        if key in TYPE_NAMES:
            return self._schema.is_type_name(value)
        return is_own or key not in OURS_ALONE

    def _count_withheld(self, key: object) -> None:
        name = key[:_MAX_KEY_LENGTH] if isinstance(key, str) else type(key).__name__
        if name in self.withheld or len(self.withheld) < MAX_WITHHELD_KEYS:
            self.withheld[name] = self.withheld.get(name, 0) + 1

    def _judge_scope(self, scope: Scope) -> _JudgedScope:
        judged = _JudgedScope(self._schema.scope(scope), self._schema.is_own(scope), {})
        if len(self._scopes) < MAX_JUDGED:
            self._scopes[scope] = judged
        return judged

    def _judge_name(self, judged: _JudgedScope, scope: Scope, name: object) -> bool:
        is_known = self._schema.has_own_name(scope, name)
        # Only names that leave are remembered: they are few, and those of strangers are not.
        if is_known and self._judged < MAX_JUDGED and len(str(name)) <= _MAX_NAME_LENGTH:
            self._judged += 1
            judged.names[str(name)] = True
        return is_known

    def _event(self, event: Event) -> EventRecord:
        attributes, dropped = self.filtered(event.attributes, is_own=False)
        name = event.name if event.name in self._schema.event_names else WITHHELD_NAME
        return EventRecord(name, event.timestamp, attributes, dropped + event.dropped_attributes)

    def _link(self, link: Link) -> LinkRecord:
        context = link.context
        attributes, dropped = self.filtered(dict(link.attributes or {}), is_own=False)
        return LinkRecord(
            context.trace_id.to_bytes(16, "big"),
            context.span_id.to_bytes(8, "big"),
            "",
            int(context.trace_flags) | (IS_REMOTE if context.is_remote else IS_LOCAL),
            attributes,
            dropped,
        )


def _number(value: object) -> int | float | None:
    """Return a number of a type of its own (an HTTPStatus, a numpy float) as a plain one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else None


def _text(value: object) -> str | tuple[str, ...] | None:
    """Return a text, or a sequence of texts, of exact type and bounded size; else None."""
    if isinstance(value, str):
        return str.__str__(value)[:MAX_TEXT_LENGTH]
    if isinstance(value, tuple):
        items = [item for item in value[:_MAX_ITEMS] if isinstance(item, str)]
        return tuple([str.__str__(item)[:MAX_TEXT_LENGTH] for item in items])
    return None
