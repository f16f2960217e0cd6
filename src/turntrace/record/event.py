"""Something that happened at one moment of a span, and whether its name may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turntrace.call_sites import Origin
    from turntrace.record.span_record import AttributeValue

EVENT_NAMES = frozenset({"exception", "agent.recursion_limit_hit"})
"""Names of events that nobody has to vouch for."""


class Event:
    """Something that happened at one moment of a span."""

    __slots__ = (
        "attributes",
        "dropped_attributes",
        "is_named_by_constant",
        "message",
        "name",
        "origins",
        "timestamp",
    )

    def __init__(
        self, name: str, timestamp: int, attributes: dict[str, AttributeValue], dropped: int
    ) -> None:
        self.name = name
        self.timestamp = timestamp
        self.attributes = attributes
        self.dropped_attributes = dropped
        self.is_named_by_constant = type(name) is str and name in EVENT_NAMES
        self.origins: dict[str, Origin] | None = None
        """Of the attributes that nobody registered, by key."""
        self.message: object = None
        """Of an exception whose type was registered as free of content."""
