"""The people in one session: everything the agent does is told to all of them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import socketio


@dataclass(frozen=True, slots=True)
class Room:
    """The Socket.IO room of a session; the agent's listener."""

    sio: socketio.AsyncServer
    session_id: UUID

    @property
    def name(self) -> str:
        """What Socket.IO calls it."""
        return f"session:{self.session_id}"

    def has(self, sid: str) -> bool:
        """Return whether this socket has joined."""
        return self.name in self.sio.rooms(sid)

    async def admit(self, sid: str) -> None:
        """Let a socket join."""
        await self.sio.enter_room(sid, self.name)

    async def on_token(self, text: str) -> None:
        """Pass a piece of the answer on."""
        await self._tell("chat:assistant_token", token=text, done=False)

    async def on_done(self) -> None:
        """Close the answer."""
        await self._tell("chat:assistant_token", token="", done=True)

    async def on_tool_call(self, name: str, arguments: dict[str, Any]) -> None:
        """Show that a tool is at work."""
        await self._tell("chat:tool_call", toolName=name, input=arguments)

    async def on_tool_result(self, name: str, result: Any) -> None:
        """Show what it found."""
        await self._tell("chat:tool_result", toolName=name, result=result)

    async def _tell(self, event: str, **payload: Any) -> None:
        payload = {"sessionId": str(self.session_id), **payload}
        await self.sio.emit(event, payload, room=self.name)
