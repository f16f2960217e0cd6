"""The Socket.IO half of the backend: joining a session, and one turn per message."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import socketio

from renovation.agent import Agent, PastMessage
from renovation.classifier import Risk, classify
from renovation.models import RenovationSession
from renovation.payloads import JoinSession, RefusedError, UserMessage, parse
from renovation.prompts import Phase
from renovation.ratelimit import TokenBucket
from renovation.repository import Repository
from renovation.request_id import begin_request
from renovation.room import Room
from renovation.telemetry import (
    bind_conversation,
    current_trace_id,
    mark_turn_failed,
    note_allowance,
    note_invalid_payload,
    note_join,
    note_message,
    note_risk,
)

logger = logging.getLogger(__name__)


class Chat:
    """The event handlers; `register()` them once the agent is ready, `drain()` at the end."""

    def __init__(
        self,
        sio: socketio.AsyncServer,
        repository: Repository,
        agent: Agent,
        *,
        messages_per_minute: int,
        history_messages: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sio = sio
        self._repository = repository
        self._agent = agent
        self._messages_per_minute = messages_per_minute
        self._history_messages = history_messages
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}
        self._turns: set[asyncio.Task[Any]] = set()
        self._is_draining = False

    def register(self) -> None:
        """Put the handlers on the server."""
        self._sio.on("connect", self.on_connect)
        self._sio.on("disconnect", self.on_disconnect)
        self._sio.on("chat:join_session", self.on_join_session)
        self._sio.on("chat:user_message", self.on_user_message)

    async def drain(self, timeout_seconds: float) -> None:
        """Wait for the turns that are running; cancel those that take longer."""
        self._is_draining = True
        if not self._turns:
            return
        _, late = await asyncio.wait(self._turns, timeout=timeout_seconds)
        for turn in late:
            turn.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def on_connect(self, sid: str, _environ: object, _auth: object = None) -> None:
        """Give the socket its own allowance of messages."""
        self._buckets[sid] = TokenBucket(self._messages_per_minute, self._clock)

    async def on_disconnect(self, sid: str, _reason: object = None) -> None:
        """Forget the socket; a turn it started runs to its end, others may be watching."""
        self._buckets.pop(sid, None)

    async def on_join_session(self, sid: str, *arguments: Any) -> dict[str, Any]:
        """Let the socket into the room of a session; the answer is the acknowledgement."""
        begin_request()
        session_id = None
        try:
            session_id = parse(JoinSession, arguments).session_id
            await self._load_session(session_id)
            room = Room(self._sio, session_id)
            await room.admit(sid)
            note_join(str(session_id), room.name)
        except RefusedError as refusal:
            await self._send_error(sid, refusal, session_id)
            return {"ok": False, "error": str(refusal)}
        return {"ok": True}

    async def on_user_message(self, sid: str, *arguments: Any) -> None:
        """Work on a message until it is answered, inside the handler: that is the turn."""
        begin_request()
        task = asyncio.current_task()
        if task is not None:
            self._turns.add(task)
            task.add_done_callback(self._turns.discard)
        session_id = None
        try:
            message = parse(UserMessage, arguments)
            session_id = message.session_id
            note_message(str(session_id), len(message.content))
            await self._run_turn(sid, message)
        except RefusedError as refusal:
            await self._send_error(sid, refusal, session_id)
        except Exception as error:  # noqa: BLE001 - whatever it was, the user must hear about it
            # Only the type: the text of a driver's or a model's error may quote the message.
            mark_turn_failed(error)
            logger.error("Turn failed", extra={"error": type(error).__qualname__})  # noqa: TRY400
            failed = RefusedError("agent_failed", "The assistant could not answer. Try again.")
            await self._send_error(sid, failed, session_id)

    async def _run_turn(self, sid: str, message: UserMessage) -> None:
        if self._is_draining:
            text = "The server is restarting. Send it again in a moment."
            raise RefusedError("agent_failed", text)
        room = Room(self._sio, message.session_id)
        if not room.has(sid):
            raise RefusedError("not_joined", "Join the session before you write to it.")
        self._take_allowance(sid)
        await self._check_intent(sid, message)
        await self._acknowledge(sid, message.session_id)

        session = await self._load_session(message.session_id)
        history = await self._repository.latest_messages(session.id, limit=self._history_messages)
        await self._repository.add_message(
            session.id,
            role="user",
            content=message.content,
            attachments=[a.model_dump(mode="json", by_alias=True) for a in message.attachments],
        )
        answer = await self._agent.answer(
            message.content,
            history=[PastMessage(role=past.role, content=past.content) for past in history],
            phase=Phase(session.phase),
            listener=room,
        )
        if not answer:
            raise RefusedError("agent_failed", "The assistant had nothing to say. Try again.")
        await self._repository.add_message(session.id, role="assistant", content=answer)
        await room.on_done()

    async def _load_session(self, session_id: UUID) -> RenovationSession:
        session = await self._repository.get_session(session_id)
        if session is None:
            raise RefusedError("session_not_found", "There is no such session.")
        bind_conversation(str(session.id), session.user_id, None, session.phase)
        return session

    def _take_allowance(self, sid: str) -> None:
        bucket = self._buckets.get(sid)
        if bucket is None:
            return
        is_allowed = bucket.take()
        note_allowance(exceeded=not is_allowed, remaining=bucket.remaining)
        if not is_allowed:
            raise RefusedError(
                "rate_limited", f"Too many messages. Wait {bucket.retry_seconds:.0f} seconds."
            )

    async def _check_intent(self, sid: str, message: UserMessage) -> None:
        risk = classify(message.content)
        note_risk(risk.value)
        if risk is Risk.HIGH:
            raise RefusedError(
                "invalid_payload",
                "The message was refused.",
                [{"field": "content", "message": "reads like instructions to the assistant"}],
            )
        if risk is Risk.MEDIUM:
            warning = "Part of the message reads like instructions; it is treated as information."
            payload = {"sessionId": str(message.session_id), "warning": warning}
            await self._sio.emit("chat:warning", payload, to=sid)

    async def _acknowledge(self, sid: str, session_id: UUID) -> None:
        payload = {
            "sessionId": str(session_id),
            "status": "received",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        trace_id = current_trace_id()
        if trace_id is not None:
            payload["traceId"] = trace_id
        await self._sio.emit("chat:message_ack", payload, to=sid)

    async def _send_error(self, sid: str, refusal: RefusedError, session_id: UUID | None) -> None:
        if refusal.code == "invalid_payload":
            note_invalid_payload(len(refusal.details))
        payload: dict[str, Any] = {"error": str(refusal), "code": refusal.code}
        if session_id is not None:
            payload["sessionId"] = str(session_id)
        if refusal.details:
            payload["details"] = refusal.details
        await self._sio.emit("chat:error", payload, to=sid)
