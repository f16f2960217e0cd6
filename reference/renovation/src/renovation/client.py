"""A scripted user: `python -m renovation.client --url http://127.0.0.1:8000`."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import socketio
from engineio.payload import Payload

DEFAULT_MESSAGE = "I would like a japandi bedroom. Where do I start?"

Transport = Literal["websocket", "polling"]

_Heard = tuple[str, dict[str, Any]] | None  # None is the end of the connection

_REFUSAL_SECONDS = 5.0  # between a refused acknowledgement and the event that says why

_EVENTS = (
    "chat:message_ack",
    "chat:assistant_token",
    "chat:tool_call",
    "chat:tool_result",
    "chat:warning",
    "chat:error",
)


class ChatError(Exception):
    """The backend answered a message with `chat:error`."""

    def __init__(self, payload: dict[str, Any]) -> None:
        super().__init__(f"{payload['code']}: {payload['error']}")
        self.code: str = payload["code"]
        self.details: list[dict[str, str]] = payload.get("details", [])


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """One tool the assistant used."""

    name: str
    arguments: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class TurnResult:
    """What came back for one message."""

    session_id: str
    answer: str = ""
    tool_calls: list[ToolUse] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """Names of all events in the order they came."""

    first_token_seconds: float | None = None
    seconds: float = 0.0


class ChatClient:
    """A connected user; an async context manager that connects and disconnects."""

    def __init__(self, url: str, *, transport: Transport = "websocket") -> None:
        self._url = url
        self._transport = transport
        self._http = httpx.AsyncClient(base_url=url)
        self._sio = socketio.AsyncClient(reconnection=False)
        self._inbox: asyncio.Queue[_Heard] = asyncio.Queue()
        for event in _EVENTS:
            self._sio.on(event, self._receiver(event))
        self._sio.on("disconnect", self._on_disconnect)
        if transport == "polling":
            # The Python client gives up on a poll with more than 16 packets: tokens are faster.
            Payload.max_decode_packets = 1000

    async def __aenter__(self) -> Self:
        try:
            await self._sio.connect(self._url, transports=[self._transport])
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave."""
        leaving = asyncio.ensure_future(self._sio.disconnect())
        connection = self._sio.eio
        if self._transport == "polling" and connection.write_loop_task is not None:
            # Nobody answers the poll that is still open: once the farewell is sent, hang up.
            await asyncio.wait([connection.write_loop_task])
            await connection.http.close()
        await leaving
        await self._http.aclose()

    async def first_message(
        self, content: str = DEFAULT_MESSAGE, *, user_id: str | None = None
    ) -> TurnResult:
        """Do what a new user does: start a session, join it, ask, and read the whole answer."""
        session_id = await self.create_session(user_id=user_id)
        await self.join(session_id)
        return await self.send(session_id, content)

    async def create_session(self, *, user_id: str | None = None) -> str:
        """Start a session over HTTP and return its id."""
        response = await self._http.post("/api/sessions", json={"userId": user_id})
        session_id: str = response.raise_for_status().json()["sessionId"]
        return session_id

    async def join(self, session_id: str) -> None:
        """Join a session.

        Raises:
            ChatError: the backend refused.
        """
        payload = {"sessionId": session_id}
        acknowledgement = await self._sio.call("chat:join_session", payload)
        if not acknowledgement["ok"]:
            async with asyncio.timeout(_REFUSAL_SECONDS):
                _, refusal = await self._next_event()
            raise ChatError(refusal)

    async def send(
        self, session_id: str, content: str, *, timeout_seconds: float = 60.0
    ) -> TurnResult:
        """Send a message and collect the answer until it is done.

        Raises:
            ChatError: the backend refused the message or failed to answer it.
            ConnectionError: the connection ended before the answer did.
            TimeoutError: the answer took longer than `timeout_seconds`.
        """
        result = TurnResult(session_id=session_id)
        started = time.perf_counter()
        await self._sio.emit("chat:user_message", {"sessionId": session_id, "content": content})
        async with asyncio.timeout(timeout_seconds):
            is_done = False
            while not is_done:
                event, payload = await self._next_event()
                if event == "chat:assistant_token" and result.first_token_seconds is None:
                    result.first_token_seconds = time.perf_counter() - started
                is_done = _note(result, event, payload)
        result.seconds = time.perf_counter() - started
        return result

    async def _next_event(self) -> tuple[str, dict[str, Any]]:
        heard = await self._inbox.get()
        if heard is None:
            raise ConnectionError(f"The connection to {self._url} was lost")
        return heard

    async def _on_disconnect(self, _reason: object = None) -> None:
        self._inbox.put_nowait(None)

    def _receiver(self, event: str) -> Any:
        async def receive(payload: dict[str, Any]) -> None:
            self._inbox.put_nowait((event, payload))

        return receive


def _note(result: TurnResult, event: str, payload: dict[str, Any]) -> bool:
    """Add an event to the result; return whether it was the last one."""
    result.events.append(event)
    if event == "chat:error":
        raise ChatError(payload)
    if event == "chat:tool_call":
        result.tool_calls.append(ToolUse(name=payload["toolName"], arguments=payload["input"]))
    elif event == "chat:warning":
        result.warnings.append(payload["warning"])
    elif event == "chat:assistant_token":
        result.answer += payload["token"]
        return bool(payload["done"])
    return False


async def _play(url: str, transport: Transport, message: str) -> None:
    async with ChatClient(url, transport=transport) as client:
        result = await client.first_message(message)
    for use in result.tool_calls:
        sys.stdout.write(f"[{use.name} {use.arguments}]\n")
    sys.stdout.write(f"{result.answer}\n")
    first = result.first_token_seconds or result.seconds
    sys.stdout.write(f"[{result.seconds:.2f} s, first token after {first:.2f} s]\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one first message; exit code 1 if the backend refused it, 2 if it is not there."""
    parser = argparse.ArgumentParser(
        prog="python -m renovation.client",
        description="Start a session, send one message and print the answer.",
        epilog="Example: python -m renovation.client --message 'A modern kitchen with a new lamp'",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--transport", choices=("websocket", "polling"), default="websocket")
    parser.add_argument("--message", default=DEFAULT_MESSAGE)
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_play(options.url, options.transport, options.message))
    except ChatError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (httpx.HTTPError, ConnectionError, socketio.exceptions.ConnectionError) as error:
        sys.stderr.write(f"No backend at {options.url}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
