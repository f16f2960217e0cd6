"""What httpx and aiohttp share: one outgoing request as a span, with its context sent along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind, StatusCode

from turntrace import attributes as keys
from turntrace.failsafe import Guarded
from turntrace.record.context import SPAN_KEY, attach, detach, get_current, with_span
from turntrace.record.failure import failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

SCOPE = "turntrace.http_client"

_CLIENT_ERROR = 400
_SUPPRESSED = (
    otel_context._SUPPRESS_INSTRUMENTATION_KEY,  # noqa: SLF001 - the convention among instrumentations
    otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # noqa: SLF001 - the same
)


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
        """Start the span and write the context into the headers.

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
            carrier: dict[str, str] = {}
            # Baggage may hold what a user typed and the host may be a stranger: it stays here.
            propagate.inject(carrier, baggage.clear(context))
            for key, value in carrier.items():
                set_header(key, value)
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
