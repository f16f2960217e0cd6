"""Every attribute key that turntrace writes or lets through: one table, one line each.

Both vocabularies stand side by side: the names of the original system and today's OpenTelemetry
semantic conventions. The guard lets these keys out, each in its shape, and no others but those
that an app registers. ``docs/reference/attributes.md`` is written from here.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from turntrace import shapes
from turntrace.shapes import OneOf, Shape


class Vocabulary(StrEnum):
    """Which names a key belongs to."""

    BOTH = "both"
    SEMCONV = "semconv"
    ORIGINAL = "original"


class Key(NamedTuple):
    """What is known of one attribute key."""

    name: str
    layer: str
    vocabulary: Vocabulary
    shape: Shape
    """What its values may look like; the guard withholds all else."""
    meaning: str
    """With the unit, where the shape does not say it."""
    where: str
    """Which part of turntrace sets it; "app" is the app itself or another instrumentation."""


KEYS: dict[str, Key] = {}
"""Every key by its name, in the order of this file."""

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
TRANSPORTS = frozenset({"websocket", "polling", "webtransport"})
"""The values of ``socket.transport``."""
DISCONNECT_REASONS = frozenset(
    {
        "client disconnect",
        "server disconnect",
        "ping timeout",
        "transport close",
        "transport error",
        "unknown",
    }
)
"""The values of ``socket.disconnect_reason``: python-socketio's own and those of the protocol."""
OUTCOMES = ("ok", "error", "cancelled", "client_disconnected", "interrupted", "crashed")
"""The values of ``turntrace.turn.outcome``."""

_METHOD = OneOf("method", {*HTTP_METHODS, "_OTHER", "HTTP"})
_SCHEME = OneOf("scheme", {"http", "https", "ws", "wss"})
_RISK = OneOf("risk", RISKS)
_TRANSPORT = OneOf("transport", TRANSPORTS)
_REASON = OneOf("disconnect reason", DISCONNECT_REASONS)
_OUTCOME = OneOf("outcome", OUTCOMES)
_NETWORK = OneOf("network transport", {"tcp", "udp", "unix", "pipe", "quic"})
_JOB_STATUS = OneOf("job status", ("queued", "started", "succeeded", "failed", "retried"))


class _Layer:
    """Declares the keys of one layer."""

    def __init__(self, name: str) -> None:
        self._name = name

    def both(self, name: str, shape: Shape, meaning: str, where: str = "app") -> str:
        """Declare a key that both vocabularies have."""
        return self._declare(name, Vocabulary.BOTH, shape, meaning, where)

    def semconv(self, name: str, shape: Shape, meaning: str, where: str = "app") -> str:
        """Declare a key of today's semantic conventions."""
        return self._declare(name, Vocabulary.SEMCONV, shape, meaning, where)

    def original(self, name: str, shape: Shape, meaning: str, where: str = "app") -> str:
        """Declare a key of the original system."""
        return self._declare(name, Vocabulary.ORIGINAL, shape, meaning, where)

    def _declare(
        self, name: str, vocabulary: Vocabulary, shape: Shape, meaning: str, where: str
    ) -> str:
        KEYS[name] = Key(name, self._name, vocabulary, shape, meaning, where)
        return name


# fmt: off
# ruff: noqa: E501 - a table is read by its columns

_resource = _Layer("resource")
SERVICE_NAME = _resource.both("service.name", shapes.OPERATOR, "the service", "pipeline")
SERVICE_NAMESPACE = _resource.both("service.namespace", shapes.OPERATOR, "the group of services it belongs to")
SERVICE_VERSION = _resource.both("service.version", shapes.OPERATOR, "its version")
SERVICE_INSTANCE_ID = _resource.both("service.instance.id", shapes.OPERATOR, "this process, a random UUID", "pipeline")
DEPLOYMENT_ENVIRONMENT = _resource.original("deployment.environment", shapes.OPERATOR, "development, staging, production", "pipeline")
DEPLOYMENT_ENVIRONMENT_NAME = _resource.semconv("deployment.environment.name", shapes.OPERATOR, "the same, today's name", "pipeline")
TELEMETRY_SDK_NAME = _resource.both("telemetry.sdk.name", shapes.OPERATOR, "turntrace", "pipeline")
TELEMETRY_SDK_LANGUAGE = _resource.both("telemetry.sdk.language", shapes.OPERATOR, "python", "pipeline")
TELEMETRY_SDK_VERSION = _resource.both("telemetry.sdk.version", shapes.OPERATOR, "turntrace's version", "pipeline")

_universal = _Layer("universal")
REQUEST_ID = _universal.both("request.id", shapes.ID, "the request id, accepted from X-Request-ID or made", "conversation")
SESSION_ID = _universal.both("session.id", shapes.ID, "the conversation", "conversation")
USER_ID = _universal.both("user.id", shapes.ID, "the user", "conversation")
ROOM_ID = _universal.both("room.id", shapes.ID, "the room the conversation is about", "conversation")
TURN_PHASE = _universal.both("turntrace.phase", shapes.WORD, "where in the app's own workflow the conversation stands", "conversation")
RENOVATION_PHASE = _universal.original("renovation.phase", shapes.WORD, "the same, the original's name")
ERROR_TYPE = _universal.both("error.type", shapes.TYPE, "qualified exception type, or the status code that was an error", "asgi, http_client, record")
SAMPLING_REASON = _universal.both("turntrace.sampling.reason", shapes.WORD, "on a local root: why the trace was kept", "guard")

_turn = _Layer("turn")
TURN_OUTCOME = _turn.both("turntrace.turn.outcome", _OUTCOME, "ok, error, cancelled, client_disconnected, ...", "record")
TURN_ITERATIONS = _turn.both("turntrace.turn.iterations", shapes.COUNT, "passes of the agent's loop", "record")
TURN_MODEL_CALLS = _turn.both("turntrace.turn.model_calls", shapes.COUNT, "model calls", "record")
TURN_TOOL_CALLS = _turn.both("turntrace.turn.tool_calls", shapes.COUNT, "tools run", "record")
TURN_INPUT_TOKENS = _turn.both("turntrace.turn.input_tokens", shapes.TOKENS, "prompt tokens of all model calls", "record")
TURN_OUTPUT_TOKENS = _turn.both("turntrace.turn.output_tokens", shapes.TOKENS, "completion tokens, reasoning included", "record")
TURN_COST_USD = _turn.both("turntrace.turn.cost_usd", shapes.DOLLARS, "estimated US dollars of all model calls", "record")
TURN_FIRST_TOKEN_MS = _turn.both("turntrace.turn.first_token_ms", shapes.MILLISECONDS, "ms from the root's start to the first token emitted", "record")
TURN_TOKENS_EMITTED = _turn.both("turntrace.turn.tokens_emitted", shapes.TOKENS, "token events sent to the client", "record")
TURN_DB_MS = _turn.both("turntrace.turn.db_ms", shapes.MILLISECONDS, "ms spent in database statements, summed", "record")
TURN_DB_STATEMENTS = _turn.both("turntrace.turn.db_statements", shapes.COUNT, "database statements", "record")

_http = _Layer("http")
HTTP_METHOD = _http.original("http.method", _METHOD, "request method, upper case", "asgi, http_client")
HTTP_ROUTE = _http.both("http.route", shapes.ROUTE, "the route's template, never the path", "asgi")
HTTP_STATUS_CODE = _http.original("http.status_code", shapes.STATUS, "response status", "asgi, http_client")
HTTP_REQUEST_BODY_SIZE_ORIGINAL = _http.original("http.request.body_size", shapes.BYTES, "bytes, from Content-Length", "asgi")
HTTP_RESPONSE_BODY_SIZE_ORIGINAL = _http.original("http.response.body_size", shapes.BYTES, "bytes sent", "asgi")
HTTP_REQUEST_METHOD = _http.semconv("http.request.method", _METHOD, "request method, _OTHER if not a known one", "asgi, http_client")
HTTP_RESPONSE_STATUS_CODE = _http.semconv("http.response.status_code", shapes.STATUS, "response status", "asgi, http_client")
HTTP_REQUEST_BODY_SIZE = _http.semconv("http.request.body.size", shapes.BYTES, "bytes, from Content-Length", "asgi")
HTTP_RESPONSE_BODY_SIZE = _http.semconv("http.response.body.size", shapes.BYTES, "bytes sent", "asgi")
URL_SCHEME = _http.semconv("url.scheme", _SCHEME, "http or https", "asgi")
SERVER_ADDRESS = _http.semconv("server.address", shapes.HOST, "host that was called (client spans, databases)", "http_client, sqlalchemy")
SERVER_PORT = _http.semconv("server.port", shapes.PORT, "its port", "http_client, sqlalchemy")
NETWORK_PEER_ADDRESS = _http.semconv("network.peer.address", shapes.HOST, "address that was connected to")
NETWORK_PEER_PORT = _http.semconv("network.peer.port", shapes.PORT, "its port")
NETWORK_PROTOCOL_VERSION = _http.semconv("network.protocol.version", shapes.VERSION, "1.1, 2, ...")
NETWORK_TRANSPORT = _http.semconv("network.transport", _NETWORK, "what carries the connection")
NET_PEER_NAME = _http.semconv("net.peer.name", shapes.HOST, "server.address, its older name")
NET_PEER_PORT = _http.semconv("net.peer.port", shapes.PORT, "server.port, its older name")

_socketio = _Layer("socket.io")
MESSAGING_SYSTEM = _socketio.both("messaging.system", shapes.WORD, "socket.io", "socketio")
MESSAGING_OPERATION = _socketio.original("messaging.operation", shapes.WORD, "connection, disconnect, receive, emit", "socketio")
MESSAGING_OPERATION_NAME = _socketio.semconv("messaging.operation.name", shapes.WORD, "process or emit", "socketio")
MESSAGING_OPERATION_TYPE = _socketio.semconv("messaging.operation.type", shapes.WORD, "process or send", "socketio")
MESSAGING_DESTINATION_NAME = _socketio.semconv("messaging.destination.name", shapes.NAME, "the namespace", "socketio")
MESSAGING_MESSAGE_BODY_SIZE = _socketio.semconv("messaging.message.body.size", shapes.BYTES, "bytes of the packet", "socketio")
SOCKET_ID = _socketio.original("socket.id", shapes.ID, "the Socket.IO sid", "socketio")
SOCKET_EVENT = _socketio.original("socket.event", shapes.NAME, "name of the event, only if the app registered it", "socketio")
SOCKET_TRANSPORT = _socketio.original("socket.transport", _TRANSPORT, "websocket or polling", "socketio")
SOCKET_CONTENT_LENGTH = _socketio.original("socket.content_length", shapes.BYTES, "bytes of the packet", "conversation, socketio")
SOCKET_DISCONNECT_REASON = _socketio.original("socket.disconnect_reason", _REASON, "why the connection ended", "socketio")
SOCKET_ROOM = _socketio.original("socket.room", shapes.ID, "the room that was joined or written to", "conversation")
SOCKET_RATE_LIMIT_REMAINING = _socketio.original("socket.rate_limit.remaining", shapes.COUNT, "events the socket may still send for now", "conversation")

_ai = _Layer("ai")
AI_SYSTEM = _ai.original("ai.system", shapes.WORD, "gemini, openai, ...", "ai")
AI_MODEL = _ai.original("ai.model", shapes.MODEL, "the model asked for", "ai")
AI_TEMPERATURE = _ai.original("ai.temperature", shapes.TEMPERATURE, "0 to 2", "ai, langgraph")
AI_PROMPT_PHASE = _ai.original("ai.prompt.phase", shapes.WORD, "the phase whose prompt was used", "ai")
AI_PROMPT_HISTORY_SIZE = _ai.original("ai.prompt.history_size", shapes.COUNT, "messages sent to the model", "ai, langgraph")
AI_USAGE_PROMPT_TOKENS = _ai.original("ai.usage.prompt_tokens", shapes.TOKENS, "prompt tokens", "ai")
AI_USAGE_COMPLETION_TOKENS = _ai.original("ai.usage.completion_tokens", shapes.TOKENS, "completion tokens", "ai")
AI_USAGE_TOTAL_TOKENS = _ai.original("ai.usage.total_tokens", shapes.TOKENS, "both", "ai")
AI_COST_ESTIMATED_USD = _ai.original("ai.cost.estimated_usd", shapes.DOLLARS, "estimated US dollars", "ai")
AI_STREAM_FIRST_TOKEN_MS = _ai.original("ai.stream.first_token_ms", shapes.MILLISECONDS, "ms to the first text chunk", "ai")
AI_STREAM_TOTAL_MS = _ai.original("ai.stream.total_ms", shapes.MILLISECONDS, "ms of the whole stream", "ai")
AI_TOOL_NAME = _ai.original("ai.tool.name", shapes.NAME, "the tool", "langgraph")
AI_TOOL_CALLS_COUNT = _ai.original("ai.tool.calls_count", shapes.COUNT, "tool calls the agent made", "langgraph")
AI_REACT_LOOP_ITERATIONS = _ai.original("ai.react_loop.iterations", shapes.COUNT, "passes of the agent's loop", "langgraph")
GEN_AI_OPERATION_NAME = _ai.semconv("gen_ai.operation.name", shapes.WORD, "chat, invoke_agent, execute_tool", "ai, langgraph")
GEN_AI_PROVIDER_NAME = _ai.semconv("gen_ai.provider.name", shapes.WORD, "gcp.gemini, openai, ...", "ai")
GEN_AI_CONVERSATION_ID = _ai.semconv("gen_ai.conversation.id", shapes.ID, "the session, on AI spans", "ai")
GEN_AI_REQUEST_MODEL = _ai.semconv("gen_ai.request.model", shapes.MODEL, "the model asked for", "ai")
GEN_AI_REQUEST_TEMPERATURE = _ai.semconv("gen_ai.request.temperature", shapes.TEMPERATURE, "0 to 2", "ai, langgraph")
GEN_AI_REQUEST_TOP_P = _ai.semconv("gen_ai.request.top_p", shapes.SHARE, "0 to 1", "ai, langgraph")
GEN_AI_REQUEST_TOP_K = _ai.semconv("gen_ai.request.top_k", shapes.COUNT, "count", "langgraph")
GEN_AI_REQUEST_MAX_TOKENS = _ai.semconv("gen_ai.request.max_tokens", shapes.TOKENS, "tokens", "ai, langgraph")
GEN_AI_REQUEST_STREAM = _ai.semconv("gen_ai.request.stream", shapes.FLAG, "whether the answer was streamed", "ai")
GEN_AI_RESPONSE_MODEL = _ai.semconv("gen_ai.response.model", shapes.MODEL, "the model that answered", "langgraph")
GEN_AI_RESPONSE_FINISH_REASONS = _ai.semconv("gen_ai.response.finish_reasons", shapes.WORDS, "why it stopped", "langgraph")
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = _ai.semconv("gen_ai.response.time_to_first_chunk", shapes.SECONDS, "seconds to the first chunk of any kind", "ai")
GEN_AI_USAGE_INPUT_TOKENS = _ai.semconv("gen_ai.usage.input_tokens", shapes.TOKENS, "prompt tokens, cached included", "ai")
GEN_AI_USAGE_OUTPUT_TOKENS = _ai.semconv("gen_ai.usage.output_tokens", shapes.TOKENS, "reasoning included", "ai")
GEN_AI_USAGE_CACHE_READ = _ai.semconv("gen_ai.usage.cache_read.input_tokens", shapes.TOKENS, "from a cache", "ai")
GEN_AI_USAGE_REASONING = _ai.semconv("gen_ai.usage.reasoning.output_tokens", shapes.TOKENS, "thought, not said", "ai")
GEN_AI_AGENT_NAME = _ai.semconv("gen_ai.agent.name", shapes.NAME, "the agent's graph", "langgraph")
GEN_AI_TOOL_NAME = _ai.semconv("gen_ai.tool.name", shapes.NAME, "the tool", "langgraph")
GEN_AI_TOOL_TYPE = _ai.semconv("gen_ai.tool.type", shapes.WORD, "function", "langgraph")
GEN_AI_TOOL_CALL_ID = _ai.semconv("gen_ai.tool.call.id", shapes.ID, "the id the model gave the call", "langgraph")
GEN_AI_AGENT_ID = _ai.semconv("gen_ai.agent.id", shapes.ID, "the agent")
GEN_AI_WORKFLOW_NAME = _ai.semconv("gen_ai.workflow.name", shapes.NAME, "the workflow it is part of")

_database = _Layer("database")
DB_SYSTEM = _database.original("db.system", shapes.WORD, "sqlite, postgresql, ...", "sqlalchemy")
DB_STATEMENT = _database.original("db.statement", shapes.STATEMENT, "statement with placeholders, never a value", "sqlalchemy")
DB_OPERATION = _database.original("db.operation", shapes.WORD, "SELECT, INSERT, ...", "sqlalchemy")
DB_SQL_TABLE = _database.original("db.sql.table", shapes.NAME, "first table", "sqlalchemy")
DB_QUERY_DURATION_MS = _database.original("db.query.duration_ms", shapes.MILLISECONDS, "ms in the driver", "sqlalchemy")
DB_SYSTEM_NAME = _database.semconv("db.system.name", shapes.WORD, "sqlite, postgresql, ...", "sqlalchemy")
DB_QUERY_TEXT = _database.semconv("db.query.text", shapes.STATEMENT, "statement with placeholders, never a value", "sqlalchemy")
DB_QUERY_SUMMARY = _database.semconv("db.query.summary", shapes.SUMMARY, "operation and first table", "sqlalchemy")
DB_OPERATION_NAME = _database.semconv("db.operation.name", shapes.WORD, "SELECT, INSERT, ...", "sqlalchemy")
DB_COLLECTION_NAME = _database.semconv("db.collection.name", shapes.NAME, "first table", "sqlalchemy")
DB_NAMESPACE = _database.semconv("db.namespace", shapes.NAME, "database name", "sqlalchemy")
DB_NAME = _database.semconv("db.name", shapes.NAME, "db.namespace, its older name")
DB_REDIS_DATABASE_INDEX = _database.semconv("db.redis.database_index", shapes.COUNT, "number of the Redis database")

_security = _Layer("security, validation")
SECURITY_PROMPT_INJECTION = _security.original("security.prompt_injection", shapes.FLAG, "whether the message looked like an attempt", "conversation")
SECURITY_PROMPT_INJECTION_RISK = _security.original("security.prompt_injection.risk", _RISK, "how much so: none, low, medium, high", "conversation")
SECURITY_CONTENT_SANITIZED = _security.original("security.content_sanitized", shapes.FLAG, "whether something was taken out of the message", "conversation")
VALIDATION_PASSED = _security.original("validation.passed", shapes.FLAG, "whether the payload was what it should be", "conversation")
VALIDATION_ERROR_COUNT = _security.original("validation.error_count", shapes.COUNT, "fields of the payload that were not", "conversation")
RATE_LIMIT_EXCEEDED = _security.original("rate_limit.exceeded", shapes.FLAG, "whether the request or event was refused for coming too often", "conversation")
RATE_LIMIT_TOKENS_REMAINING = _security.original("rate_limit.tokens_remaining", shapes.COUNT, "requests or events that may still come for now", "conversation")

_jobs = _Layer("jobs")
JOB_QUEUE = _jobs.original("job.queue", shapes.NAME, "the queue")
JOB_ID = _jobs.original("job.id", shapes.ID, "the job")
JOB_ATTEMPT = _jobs.original("job.attempt", shapes.COUNT, "how often it has been tried, from 1")
JOB_STATUS = _jobs.original("job.status", _JOB_STATUS, "what became of it")
JOB_DURATION_MS = _jobs.original("job.duration_ms", shapes.MILLISECONDS, "ms it ran")
JOB_PAYLOAD_SESSION_ID = _jobs.original("job.payload.session_id", shapes.ID, "the conversation it is for")
JOB_PAYLOAD_ASSET_ID = _jobs.original("job.payload.asset_id", shapes.ID, "the file or picture it is for")

_cache = _Layer("cache")
CACHE_HIT = _cache.original("cache.hit", shapes.FLAG, "whether it was there")
CACHE_KEY = _cache.original("cache.key", shapes.NAME, "the key's pattern, with `*` for ids, never the key itself")
CACHE_TTL_SECONDS = _cache.original("cache.ttl_seconds", shapes.SECONDS, "how long it stays")

_exception = _Layer("exception")
EXCEPTION_TYPE = _exception.both("exception.type", shapes.TYPE, "qualified exception type", "guard, record")
EXCEPTION_ESCAPED = _exception.both("exception.escaped", shapes.FLAG, "whether it left the span", "record")
EXCEPTION_STACKTRACE = _exception.both("exception.stacktrace", shapes.STACK, "types, files, lines and functions of the app, chained and grouped; no text", "guard")
EXCEPTION_MESSAGE = _exception.both("exception.message", shapes.OPERATOR, "only of types registered as content-free, see TURNTRACE_EXCEPTION_MESSAGES", "guard")

_withheld = _Layer("guard")
WITHHELD_KEYS = _withheld.both("turntrace.withheld.keys", shapes.KEYS_ONLY, "the app's own keys whose text was withheld: register them to see it", "guard")
# fmt: on

STATEMENTS = frozenset({DB_STATEMENT, DB_QUERY_TEXT})
"""Keys whose value is SQL, which loses its literals."""
GUARDS_OWN = frozenset({SAMPLING_REASON, EXCEPTION_MESSAGE, WITHHELD_KEYS})
"""Keys that only the guard writes; what others write there is withheld."""
CALLED = frozenset(
    {
        SERVER_ADDRESS,
        SERVER_PORT,
        NETWORK_PEER_ADDRESS,
        NETWORK_PEER_PORT,
        NET_PEER_NAME,
        NET_PEER_PORT,
    }
)
"""Keys that say whom a client called; on a server's span they would be the client's ``Host``."""

NEVER = {
    "gen_ai.input.messages": "what was said to the model",
    "gen_ai.output.messages": "what it said",
    "gen_ai.system_instructions": "the prompt of the app",
    "gen_ai.tool.definitions": "what the model was told of the tools",
    "gen_ai.tool.call.arguments": "written by the model, out of what was said",
    "gen_ai.tool.call.result": "what a tool found",
    "url.full, url.path, url.query, http.url, http.target": "paths and queries hold what was typed",
    "user_agent.original, http.user_agent": "written by the client",
    "http.request.header.*, http.response.header.*": "credentials, cookies, and text",
    "http.request.body, http.response.body": "content",
    "db.query.parameter.*, db.statement.parameters": "values",
    "exception.message": "but of types that the app vouches for, where the operator allows it",
    "process.command, process.command_args, process.command_line": "also not as resource attribute",
}
"""Keys whose text does not leave, and why; a star stands for any one word."""

_NEVER = re.compile(
    "|".join(
        re.escape(key.strip()).replace(r"\*", ".+") for keys in NEVER for key in keys.split(",")
    )
)


def holds_content(key: str) -> bool:
    """Tell whether a key is one of ``NEVER``: no app can register it."""
    return _NEVER.fullmatch(key) is not None


def keys_of(vocabulary: Vocabulary) -> frozenset[str]:
    """Return the names that may leave under ``vocabulary``."""
    return frozenset(
        key.name
        for key in KEYS.values()
        if Vocabulary.BOTH in (vocabulary, key.vocabulary) or key.vocabulary == vocabulary
    )
