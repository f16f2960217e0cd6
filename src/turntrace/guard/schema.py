"""What may leave: which keys with what kind of value, which names, which scopes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from turntrace import attributes as keys
from turntrace.attributes import KEYS, KINDS, Kind, Vocabulary, keys_of
from turntrace.conversation import is_turn_name
from turntrace.record.span_record import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TEXT_LENGTH = 2048
"""Characters of a text value that leave; statements are the longest that do."""

WITHHELD_NAME = "(name withheld)"
"""Stands for the name of a span, event or scope whose maker we cannot vouch for."""

OWN_SCOPE = "turntrace"
TURN_SCOPE = "turntrace.conversation"

OURS_ALONE = keys.STATEMENTS
"""Keys that only our own instrumentations may set."""

TYPE_NAMES = frozenset({keys.ERROR_TYPE, keys.EXCEPTION_TYPE})
"""Keys whose value is the name of a type, or a status code."""

_TYPES = {
    Kind.TEXT: frozenset({str}),
    Kind.NUMBER: frozenset({int, float}),
    Kind.FLAG: frozenset({bool}),
}

# An operation, and one word it is about.
_NAME = re.compile(
    r"(?:socket\.io (?:connect |emit )?|[a-z_]{1,32} |[A-Z]{1,16} )?[\w*./:,{}()@+-]{1,128}",
    re.ASCII,
)
_TYPE_NAME = re.compile(r"[A-Za-z_][\w.<>]{0,255}|\d{3}", re.ASCII)
_SCOPE_NAME = re.compile(r"[A-Za-z_][\w.-]{0,127}", re.ASCII)
_SCOPE_VERSION = re.compile(r"[\w.+!-]{0,64}", re.ASCII)
_SCHEMA_URL = re.compile(r"https://opentelemetry\.io/schemas/[\d.]{1,16}", re.ASCII)


class Schema:
    """The allow-list as the guard asks it; immutable once built, so shared without a lock."""

    __slots__ = ("event_names", "kinds", "resource_keys", "types")

    def __init__(
        self, *, vocabulary: Vocabulary = Vocabulary.BOTH, resource_keys: Iterable[str] = ()
    ) -> None:
        allowed = keys_of(vocabulary) - {keys.SAMPLING_REASON}
        self.kinds: dict[str, Kind] = {key: KINDS[key] for key in KEYS if key in allowed}
        """Attribute keys that may leave, each with the kind its value must be of."""
        self.types: dict[str, frozenset[type]] = {
            key: _TYPES[kind]
            for key, kind in self.kinds.items()
            if key not in TYPE_NAMES and key not in OURS_ALONE
        }
        """The same for those without a rule of their own, as the types that need no second look."""
        self.event_names = frozenset({"exception", "agent.recursion_limit_hit"})
        """Names of events that may leave."""
        self.resource_keys = frozenset(
            key.name for key in KEYS.values() if key.layer == "resource"
        ) | frozenset(resource_keys)
        """Keys of the resource that may leave: ours, and those the operator set."""

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

    def is_type_name(self, value: object) -> bool:
        """Tell whether a value can be the name of a type or a status code, and no text."""
        return isinstance(value, str) and _TYPE_NAME.fullmatch(value) is not None

    def scope(self, scope: Scope) -> Scope:
        """Return what may leave of a scope: an identifier, a version, an official schema."""
        return Scope(
            scope.name if _SCOPE_NAME.fullmatch(scope.name) else WITHHELD_NAME,
            scope.version if _SCOPE_VERSION.fullmatch(scope.version) else "",
            scope.schema_url if _SCHEMA_URL.fullmatch(scope.schema_url) else "",
        )
