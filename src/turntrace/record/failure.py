"""What a span says of an error: its type and that it failed, never its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from turntrace.attributes import ERROR_TYPE
from turntrace.record.span import Span
from turntrace.type_names import qualified_type

if TYPE_CHECKING:
    from opentelemetry.trace import Span as ApiSpan


def has_failed(span: ApiSpan) -> bool:
    """Tell whether somebody has given ``span`` an error status."""
    status = getattr(span, "status", None)
    return status is not None and status.status_code is trace.StatusCode.ERROR


def failed(span: ApiSpan, error: BaseException) -> None:
    """Mark ``span`` as failed by ``error``: its type, never its text."""
    if isinstance(span, Span):
        span.failed(error)
        return
    span.set_attribute(ERROR_TYPE, qualified_type(error))
    span.set_status(trace.StatusCode.ERROR)
