"""What httpx and aiohttp share: one outgoing request as a span, with its context sent along."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from turntrace import attributes as keys
from turntrace.failsafe import Guarded
from turntrace.outgoing import HostPatterns, inject
from turntrace.record.context import SPAN_KEY, attach, detach, get_current, with_span
from turntrace.record.failure import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping
    from types import TracebackType

SCOPE = "turntrace.http_client"

_CLIENT_ERROR = 400
_SUPPRESSED = (
    otel_context._SUPPRESS_INSTRUMENTATION_KEY,  # noqa: SLF001 - the convention among instrumentations
    otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # noqa: SLF001 - the same
)

_denied = HostPatterns(())
_sent: ContextVar[dict[str, str] | None] = ContextVar("turntrace-sent-headers", default=None)
"""What the last call of this task or thread was given; noted only while hosts are denied."""


def deny_hosts(patterns: Iterable[str]) -> None:
    """Send no trace context to these hosts, in place of those denied before; their spans stay.

    Args:
        patterns: Host names, ``*.example.com`` for every host below one, or addresses; letter
            case and ports make no difference.

    Raises:
        ConfigurationError: One of them is no host; nothing has changed then.

    Example:
        >>> deny_hosts(["api.example.com", "*.example.net"])
        >>> deny_hosts([])
    """
    global _denied  # noqa: PLW0603 - the hooks are per process, so is this
    _denied = HostPatterns(patterns)


def take_back(host: str | None, headers: MutableMapping[str, str]) -> None:
    """Remove from a redirect's headers what was sent to the host before, if this one is denied."""
    if not _denied:
        return
    with Guarded("taking trace context out of a redirect"):
        sent = _sent.get()
        if sent and _denied.match(host):
            for key, value in sent.items():
                if headers.get(key) == value:
                    del headers[key]


class Call:
    """An outgoing request; use as a context manager around it."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span, token: Any) -> None:
        self._span = span
        self._token = token

    @classmethod
    def start(
        cls,
        method: str,
        host: str | None,
        port: int | None,
        set_header: Callable[[str, str], None],
    ) -> Call | None:
        """Start the span and write the context into the headers, unless the host is denied.

        Returns None where nothing is traced: outside any trace (a health check's own polling
        would be a trace each), or where another instrumentation asked for silence.
        """
        with Guarded("the start of an outgoing HTTP span"):
            current = get_current()
            if SPAN_KEY not in current or any(current.get(key) for key in _SUPPRESSED):
                return None
            known = method if method in keys.HTTP_METHODS else "_OTHER"
            values: dict[str, Any] = {keys.HTTP_REQUEST_METHOD: known, keys.HTTP_METHOD: known}
            if host:
                values[keys.SERVER_ADDRESS] = host
            if port:
                values[keys.SERVER_PORT] = port
            span = trace.get_tracer(SCOPE).start_span(
                f"{known if known != '_OTHER' else 'HTTP'} {host or ''}".strip(),
                current,
                SpanKind.CLIENT,
                values,
            )
            context = with_span(span, current)
            if not _denied:
                _send_along(context, set_header)
            elif not _denied.match(host):
                _sent.set(_send_along(context, set_header))
            return cls(span, attach(context))
        return None

    def __enter__(self) -> Self:
        """Do nothing; the span runs already."""
        return self

    def answered(self, status: int) -> None:
        """Note the response's status."""
        with Guarded("the status of an outgoing HTTP span"):
            self._span.set_attributes(
                {keys.HTTP_RESPONSE_STATUS_CODE: status, keys.HTTP_STATUS_CODE: status}
            )
            if status >= _CLIENT_ERROR:
                self._span.set_attribute(keys.ERROR_TYPE, str(status))
                self._span.set_status(StatusCode.ERROR)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End the span; an exception makes it an error."""
        with Guarded("the end of an outgoing HTTP span"):
            detach(self._token)
            if isinstance(error, Exception):
                failed(self._span, error)
            self._span.end()


def _send_along(
    context: otel_context.Context, set_header: Callable[[str, str], None]
) -> dict[str, str]:
    """Write the context into the headers and return what was written."""
    carrier: dict[str, str] = {}
    inject(carrier, context)
    for key, value in carrier.items():
        set_header(key, value)
    return carrier
