"""What may leave: which keys, which values, which names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from turntrace.attributes import KEYS, Vocabulary, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TEXT_LENGTH = 2048
"""Characters of a text value that leave; statements are the longest that do."""

WITHHELD_NAME = "(name withheld)"
"""Stands for the name of a span or event whose maker we cannot vouch for."""

OWN_SCOPES = "turntrace"
"""Scopes of our own instrumentations begin so; their names are made of constants and templates."""

_NAME = re.compile(r"[\w*][\w .,:/*{}()@+-]{0,127}", re.ASCII)


class Schema:
    """The allow-list as the guard asks it; immutable once built, so shared without a lock."""

    __slots__ = ("event_names", "keys", "resource_keys")

    def __init__(
        self, *, vocabulary: Vocabulary = Vocabulary.BOTH, resource_keys: Iterable[str] = ()
    ) -> None:
        self.keys = keys_of(vocabulary)
        """Attribute keys that may leave."""
        self.event_names = frozenset(
            {"exception", "agent.recursion_limit_hit", "gen_ai.first_chunk", "gen_ai.first_token"}
        )
        """Names of events that may leave."""
        self.resource_keys = frozenset(
            key.name for key in KEYS.values() if key.layer == "resource"
        ) | frozenset(resource_keys)
        """Keys of the resource that may leave: ours, and those the operator set."""

    def has_own_name(self, scope_name: str, name: str) -> bool:
        """Tell whether a span's name may leave: made by us, short, and of plain characters."""
        return scope_name.startswith(OWN_SCOPES) and _NAME.fullmatch(name) is not None
