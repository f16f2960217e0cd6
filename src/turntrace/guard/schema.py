"""What may leave: which keys in which shapes, which names, which scopes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from turntrace import attributes as keys
from turntrace import registry
from turntrace.attributes import GUARDS_OWN, KEYS, Vocabulary, keys_of
from turntrace.conversation import is_turn_name
from turntrace.record.span_record import Scope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from turntrace.shapes import Shape

WITHHELD_NAME = "(name withheld)"
"""Stands for the name of a span, event or scope whose maker we cannot vouch for."""

OWN_SCOPE = "turntrace"
TURN_SCOPE = "turntrace.conversation"

NEVER_RESOURCE = frozenset({"process.command", "process.command_args", "process.command_line"})
"""Resource attributes that hold whatever stood on the command line."""

# An operation, and one word it is about.
_NAME = re.compile(
    r"(?:socket\.io (?:connect |emit )?|[a-z_]{1,32} |[A-Z]{1,16} )?[\w*./:,{}()@+-]{1,128}",
    re.ASCII,
)
_MAX_TOLD = 512
_OPERATION = re.compile(r"[A-Z]{2,16}|[a-z][a-z_]{2,31}", re.ASCII)
_SCOPE_NAME = re.compile(r"[A-Za-z_][\w.-]{0,127}", re.ASCII)
# A number, and what release stage or commit it is: no word of somebody's own.
_SCOPE_VERSION = re.compile(
    r"(?=.{1,64}\Z)v?\d{1,8}(?:\.\d{1,8}){0,4}"
    r"(?:[-.+_]?(?:alpha|beta|dev|final|post|pre|rc|snapshot|a|b|c|g?[0-9a-f]{7,40})\.?\d{0,8}){0,4}",
    re.ASCII | re.IGNORECASE,
)
_SCHEMA_URL = re.compile(r"https://opentelemetry\.io/schemas/[\d.]{1,16}", re.ASCII)

_REDIS_COMMANDS = (
    *("GET", "SET", "SETEX", "SETNX", "MGET", "MSET", "DEL", "UNLINK", "EXISTS", "EXPIRE", "TTL"),
    *("INCR", "INCRBY", "DECR", "HGET", "HSET", "HDEL", "HGETALL", "HMGET", "HINCRBY", "KEYS"),
    *("LPUSH", "RPUSH", "LPOP", "RPOP", "BLPOP", "LRANGE", "LLEN", "SADD", "SREM", "SMEMBERS"),
    *("ZADD", "ZREM", "ZRANGE", "ZRANGEBYSCORE", "PUBLISH", "SUBSCRIBE", "XADD", "XREAD"),
    *("XREADGROUP", "XACK", "EVAL", "EVALSHA", "SCAN", "PING", "MULTI", "EXEC", "PIPELINE"),
)

_OPERATIONS = frozenset(
    {
        *keys.HTTP_METHODS,
        *("HTTP", "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "WITH", "PRAGMA"),
        *("CREATE", "ALTER", "DROP", "TRUNCATE", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT"),
        *("RELEASE", "connect"),
        *_REDIS_COMMANDS,
        *("chat", "text_completion", "generate_content", "embeddings", "retrieval"),
        *("execute_tool", "invoke_agent", "create_agent", "invoke_workflow"),
    }
)
"""First words of names that other instrumentations give by the semantic conventions."""


class Schema:
    """The allow-list as the guard asks it; what an app registers later belongs to it too."""

    __slots__ = ("_resource_keys", "shapes", "silent")

    def __init__(
        self, *, vocabulary: Vocabulary = Vocabulary.BOTH, resource_keys: Iterable[str] = ()
    ) -> None:
        allowed = keys_of(vocabulary)
        spans = {key for key, known in KEYS.items() if known.layer != "resource"} - GUARDS_OWN
        self.shapes: dict[str, Shape] = {key: KEYS[key].shape for key in spans & allowed}
        """Attribute keys of ours that may leave, each with the shape of its values."""
        self.silent = frozenset(KEYS) - frozenset(self.shapes)
        """Keys that are left out without a word: of the other vocabulary, or the guard's own."""
        self._resource_keys = (
            frozenset(key.name for key in KEYS.values() if key.layer == "resource")
            | frozenset(resource_keys)
        ) - NEVER_RESOURCE

    def shape_of(self, key: Any) -> Shape | None:
        """Return the shape of a key of ours or of the app, None if nobody declared it."""
        if key.__class__ is not str:
            return None
        return self.shapes.get(key) or registry.registered(key)

    def has_resource_key(self, key: str) -> bool:
        """Tell whether a resource attribute may leave: ours, and what the operator set."""
        return key in self._resource_keys

    def is_own(self, scope: Scope) -> bool:
        """Tell whether a span was made by one of our own instrumentations."""
        return scope.name == OWN_SCOPE or scope.name.startswith(f"{OWN_SCOPE}.")

    def has_own_name(self, scope: Scope, name: object) -> bool:
        """Tell whether a span's name may leave: made by us, short, and of plain characters."""
        if not isinstance(name, str) or not self.is_own(scope):
            return False
        if scope.name == TURN_SCOPE:
            return is_turn_name(name)
        return _NAME.fullmatch(name) is not None

    def is_told_by(self, name: Any, values: Collection[object]) -> bool:
        """Tell whether a name says nothing beyond an operation and one of these values.

        That is how the semantic conventions name spans: ``GET``, ``chat gemini-2.5-flash``,
        ``SELECT main``; the values are those that leave with the span anyway.
        """
        if type(name) is not str or len(name) > _MAX_TOLD:
            return False
        first, _, rest = name.partition(" ")
        if first in _OPERATIONS:
            return not rest or rest in values
        return name in values and _OPERATION.fullmatch(first) is not None

    def scope(self, scope: Scope) -> Scope:
        """Return what may leave of a scope: an identifier, a version, an official schema."""
        return Scope(
            scope.name if _SCOPE_NAME.fullmatch(scope.name) else WITHHELD_NAME,
            scope.version if _SCOPE_VERSION.fullmatch(scope.version) else "",
            scope.schema_url if _SCHEMA_URL.fullmatch(scope.schema_url) else "",
        )
