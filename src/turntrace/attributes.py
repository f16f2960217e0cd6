"""Every attribute key that turntrace writes: one line each, with its meaning, unit and vocabulary.

Both vocabularies stand side by side: the names of the original system and today's OpenTelemetry
semantic conventions. The guard lets these keys out and no others.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Vocabulary(StrEnum):
    """Which names a key belongs to."""

    BOTH = "both"
    SEMCONV = "semconv"
    ORIGINAL = "original"


class Kind(StrEnum):
    """What a key's value is; the guard withholds a value of another kind."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"


TEXT, NUMBER, FLAG = Kind


class Key(NamedTuple):
    """What is known of one attribute key."""

    name: str
    layer: str
    vocabulary: Vocabulary
    meaning: str
    kind: Kind


KEYS: dict[str, Key] = {}
"""Every key by its name, in the order of this file."""


class _Layer:
    """Declares the keys of one layer."""

    def __init__(self, name: str) -> None:
        self._name = name

    def both(self, name: str, meaning: str, kind: Kind = TEXT) -> str:
        """Declare a key that both vocabularies have."""
        return self._declare(name, Vocabulary.BOTH, meaning, kind)

    def semconv(self, name: str, meaning: str, kind: Kind = TEXT) -> str:
        """Declare a key of today's semantic conventions."""
        return self._declare(name, Vocabulary.SEMCONV, meaning, kind)

    def original(self, name: str, meaning: str, kind: Kind = TEXT) -> str:
        """Declare a key of the original system."""
        return self._declare(name, Vocabulary.ORIGINAL, meaning, kind)

    def _declare(self, name: str, vocabulary: Vocabulary, meaning: str, kind: Kind) -> str:
        KEYS[name] = Key(name, self._name, vocabulary, meaning, kind)
        return name


_resource = _Layer("resource")
SERVICE_NAME = _resource.both("service.name", "the service")
SERVICE_NAMESPACE = _resource.both("service.namespace", "the group of services it belongs to")
SERVICE_VERSION = _resource.both("service.version", "its version")
SERVICE_INSTANCE_ID = _resource.both("service.instance.id", "this process, a random UUID")
DEPLOYMENT_ENVIRONMENT = _resource.original(
    "deployment.environment", "development, staging, production"
)
DEPLOYMENT_ENVIRONMENT_NAME = _resource.semconv(
    "deployment.environment.name", "the same, today's name"
)
TELEMETRY_SDK_NAME = _resource.both("telemetry.sdk.name", "turntrace")
TELEMETRY_SDK_LANGUAGE = _resource.both("telemetry.sdk.language", "python")
TELEMETRY_SDK_VERSION = _resource.both("telemetry.sdk.version", "turntrace's version")

_universal = _Layer("universal")
REQUEST_ID = _universal.both("request.id", "the request id, accepted from X-Request-ID or made")
SESSION_ID = _universal.both("session.id", "the conversation")
USER_ID = _universal.both("user.id", "the user")
ROOM_ID = _universal.both("room.id", "the room the conversation is about")
TURN_PHASE = _universal.both(
    "turntrace.phase", "where in the app's own workflow the conversation stands"
)
RENOVATION_PHASE = _universal.original("renovation.phase", "the same, the original's name")
ERROR_TYPE = _universal.both(
    "error.type", "qualified exception type, or the status code that was an error"
)
SAMPLING_REASON = _universal.both(
    "turntrace.sampling.reason", "on a local root: why the trace was kept"
)

_turn = _Layer("turn")
TURN_OUTCOME = _turn.both(
    "turntrace.turn.outcome", "ok, error, cancelled, client_disconnected, ..."
)
TURN_ITERATIONS = _turn.both("turntrace.turn.iterations", "passes of the agent's loop", NUMBER)
TURN_MODEL_CALLS = _turn.both("turntrace.turn.model_calls", "model calls", NUMBER)
TURN_TOOL_CALLS = _turn.both("turntrace.turn.tool_calls", "tools run", NUMBER)
TURN_INPUT_TOKENS = _turn.both(
    "turntrace.turn.input_tokens", "prompt tokens of all model calls", NUMBER
)
TURN_OUTPUT_TOKENS = _turn.both(
    "turntrace.turn.output_tokens", "completion tokens, reasoning included", NUMBER
)
TURN_COST_USD = _turn.both(
    "turntrace.turn.cost_usd", "estimated US dollars of all model calls", NUMBER
)
TURN_FIRST_TOKEN_MS = _turn.both(
    "turntrace.turn.first_token_ms", "ms from the root's start to the first token emitted", NUMBER
)
TURN_TOKENS_EMITTED = _turn.both(
    "turntrace.turn.tokens_emitted", "token events sent to the client", NUMBER
)
TURN_DB_MS = _turn.both("turntrace.turn.db_ms", "ms spent in database statements, summed", NUMBER)
TURN_DB_STATEMENTS = _turn.both("turntrace.turn.db_statements", "database statements", NUMBER)

_http = _Layer("http")
HTTP_METHOD = _http.original("http.method", "request method, upper case")
HTTP_ROUTE = _http.both("http.route", "the route's template, never the path")
HTTP_STATUS_CODE = _http.original("http.status_code", "response status", NUMBER)
HTTP_REQUEST_BODY_SIZE_ORIGINAL = _http.original(
    "http.request.body_size", "bytes, from Content-Length", NUMBER
)
HTTP_RESPONSE_BODY_SIZE_ORIGINAL = _http.original("http.response.body_size", "bytes sent", NUMBER)
HTTP_REQUEST_METHOD = _http.semconv(
    "http.request.method", "request method, _OTHER if not a known one"
)
HTTP_RESPONSE_STATUS_CODE = _http.semconv("http.response.status_code", "response status", NUMBER)
HTTP_REQUEST_BODY_SIZE = _http.semconv(
    "http.request.body.size", "bytes, from Content-Length", NUMBER
)
HTTP_RESPONSE_BODY_SIZE = _http.semconv("http.response.body.size", "bytes sent", NUMBER)
URL_SCHEME = _http.semconv("url.scheme", "http or https")
SERVER_ADDRESS = _http.semconv("server.address", "host that was called (client spans, databases)")
SERVER_PORT = _http.semconv("server.port", "its port", NUMBER)

_socketio = _Layer("socket.io")
MESSAGING_SYSTEM = _socketio.both("messaging.system", "socket.io")
MESSAGING_OPERATION = _socketio.original(
    "messaging.operation", "connection, disconnect, receive, emit"
)
MESSAGING_OPERATION_NAME = _socketio.semconv("messaging.operation.name", "process or emit")
MESSAGING_OPERATION_TYPE = _socketio.semconv("messaging.operation.type", "process or send")
MESSAGING_DESTINATION_NAME = _socketio.semconv("messaging.destination.name", "the namespace")
MESSAGING_MESSAGE_BODY_SIZE = _socketio.semconv(
    "messaging.message.body.size", "bytes of the packet", NUMBER
)
SOCKET_ID = _socketio.original("socket.id", "the Socket.IO sid")
SOCKET_EVENT = _socketio.original(
    "socket.event", "name of the event, only if the app registered it"
)
SOCKET_TRANSPORT = _socketio.original("socket.transport", "websocket or polling")
SOCKET_CONTENT_LENGTH = _socketio.original("socket.content_length", "bytes of the packet", NUMBER)
SOCKET_DISCONNECT_REASON = _socketio.original(
    "socket.disconnect_reason", "why the connection ended"
)
SOCKET_ROOM = _socketio.original("socket.room", "the room that was joined or written to")
SOCKET_RATE_LIMIT_REMAINING = _socketio.original(
    "socket.rate_limit.remaining", "events the socket may still send for now", NUMBER
)

_ai = _Layer("ai")
AI_SYSTEM = _ai.original("ai.system", "gemini, openai, ...")
AI_MODEL = _ai.original("ai.model", "the model asked for")
AI_TEMPERATURE = _ai.original("ai.temperature", "0 to 2", NUMBER)
AI_PROMPT_PHASE = _ai.original("ai.prompt.phase", "the phase whose prompt was used")
AI_PROMPT_HISTORY_SIZE = _ai.original(
    "ai.prompt.history_size", "messages sent to the model", NUMBER
)
AI_USAGE_PROMPT_TOKENS = _ai.original("ai.usage.prompt_tokens", "prompt tokens", NUMBER)
AI_USAGE_COMPLETION_TOKENS = _ai.original("ai.usage.completion_tokens", "completion tokens", NUMBER)
AI_USAGE_TOTAL_TOKENS = _ai.original("ai.usage.total_tokens", "both", NUMBER)
AI_COST_ESTIMATED_USD = _ai.original("ai.cost.estimated_usd", "estimated US dollars", NUMBER)
AI_STREAM_FIRST_TOKEN_MS = _ai.original(
    "ai.stream.first_token_ms", "ms to the first text chunk", NUMBER
)
AI_STREAM_TOTAL_MS = _ai.original("ai.stream.total_ms", "ms of the whole stream", NUMBER)
AI_TOOL_NAME = _ai.original("ai.tool.name", "the tool")
AI_TOOL_CALLS_COUNT = _ai.original("ai.tool.calls_count", "tool calls the agent made", NUMBER)
AI_REACT_LOOP_ITERATIONS = _ai.original(
    "ai.react_loop.iterations", "passes of the agent's loop", NUMBER
)
GEN_AI_OPERATION_NAME = _ai.semconv("gen_ai.operation.name", "chat, invoke_agent, execute_tool")
GEN_AI_PROVIDER_NAME = _ai.semconv("gen_ai.provider.name", "gcp.gemini, openai, ...")
GEN_AI_CONVERSATION_ID = _ai.semconv("gen_ai.conversation.id", "the session, on AI spans")
GEN_AI_REQUEST_MODEL = _ai.semconv("gen_ai.request.model", "the model asked for")
GEN_AI_REQUEST_TEMPERATURE = _ai.semconv("gen_ai.request.temperature", "0 to 2", NUMBER)
GEN_AI_REQUEST_TOP_P = _ai.semconv("gen_ai.request.top_p", "0 to 1", NUMBER)
GEN_AI_REQUEST_TOP_K = _ai.semconv("gen_ai.request.top_k", "count", NUMBER)
GEN_AI_REQUEST_MAX_TOKENS = _ai.semconv("gen_ai.request.max_tokens", "tokens", NUMBER)
GEN_AI_REQUEST_STREAM = _ai.semconv(
    "gen_ai.request.stream", "whether the answer was streamed", FLAG
)
GEN_AI_RESPONSE_MODEL = _ai.semconv("gen_ai.response.model", "the model that answered")
GEN_AI_RESPONSE_FINISH_REASONS = _ai.semconv("gen_ai.response.finish_reasons", "why it stopped")
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = _ai.semconv(
    "gen_ai.response.time_to_first_chunk", "seconds to the first chunk of any kind", NUMBER
)
GEN_AI_USAGE_INPUT_TOKENS = _ai.semconv(
    "gen_ai.usage.input_tokens", "prompt tokens, cached included", NUMBER
)
GEN_AI_USAGE_OUTPUT_TOKENS = _ai.semconv("gen_ai.usage.output_tokens", "reasoning included", NUMBER)
GEN_AI_USAGE_CACHE_READ = _ai.semconv(
    "gen_ai.usage.cache_read.input_tokens", "from a cache", NUMBER
)
GEN_AI_USAGE_REASONING = _ai.semconv(
    "gen_ai.usage.reasoning.output_tokens", "thought, not said", NUMBER
)
GEN_AI_AGENT_NAME = _ai.semconv("gen_ai.agent.name", "the agent's graph")
GEN_AI_TOOL_NAME = _ai.semconv("gen_ai.tool.name", "the tool")
GEN_AI_TOOL_TYPE = _ai.semconv("gen_ai.tool.type", "function")
GEN_AI_TOOL_CALL_ID = _ai.semconv("gen_ai.tool.call.id", "the id the model gave the call")

_database = _Layer("database")
DB_SYSTEM = _database.original("db.system", "sqlite, postgresql, ...")
DB_STATEMENT = _database.original("db.statement", "statement with placeholders, never a value")
DB_OPERATION = _database.original("db.operation", "SELECT, INSERT, ...")
DB_SQL_TABLE = _database.original("db.sql.table", "first table")
DB_QUERY_DURATION_MS = _database.original("db.query.duration_ms", "ms in the driver", NUMBER)
DB_SYSTEM_NAME = _database.semconv("db.system.name", "sqlite, postgresql, ...")
DB_QUERY_TEXT = _database.semconv("db.query.text", "statement with placeholders, never a value")
DB_QUERY_SUMMARY = _database.semconv("db.query.summary", "operation and first table")
DB_OPERATION_NAME = _database.semconv("db.operation.name", "SELECT, INSERT, ...")
DB_COLLECTION_NAME = _database.semconv("db.collection.name", "first table")
DB_NAMESPACE = _database.semconv("db.namespace", "database name")

_security = _Layer("security, validation")
SECURITY_PROMPT_INJECTION = _security.original(
    "security.prompt_injection", "whether the message looked like an attempt", FLAG
)
SECURITY_PROMPT_INJECTION_RISK = _security.original(
    "security.prompt_injection.risk", "how much so: none, low, medium, high"
)
SECURITY_CONTENT_SANITIZED = _security.original(
    "security.content_sanitized", "whether something was taken out of the message", FLAG
)
VALIDATION_PASSED = _security.original(
    "validation.passed", "whether the payload was what it should be", FLAG
)
VALIDATION_ERROR_COUNT = _security.original(
    "validation.error_count", "fields of the payload that were not", NUMBER
)
RATE_LIMIT_EXCEEDED = _security.original(
    "rate_limit.exceeded", "whether the request or event was refused for coming too often", FLAG
)
RATE_LIMIT_TOKENS_REMAINING = _security.original(
    "rate_limit.tokens_remaining", "requests or events that may still come for now", NUMBER
)

_exception = _Layer("exception")
EXCEPTION_TYPE = _exception.both("exception.type", "qualified exception type")
EXCEPTION_ESCAPED = _exception.both("exception.escaped", "whether it left the span", FLAG)

STATEMENTS = frozenset({DB_STATEMENT, DB_QUERY_TEXT})
"""Keys that only our own database hooks may write: others put literals into them."""

HTTP_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
"""The values of ``http.request.method``; another method is ``_OTHER``."""

RISKS = ("none", "low", "medium", "high")
"""The values of ``security.prompt_injection.risk``."""
HARMLESS_RISKS = RISKS[:2]
"""Those of a message that is no attempt."""

SOCKETIO_SYSTEM = "socket.io"
"""The value of ``messaging.system``."""


KINDS = {key.name: key.kind for key in KEYS.values()}
"""The kind of every key's value."""


def keys_of(vocabulary: Vocabulary) -> frozenset[str]:
    """Return the names that may leave under ``vocabulary``."""
    return frozenset(
        key.name
        for key in KEYS.values()
        if Vocabulary.BOTH in (vocabulary, key.vocabulary) or key.vocabulary == vocabulary
    )
