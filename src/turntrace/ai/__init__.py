"""Model calls by hand: their spans, tokens, money; the hooks are built on the same pieces."""

from turntrace.ai.prices import estimate_cost
from turntrace.ai.scopes import AiStream, record_token_usage, start_ai_stream_span, trace_ai_call
from turntrace.ai.usage import TokenUsage, extract_token_usage

__all__ = [
    "AiStream",
    "TokenUsage",
    "estimate_cost",
    "extract_token_usage",
    "record_token_usage",
    "start_ai_stream_span",
    "trace_ai_call",
]
