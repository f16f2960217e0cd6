"""Socket.IO: a span for each connection, event, emit and disconnect; context in the packets.

``server`` and ``client`` hold the hooks, ``wire`` what travels between them.
"""

from __future__ import annotations

from turntrace.instrument.patch import Patches
from turntrace.instrument.socketio import client, server, wire


class _SocketioInstrumentation:
    """Hooks methods that python-socketio looks up late, so existing instances are covered too."""

    def __init__(self) -> None:
        self._patches = Patches()

    def instrument(self) -> None:
        wire.hook(self._patches)
        server.hook(self._patches)
        client.hook(self._patches)

    def uninstrument(self) -> None:
        self._patches.undo()
        server.forget()
        client.forget()


INSTRUMENTATION = _SocketioInstrumentation()
