"""The ids of the current span for every log line: `logging`, structlog and loguru.

Each of them fills in ``trace_id`` (32 hex digits) and ``span_id`` (16), keeps what the app put
there itself, and never drops, delays or rewords a line. Nothing here starts a span, so all of it
works, and says nothing, where telemetry is switched off.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import INVALID_SPAN, Span

from turntrace import attributes as keys
from turntrace.failsafe import Guarded, swallowed
from turntrace.record.context import SPAN_KEY, get_current
from turntrace.record.local_trace import current_local_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

_BOUND_KEYS: Final = {
    "session_id": keys.SESSION_ID,
    "user_id": keys.USER_ID,
    "room_id": keys.ROOM_ID,
    "phase": keys.TURN_PHASE,
    "request_id": keys.REQUEST_ID,
}
"""What ``turntrace.bind`` calls an id, and the attribute it becomes."""


def get_trace_context() -> dict[str, str]:
    """Return the ids of the current span, of whatever provider; nothing where there is none.

    Returns ``{"trace_id": 32 hex digits, "span_id": 16 hex digits}``, or ``{}`` outside a span and
    inside an invalid one. A span that only stands for a remote caller counts. Never raises.

    Example:
        >>> get_trace_context()
        {}
    """
    span = get_current().get(SPAN_KEY)
    if span is None or span is INVALID_SPAN or not isinstance(span, Span):
        return {}
    try:
        context = span.get_span_context()
        if context.is_valid:
            return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    except Exception as error:  # noqa: BLE001 - somebody else's span; Guarded would cost a call more
        swallowed("get_trace_context", error)
    return {}


class TraceContextFilter(logging.Filter):
    """Put the ids of the current span on every record as ``trace_id`` and ``span_id``.

    Add it to a handler, which then sees the records of all loggers, or to a logger for its own
    records only. It lets every record pass. A field that has a value already is left alone. In
    front of a queue it belongs on the ``QueueHandler``: the listener's thread knows no span.

    Args:
        outside: What the fields hold outside a span. The empty string keeps a format like
            ``%(trace_id)s`` working there; ``None`` leaves the fields out, for formatters that
            write every field they find.
        bound: Which ids given to ``turntrace.bind`` become fields, too: ``session_id``,
            ``user_id``, ``room_id``, ``phase``, ``request_id``.

    Raises:
        ValueError: ``bound`` holds another name.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.addFilter(TraceContextFilter(bound=["request_id"]))
        >>> handler.setFormatter(logging.Formatter("%(trace_id)s %(request_id)s %(message)s"))
    """

    def __init__(self, *, outside: str | None = "", bound: Iterable[str] = ()) -> None:
        super().__init__()
        self._bound = (bound,) if isinstance(bound, str) else tuple(bound)
        self._absent = {} if outside is None else {"trace_id": outside, "span_id": outside}
        unknown = sorted(set(self._bound) - set(_BOUND_KEYS))
        if unknown:
            raise ValueError(
                f"TraceContextFilter(bound=...) knows no {', '.join(unknown)};"
                f" it knows {', '.join(_BOUND_KEYS)}"
            )
        if outside is not None:
            self._absent.update(dict.fromkeys(self._bound, outside))

    def filter(self, record: logging.LogRecord) -> bool:
        """Fill the fields in and let the record pass."""
        values = get_trace_context() or self._absent
        if self._bound:
            values = {**self._absent, **values, **_bound_ids(self._bound)}
        _fill(record.__dict__, values)
        return True


def trace_logging(*, outside: str | None = "", bound: Iterable[str] = ()) -> Callable[[], None]:
    """Do what ``TraceContextFilter`` does for every logger of the process, with no handler named.

    That covers loggers that do not propagate, handlers that are added later and records that go
    to another thread through a queue. Fields given as ``extra=`` stay as they are.

    Args:
        outside: As in ``TraceContextFilter``.
        bound: As in ``TraceContextFilter``.

    Returns a function that takes it back; calling it twice changes nothing.

    Raises:
        ValueError: ``bound`` holds a name that is not known.

    Example:
        >>> undo = trace_logging()
        >>> undo()
    """
    fill = TraceContextFilter(outside=outside, bound=bound).filter
    original = logging.Logger.handle
    is_on = True

    # Not a record factory: `logging` refuses an `extra=` whose field the factory has made.
    @functools.wraps(original)
    def handle(logger: logging.Logger, record: logging.LogRecord) -> None:
        if is_on:
            fill(record)
        original(logger, record)

    def undo() -> None:
        nonlocal is_on
        is_on = False
        if logging.Logger.handle is handle:
            logging.Logger.handle = original  # type: ignore[method-assign] # it was there before

    logging.Logger.handle = handle  # type: ignore[assignment,method-assign] # the point
    return undo


def trace_context_processor(
    logger: Any,  # noqa: ARG001 - structlog's signature
    method_name: str,  # noqa: ARG001 - structlog's signature
    event_dict: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """Add the ids of the current span to a structlog event; outside a span add nothing.

    A processor: put it anywhere before the renderer. Keys that have a value already stay.

    Example:
        >>> trace_context_processor(None, "info", {"event": "ready"})
        {'event': 'ready'}
    """
    _fill(event_dict, get_trace_context())
    return event_dict


def trace_context_patcher(record: MutableMapping[str, Any]) -> None:
    """Add the ids of the current span to a loguru record's ``extra``; outside a span add nothing.

    For ``logger.configure(patcher=...)`` or ``logger.patch(...)``. What ``bind`` or
    ``contextualize`` has put there stays. A format that names ``{extra[trace_id]}`` needs
    ``logger.configure(extra={"trace_id": "", "span_id": ""})`` for lines outside a span.

    Example:
        >>> record = {"message": "ready", "extra": {"room": 1}}
        >>> trace_context_patcher(record)
        >>> record["extra"]
        {'room': 1}
    """
    _fill(record["extra"], get_trace_context())


def _fill(fields: MutableMapping[str, Any], values: dict[str, str]) -> None:
    """Set what is not there yet; an empty text is a place that somebody kept for us."""
    with Guarded("the ids of a log record"):
        for name, value in values.items():
            if name in fields:
                kept = fields[name]
                if kept is not None and (type(kept) is not str or kept):
                    continue
            fields[name] = value


def _bound_ids(names: tuple[str, ...]) -> dict[str, str]:
    with Guarded("the bound ids of a log record"):
        local_trace = current_local_trace()
        if local_trace is not None:
            bound = local_trace.bound
            found = {name: bound.get(_BOUND_KEYS[name]) for name in names}
            return {name: str(value) for name, value in found.items() if value is not None}
    return {}
