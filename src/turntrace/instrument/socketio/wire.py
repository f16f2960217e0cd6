"""Trace context in Socket.IO packets: in the query of a packet's namespace, if both sides agreed.

``2/ns?traceparent=00-…-01,["event",…]``: Python servers without turntrace strip the query;
others might disconnect, so a client asks first (``tt=1`` in the handshake's query) and sends it
only on namespaces whose CONNECT reply said ``"tt": 1``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from opentelemetry import propagate

from turntrace.failsafe import Guarded
from turntrace.outgoing import inject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from turntrace.instrument.patch import Patches

ASK = "tt=1"
"""What a client puts into the handshake's query."""
ANSWER = "tt"
"""The key of a server's CONNECT reply, with the value 1."""

_EVENTS = (2, 5)  # EVENT, BINARY_EVENT
_MAX_CARRIER = 1024
_MAX_FIELDS = 8
_HEAD = re.compile(r"\d(?:\d{1,10}-)?(/[^,]{0,2048})")


class EventData(list[Any]):
    """A packet's data with what arrived beside it; a list still, so the library never notices.

    It survives the hop into the handler's own task or thread, which a context variable does not,
    and is never handed to a handler: those get ``*data[1:]``.
    """

    __slots__ = ("carrier", "connected", "size_bytes")

    carrier: Mapping[str, str]
    size_bytes: int
    connected: SpanContext | None
    """The connect span of the connection it came on; unset until the server knows it."""


def hook(patches: Patches) -> None:
    """Keep size and context of every event packet that is decoded."""
    from socketio.packet import Packet

    def decode(wrapped: Any, packet: Any, args: Any, kwargs: Any) -> Any:
        attachments = wrapped(*args, **kwargs)
        if packet.packet_type in _EVENTS and type(packet.data) is list:
            with Guarded("reading the context of a Socket.IO packet"):
                packet.data = _with_carrier(packet.data, *args, **kwargs)
        return attachments

    def add_attachment(wrapped: Any, packet: Any, args: Any, kwargs: Any) -> Any:
        event_data = packet.data
        is_complete = wrapped(*args, **kwargs)
        if isinstance(event_data, EventData):
            with Guarded("keeping the context of a binary Socket.IO packet"):
                event_data.size_bytes += len(packet.attachments[-1])
                if is_complete:
                    # The library has put the parts together in a list of its own.
                    event_data[:] = packet.data
                    packet.data = event_data
        return is_complete

    patches.wrap(Packet, "decode", decode)
    patches.wrap(Packet, "add_attachment", add_attachment)


def speaks(packet_class: Any) -> bool:
    """Tell whether packets of this class carry a query: those of msgpack or an app's own do not."""
    from socketio.packet import Packet

    return packet_class.encode is Packet.encode


def _with_carrier(data: list[Any], encoded_packet: str) -> EventData:
    event_data = EventData(data)
    # isascii() is a flag on the string; only other texts pay for counting their bytes.
    event_data.size_bytes = (
        len(encoded_packet)
        if encoded_packet.isascii()
        else len(encoded_packet.encode("utf-8", "surrogatepass"))
    )
    event_data.carrier = carrier_of(encoded_packet)
    return event_data


def carrier_of(encoded_packet: str) -> dict[str, str]:
    """Return the context fields in a packet's namespace query; empty if there are none."""
    if encoded_packet[1:2] != "/" and "-" not in encoded_packet[:12]:
        return {}
    head = _HEAD.match(encoded_packet)
    if head is None:
        return {}
    _, mark, query = head.group(1).partition("?")
    if not mark or len(query) > _MAX_CARRIER:
        return {}
    if query.count("&") >= _MAX_FIELDS:
        return {}
    # A field that is repeated is ambiguous: ignored, as HTTP's traceparent is.
    return {name: values[0] for name, values in parse_qs(query).items() if len(values) == 1}


def extract(data: object, base: Context) -> Context:
    """Return ``base`` with the remote context that came with ``data``, if any."""
    carrier = getattr(data, "carrier", None)
    return propagate.extract(carrier, base) if carrier else base


def namespace_with_context(namespace: str, context: Context) -> str:
    """Return ``namespace`` with the current context in its query."""
    carrier: dict[str, str] = {}
    inject(carrier, context)
    traceparent = carrier.get("traceparent")
    # Only characters that neither end the namespace (a comma) nor need escaping.
    if traceparent is None or re.fullmatch(r"[0-9a-f-]{1,128}", traceparent) is None:
        return namespace
    return f"{namespace}?traceparent={traceparent}"


def asks(query_string: str) -> bool:
    """Tell whether a handshake's query asks for context in packets."""
    return ASK in query_string.split("&")
