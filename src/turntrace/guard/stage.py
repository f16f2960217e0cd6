"""The guard: turns an ended span into a record that holds nothing but what may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.trace import SpanKind, StatusCode

from turntrace import registry
from turntrace.attributes import (
    CALLED,
    DB_SYSTEM,
    DB_SYSTEM_NAME,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    KEYS,
    SAMPLING_REASON,
    STATEMENTS,
    WITHHELD_KEYS,
)
from turntrace.failsafe import swallowed
from turntrace.guard.bare_record import bare_record
from turntrace.guard.exceptions import is_safe_stack
from turntrace.guard.plan import Plan
from turntrace.guard.schema import WITHHELD_NAME, Schema
from turntrace.guard.withheld import Withheld
from turntrace.record.span_record import (
    AttributeValue,
    EventRecord,
    LinkRecord,
    Scope,
    SpanRecord,
)
from turntrace.shapes import is_plain
from turntrace.statements import without_literals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Link

    from turntrace.call_sites import Origin
    from turntrace.record.event import Event
    from turntrace.record.local_trace import LocalTrace
    from turntrace.record.span import Span
    from turntrace.shapes import Shape

IS_LOCAL: Final = 0x100
"""OTLP's bits beside the W3C flags: it is known whether the span is remote, and it is not."""
IS_REMOTE: Final = 0x300
"""The same, and it is."""

MAX_JUDGED: Final = 10_000
"""Names and scopes whose judgement is remembered, of 128 characters at most."""
MAX_PLANS: Final = 2_000
"""Sets of keys whose plan is remembered, of 64 keys of 64 characters at most; of more, those
from then on."""
MAX_REMEMBERED_CHARACTERS: Final = 4_000_000
"""Characters of texts that passed, in all plans; of more, those from then on."""

REASON: Final = KEYS[SAMPLING_REASON].shape
_MAX_NAME_LENGTH: Final = 128
_MAX_KEYS = _MAX_KEY_LENGTH = 64
_MAX_MEMBER_LENGTH: Final = 256
_SERVER: Final = 1
_NO_ORIGINS: Final[Mapping[object, Origin]] = {}


class _JudgedScope(NamedTuple):
    """What the guard thinks of a scope; asked once for each."""

    asked: Scope
    leaves: Scope
    names: dict[str, bool]


class _Rest(NamedTuple):
    """What most spans do not have."""

    events: tuple[EventRecord, ...] = ()
    links: tuple[LinkRecord, ...] = ()
    status_code: int = 0
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0


_NO_REST: Final = _Rest()


class GuardStage:
    """Stands before everything that touches a disk or a socket."""

    def __init__(self, schema: Schema, following: Callable[[SpanRecord], None]) -> None:
        self._schema = schema
        self._following = following
        self._scopes: dict[int, _JudgedScope] = {}
        self._judged = 0
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._server_plans: dict[tuple[object, ...], Plan] = {}
        self._remembered = 0
        self._era = object()
        """Stands for this guard and what is registered: what was judged before counts no more."""
        self._reasons: dict[str, str] = {}
        self._report = Withheld()
        registry.on_change(self.forget)

    @property
    def withheld(self) -> dict[str, int]:
        """How often each key was withheld."""
        return self._report.counts

    def forget(self) -> None:
        """Judge everything anew: the app registered attributes, or too much is remembered."""
        self._plans, self._server_plans = {}, {}
        self._remembered = 0
        self._era = object()

    def on_end(self, span: Span) -> None:
        """Guard an ended span and pass the record on; one that cannot be judged leaves bare."""
        try:
            record = self.record(span)
        except Exception as error:  # noqa: BLE001 - others write to what a span holds
            swallowed("the guard", error)
            record = bare_record(span, self._judge_scope(span.scope).leaves)
        self._following(record)

    def record(self, span: Span) -> SpanRecord:
        """Return what may leave of ``span``. Copies first: the span may still be written to.

        Hot path, see ``benchmarks/guard.py``: the fast half of ``filtered`` is repeated here.
        """
        local_trace = span.local_trace
        scope = self._scopes.get(id(span.scope)) or self._judge_scope(span.scope)
        given = span.kind
        kind = given._value_ if type(given) is SpanKind else 0  # .value is a property in Python
        attributes: dict[Any, Any] = dict(span._attributes)  # noqa: SLF001 - the property copies twice
        plan = (self._server_plans if kind == _SERVER else self._plans).get((*attributes,))
        dropped = 0
        if plan is None or plan.others or not plan.passes(attributes):
            attributes, dropped = self.filtered(attributes, span.origins, is_server=kind == _SERVER)
        if local_trace.bound:
            bound, withheld = self._bound(local_trace)
            own_keys: Any = attributes.get(WITHHELD_KEYS)
            attributes = {**bound, **attributes}
            if own_keys:
                bound_keys: Any = bound.get(WITHHELD_KEYS, ())
                attributes[WITHHELD_KEYS] = tuple(sorted({*bound_keys, *own_keys}))
            dropped += withheld
        if span is local_trace.root:
            reason = local_trace.verdict.reason
            reason = self._reasons.get(reason) or self._reason(reason)
            if reason:
                attributes[SAMPLING_REASON] = reason
        name = span.name
        rest = _NO_REST
        if span.__dict__:  # what most spans never have: see the span
            rest = self._rest(span, attributes)
        events, links, status_code, lost, lost_events, lost_links = rest
        if name is not span.constant_name and (span.is_renamed or name not in scope.names):
            name = self._name(span, scope, name, attributes)
        parent_id = span.parent_id
        parent = span.parent_context
        return SpanRecord(
            span.trace_id.to_bytes(16, "big"),
            span.span_id.to_bytes(8, "big"),
            parent_id.to_bytes(8, "big") if parent_id else b"",
            parent is not None and parent.is_remote,
            local_trace.flags,
            "",  # a stranger writes the trace state; what we send of it is the propagator's to say
            name,
            kind,
            span.start_time,
            span.end_time or span.start_time,
            attributes,
            events,
            links,
            status_code,
            "",
            dropped + lost,
            lost_events,
            lost_links,
            scope.leaves,
        )

    def _rest(self, span: Span, attributes: dict[str, AttributeValue]) -> _Rest:
        """Guard what most spans do not have; takes out what a failed one must not say."""
        dropped = span.dropped_attributes
        if span.status_code is StatusCode.ERROR:
            # What a database refused may be no SQL at all, but text pasted into it.
            for key in STATEMENTS:
                dropped += attributes.pop(key, None) is not None
        events = span._events  # noqa: SLF001 - the property copies
        links = span._links  # noqa: SLF001 - the property copies
        return _Rest(
            tuple([self._event(event) for event in list(events)]) if events else (),
            tuple([self._link(link, span) for link in list(links)]) if links else (),
            span.status_code._value_,
            dropped,
            span.dropped_events,
            span.dropped_links,
        )

    def filtered(
        self,
        attributes: Mapping[Any, Any],
        origins: Mapping[Any, Origin] | None = None,
        *,
        is_server: bool = False,
    ) -> tuple[dict[str, AttributeValue], int]:
        """Return the attributes that may leave, and how many may not.

        Args:
            attributes: What was set; not changed.
            origins: Where those come from that nobody declared.
            is_server: Whether they are those of a server's span.
        """
        kept: dict[Any, Any] = dict(attributes)
        origins = origins or _NO_ORIGINS
        plan = self._plan(kept, origins, is_server=is_server)
        others: dict[Any, Any] = {key: kept.pop(key) for key in plan.others}
        if not plan.passes(kept):
            declared, kept = kept, self._cleaned(kept)
            if kept == declared:
                self._remembered += plan.remember(kept)
                if self._remembered > MAX_REMEMBERED_CHARACTERS:
                    self.forget()
        dropped = len(attributes) - len(kept) - len(others)
        texts: list[str] = []
        for key, value in others.items():
            if not self._keep_other(kept, key, value, origins.get(key)):
                dropped += 1
                if f"{key}.length" in kept:
                    texts.append(key)
        if texts:
            kept[WITHHELD_KEYS] = tuple(sorted(texts))
        return kept, dropped

    def _cleaned(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return the values of declared keys that fit their shapes."""
        kept = {}
        for key, value in attributes.items():
            shape = self._schema.shape_of(key)
            if shape is None:
                continue
            if key in STATEMENTS:
                system = attributes.get(DB_SYSTEM_NAME) or attributes.get(DB_SYSTEM)
                cleaned: Any = _statement(value, system)
            elif key == EXCEPTION_STACKTRACE:
                cleaned = value if isinstance(value, str) and is_safe_stack(value) else None
            else:
                cleaned = shape.clean(value)
            if cleaned is None:
                self._report.count(key)
                self._report.value(key, shape)
            else:
                kept[key] = cleaned
        return kept

    def _keep_other(
        self, kept: dict[Any, Any], key: Any, value: object, origin: Origin | None
    ) -> bool:
        """Keep what may leave under a key that nobody declared; tell whether all of it may."""
        if key in self._schema.silent:
            return False
        if origin is None or not origin.is_constant or key.__class__ is not str:
            self._report.count(key)
            self._report.key(origin)
            return False
        # Another value may have been set since, and it may have been somebody's text.
        if origin.member is not None and value == origin.member:
            kept[key] = origin.member[:_MAX_MEMBER_LENGTH]
            return True
        if is_plain(value):
            kept[key] = value
            return True
        shape: Shape | None = registry.family(key)
        cleaned = None if shape is None else shape.clean(value)
        if cleaned is not None:
            kept[key] = cleaned
            return True
        self._report.count(key)
        if shape is not None:
            self._report.value(key, shape)
        elif isinstance(value, (str, bytes, tuple)):
            kept[f"{key}.length"] = len(value)
            self._report.text(key, origin)
        else:
            self._report.kind(key, origin)
        return False

    def _bound(self, local_trace: LocalTrace) -> tuple[dict[str, AttributeValue], int]:
        """Return what may leave of the attributes of a whole trace, judged once for each state."""
        bound = local_trace.bound
        of, by, kept, dropped = local_trace.guarded_bound
        if of is not bound or by is not self._era:
            kept, dropped = self.filtered(bound, local_trace.origins)
            local_trace.guarded_bound = (bound, self._era, kept, dropped)
        return kept, dropped

    def _plan(
        self, attributes: Mapping[object, object], origins: Mapping[Any, Origin], *, is_server: bool
    ) -> Plan:
        plans = self._server_plans if is_server else self._plans
        names = (*attributes,)
        plan = plans.get(names)
        if plan is None:
            plan = Plan(names, self._schema, is_server=is_server)
            is_small = len(names) <= _MAX_KEYS and all(
                isinstance(name, str) and len(name) <= _MAX_KEY_LENGTH for name in names
            )
            # Keys that somebody typed would push out all others.
            if is_small and all(
                name in CALLED or (name in origins and origins[name].is_constant)
                for name in plan.others
            ):
                if len(plans) >= MAX_PLANS:
                    plans.clear()
                plans[names] = plan
        return plan

    def _judge_scope(self, scope: Scope) -> _JudgedScope:
        judged = _JudgedScope(scope, self._schema.scope(scope), {})
        if len(self._scopes) < MAX_JUDGED:
            self._scopes[id(scope)] = judged  # it holds the scope, so the id stays its own
        return judged

    def _name(
        self, span: Span, judged: _JudgedScope, name: object, kept: dict[str, AttributeValue]
    ) -> str:
        """Return a span's name if it may leave: ours, a constant, or told by what leaves."""
        if not span.is_renamed and self._schema.has_own_name(span.scope, name):
            text = str(name)
            # Only names that leave are remembered: they are few, and those of strangers are not.
            if self._judged < MAX_JUDGED and len(text) <= _MAX_NAME_LENGTH:
                self._judged += 1
                judged.names[text] = True
            return text
        if self._schema.is_told_by(name, kept.values()):
            return str(name)
        self._report.name(span.name_origin, "span")
        return WITHHELD_NAME

    def _reason(self, reason: object) -> str:
        """Return why a trace was kept if that is a word, as a rule of the app may say it."""
        word = REASON.clean(reason)
        if not isinstance(word, str):
            self._report.count(SAMPLING_REASON)
            self._report.value(SAMPLING_REASON, REASON)
            return ""
        if len(self._reasons) < MAX_JUDGED:
            self._reasons[word] = word
        return word

    def _event(self, event: Event) -> EventRecord:
        attributes, dropped = self.filtered(event.attributes, event.origins)
        if event.message is not None:
            attributes[EXCEPTION_MESSAGE] = str(event.message)
        name = event.name if event.is_named_by_constant else WITHHELD_NAME
        return EventRecord(name, event.timestamp, attributes, dropped + event.dropped_attributes)

    def _link(self, link: Link, span: Span) -> LinkRecord:
        context = link.context
        attributes, dropped = self.filtered(dict(link.attributes or {}), span.link_origins)
        return LinkRecord(
            context.trace_id.to_bytes(16, "big"),
            context.span_id.to_bytes(8, "big"),
            "",
            (int(context.trace_flags) & 0xFF) | (IS_REMOTE if context.is_remote else IS_LOCAL),
            attributes,
            dropped,
        )


def _statement(value: object, system: object) -> str | None:
    """Return a statement without its literals, None if that cannot be done for certain."""
    if not isinstance(value, str) or not isinstance(system, str):
        return None
    return without_literals(value, system)
