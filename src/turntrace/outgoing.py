"""What may go along with an outgoing call: ids, flags and sampling; and to which hosts."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import Setter, default_setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceState

from turntrace.errors import ConfigurationError
from turntrace.failsafe import Guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from opentelemetry.context import Context

SAMPLING_MEMBER = "ot"
"""The trace state member of OpenTelemetry's probability sampling."""

MEMBERS = frozenset({SAMPLING_MEMBER})
"""The trace state members that leave; in every other one a stranger may have written a text."""

_TH, _RV = r"th:[0-9a-f]{1,14}", r"rv:[0-9a-f]{14}"
_SAMPLING_PART = re.compile(f"{_TH}|{_RV}")
_SAMPLING = re.compile(f"{_TH}(?:;{_RV})?|{_RV}(?:;{_TH})?")
_ONLY_SAMPLING = re.compile(f"{SAMPLING_MEMBER}=(?:{_SAMPLING.pattern})")
# What an operator lets through beside it: ids and numbers, no sentence.
_PLAIN = re.compile(r"[\w.:;/+@~-]{1,128}", re.ASCII)

_BAGGAGE_HEADER = re.compile(r"baggage|(?:uberctx|ot-baggage|baggage)-.*|jaeger-baggage", re.DOTALL)
_TRACE_STATE_HEADER = "tracestate"


def safe_trace_state(
    state: TraceState | None, members: frozenset[str] = MEMBERS
) -> TraceState | None:
    """Return what of a trace state may leave; the same object if that is all of it, else a copy.

    Of the ``ot`` member only a well-formed threshold (``th``) and randomness (``rv``) leave, of
    other ``members`` values without spaces of at most 128 characters. None if nothing may leave.

    Example:
        >>> safe_trace_state(TraceState([("ot", "th:8;x:hello"), ("vendor", "hello")])).to_header()
        'ot=th:8'
    """
    if not isinstance(state, TraceState) or not state:
        return None
    if len(state) == 1 and _SAMPLING.fullmatch(state.get(SAMPLING_MEMBER, "")):
        return state if SAMPLING_MEMBER in members else None  # as our own spans have it
    kept = []
    for key, value in state.items():
        if key in members:
            left = _safe_value(key, value)
            if left:
                kept.append((key, left))
    if not kept:
        return None
    return state if kept == list(state.items()) else TraceState(kept)


def _safe_value(key: str, value: str) -> str:
    if key != SAMPLING_MEMBER:
        return value if _PLAIN.fullmatch(value) else ""
    parts: dict[str, str] = {}
    for part in value.split(";"):
        if _SAMPLING_PART.fullmatch(part):
            parts.setdefault(part[:2], part)
    return ";".join(parts.values())


def safe_context(given: Context | None = None, members: frozenset[str] = MEMBERS) -> Context:
    """Return the context (default: the current one) without baggage, its trace state reduced.

    The same object where there is neither. Ids, flags and the parent of the current span stay.
    """
    found = context.get_current() if given is None else given
    if baggage.get_all(found):
        found = baggage.clear(found)
    span = trace.get_current_span(found)
    span_context = span.get_span_context()
    state = span_context.trace_state
    if not state:
        return found
    reduced = safe_trace_state(state, members)
    if reduced is state:
        return found
    parent = getattr(span, "parent", None)
    return trace.set_span_in_context(
        _ReducedSpan(
            _with_state(span_context, reduced),
            _with_state(parent, safe_trace_state(parent.trace_state, members))
            if isinstance(parent, SpanContext)
            else None,
        ),
        found,
    )


def _with_state(of: SpanContext, state: TraceState | None) -> SpanContext:
    return SpanContext(of.trace_id, of.span_id, of.is_remote, of.trace_flags, state)


class _ReducedSpan(NonRecordingSpan):
    """Stands for the current span while it is written into headers."""

    def __init__(self, span_context: SpanContext, parent: SpanContext | None) -> None:
        super().__init__(span_context)
        self.context = span_context
        self.parent = parent
        """B3 and Jaeger send the id of the parent, too."""


class SafeSetter(Setter[Any]):
    """Sets no baggage, and of a trace state what may leave: for propagators with own sources."""

    __slots__ = ("_following", "_members")

    def __init__(
        self, following: Setter[Any] = default_setter, members: frozenset[str] = MEMBERS
    ) -> None:
        self._following = following
        self._members = members

    def set(self, carrier: Any, key: str, value: str) -> None:
        """Set a field unless it carries baggage."""
        name = key.lower()
        if "baggage" in name or name.startswith("uberctx-"):
            if _BAGGAGE_HEADER.fullmatch(name):
                return
        elif name == _TRACE_STATE_HEADER and not self._is_own_state(value):
            state = safe_trace_state(TraceState.from_header([value]), self._members)
            if state is None:
                return
            value = state.to_header()
        self._following.set(carrier, key, value)

    def _is_own_state(self, value: str) -> bool:
        return SAMPLING_MEMBER in self._members and _ONLY_SAMPLING.fullmatch(value) is not None


_SETTER = SafeSetter()


def inject(carrier: MutableMapping[str, str], given: Context) -> None:
    """Write what may leave of a context into ``carrier``, as the app's propagators do; never raise.

    It holds with every tracer provider, also where our own propagator is not installed.
    """
    with Guarded("writing the context of an outgoing call"):
        propagate.inject(carrier, safe_context(given), _SETTER)


class HostPatterns:
    """Host names, or ``*.example.com`` for every host below one; immutable.

    Letter case, ports, a trailing dot, and the brackets of an IPv6 address make no difference.
    A pattern may be a URL: its host counts. ``*`` is every host.

    Raises:
        ConfigurationError: A pattern is none of these.

    Example:
        >>> HostPatterns(["*.example.com"]).match("api.example.com")
        True
    """

    __slots__ = ("_any", "_exact", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        if isinstance(patterns, str):
            patterns = patterns.split(",")
        hosts = [_host_of(pattern) for pattern in patterns]
        self._any = "*" in hosts
        self._exact = frozenset(host for host in hosts if not host.startswith("*"))
        self._suffixes = tuple({host[1:] for host in hosts if host.startswith("*.")})

    def __bool__(self) -> bool:
        """Tell whether there is any pattern."""
        return self._any or bool(self._exact) or bool(self._suffixes)

    def match(self, host: str | None) -> bool:
        """Tell whether a host is one of these."""
        if not self or not host:
            return self._any
        name = _normalised(host)
        return self._any or name in self._exact or name.endswith(self._suffixes)


_HOST_NAME = re.compile(r"\*|(?:\*\.)?[\w-]{1,63}(?:\.[\w-]{1,63}){0,126}", re.ASCII)
_PORT = re.compile(r":\d{0,5}$")


def _host_of(pattern: str) -> str:
    """Return the host of a pattern in its normal form."""
    text = str(pattern).strip()
    text = text.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
    # An IPv6 address without brackets has no port.
    name = _normalised(_PORT.sub("", text) if "]" in text or text.count(":") == 1 else text)
    is_host = ":" in name or _HOST_NAME.fullmatch(name) is not None
    if not is_host or (name == "*" and text != "*"):
        raise ConfigurationError(
            f"{pattern!r} is no host; write a name (api.example.com), every host below one"
            " (*.example.com) or an address (10.0.0.1, ::1)"
        )
    return name


def _normalised(host: str) -> str:
    name = host.strip("[]").lower().removesuffix(".")
    if ":" in name:
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            return ""
    if not name.isascii():
        try:
            return name.encode("idna").decode("ascii")
        except UnicodeError:
            return name
    return name
