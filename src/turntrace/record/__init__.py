"""The OpenTelemetry API, implemented lean: provider, tracer, span and the local trace."""

from turntrace.record.local_trace import LocalTrace, Verdict, current_local_trace
from turntrace.record.provider import Resource, TracerProvider
from turntrace.record.span import Span
from turntrace.record.span_record import EventRecord, LinkRecord, Scope, SpanRecord
from turntrace.record.tracer import Tracer

__all__ = [
    "EventRecord",
    "LinkRecord",
    "LocalTrace",
    "Resource",
    "Scope",
    "Span",
    "SpanRecord",
    "Tracer",
    "TracerProvider",
    "Verdict",
    "current_local_trace",
]
