"""One trace per chat turn: HTTP, Socket.IO, AI, database.

Example:
    >>> import turntrace
    >>> telemetry = turntrace.configure(service_name="my-backend")  # doctest: +SKIP
    >>> turntrace.instrument()  # doctest: +SKIP
    ('asgi', 'socketio', 'langgraph', 'sqlalchemy', 'httpx', 'aiohttp', 'logging')
"""

from turntrace import rules
from turntrace.ai import (
    AiStream,
    TokenUsage,
    estimate_cost,
    extract_token_usage,
    record_token_usage,
    start_ai_stream_span,
    trace_ai_call,
)
from turntrace.conversation import (
    add_join_attributes,
    add_message_attributes,
    add_rate_limit_attributes,
    add_security_attributes,
    bind,
    turn,
)
from turntrace.errors import ConfigurationError, MissingLibraryError, TurntraceError
from turntrace.export.ledger import Health
from turntrace.guard.exceptions import register_content_free
from turntrace.instrument import instrument, uninstrument
from turntrace.logs import (
    TraceContextFilter,
    get_trace_context,
    trace_context_patcher,
    trace_context_processor,
    trace_logging,
)
from turntrace.pipeline import Telemetry, configure
from turntrace.registry import register_attributes
from turntrace.sample.rules import SamplingPolicy
from turntrace.socket_events import trace_connection, trace_disconnect, trace_socket_event

__all__ = [
    "AiStream",
    "ConfigurationError",
    "Health",
    "MissingLibraryError",
    "SamplingPolicy",
    "Telemetry",
    "TokenUsage",
    "TraceContextFilter",
    "TurntraceError",
    "add_join_attributes",
    "add_message_attributes",
    "add_rate_limit_attributes",
    "add_security_attributes",
    "bind",
    "configure",
    "estimate_cost",
    "extract_token_usage",
    "get_trace_context",
    "instrument",
    "record_token_usage",
    "register_attributes",
    "register_content_free",
    "rules",
    "start_ai_stream_span",
    "trace_ai_call",
    "trace_connection",
    "trace_context_patcher",
    "trace_context_processor",
    "trace_disconnect",
    "trace_logging",
    "trace_socket_event",
    "turn",
    "uninstrument",
]
