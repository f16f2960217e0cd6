"""GET /api/live: what ``live.py`` tells one watcher, as server-sent events.

Events, each with a JSON document as data: ``hello`` (the stream is open), ``turn`` (a row is new
or changed), ``gone`` (rows that no longer belong), ``stale`` (fetch anew), ``pulse`` (the
heartbeat, with the rate of spans) and ``dropped`` (the last one, with the reason).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from turntrace.view.live import (
    MAX_WATCHERS,
    PULSE_SECONDS,
    RENEWED,
    SLOW,
    Changed,
    Gone,
    Note,
    Watcher,
)
from turntrace.view.refusal import RefusedError, problem
from turntrace.view.turns_api import row_document, turn_query

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from turntrace.view.live import Live

RETRY_MILLISECONDS = 2000
FAREWELL_SECONDS = 0.5
"""How long a client has to read the last event."""
STREAM_SECONDS = 1200
"""About how long a stream lasts: a browser opens the next by itself, and who never reads goes."""

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class LiveApi:
    """The endpoint."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def stream(self, request: Request) -> Response:
        """Answer GET /api/live, with the filters of /api/turns; ``rows=none`` for pulses only."""
        query = None
        parameters = request.query_params
        if parameters.get("rows") != "none":
            try:
                query = turn_query([pair for pair in parameters.multi_items() if pair[0] != "rows"])
            except RefusedError as error:
                return problem(error.status, str(error))
        watcher = self._live.join(query)
        if watcher is None:
            return problem(
                503,
                f"{MAX_WATCHERS} pages are watching already, or the view stops: close some of them",
                {"Retry-After": "10"},
            )
        return LiveStream(self._live, watcher, request.headers.get("last-event-id", ""))


class LiveStream(Response):
    """Sends events until the client leaves or falls behind, the server stops, or it is old."""

    media_type = "text/event-stream"

    def __init__(
        self,
        live: Live,
        watcher: Watcher,
        last_event_id: str,
        *,
        lasts_seconds: float | None = None,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._live = live
        self._watcher = watcher
        self._last_event_id = last_event_id
        # Pages that were opened together do not come back together.
        jitter = 0.9 + secrets.randbelow(201) / 1000
        self._lasts_seconds = STREAM_SECONDS * jitter if lasts_seconds is None else lasts_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until it ends, and never outlive the client."""
        del scope
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_wait_for_disconnect(receive))
        ending = asyncio.create_task(self._watcher.over.wait())
        tasks = {sending, leaving, ending}
        try:
            await asyncio.wait(
                tasks, timeout=self._lasts_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not any(task.done() for task in tasks):
                self._watcher.end(RENEWED)
            if not leaving.done():
                # A client that reads gets the last event; one that does not is left behind.
                await asyncio.wait({sending}, timeout=FAREWELL_SECONDS)
        finally:
            self._live.leave(self._watcher)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": self.raw_headers},
        )
        await _send(send, f"retry: {RETRY_MILLISECONDS}\n" + self._event("hello", self._state()))
        if self._last_event_id not in {"", self._live.told_id}:
            await _send(send, self._event("stale", {}))
        pulse_at = time.monotonic() + PULSE_SECONDS
        while not self._watcher.ended:
            events = [self._event(*_named(note)) for note in self._watcher.take()]
            if time.monotonic() >= pulse_at:
                events.append(self._event("pulse", self._state()))
                pulse_at = time.monotonic() + PULSE_SECONDS
            if events:
                await _send(send, "".join(events))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pulse_at - time.monotonic()):
                    await self._watcher.woken.wait()
        # As one: its id says that everything up to there was told.
        last = [self._event(*_named(note)) for note in self._watcher.take()]
        last.append(self._event("dropped", {"reason": self._watcher.ended, **self._state()}))
        await _send(send, "".join(last))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _state(self) -> dict[str, Any]:
        return {
            "change": self._live.change_id,
            "spans_per_second": round(self._live.spans_per_second(), 1),
            "watchers": self._live.watcher_count,
            "dropped_slow": self._live.dropped[SLOW],
            "refused": self._live.refused,
        }

    def _event(self, name: str, document: dict[str, Any]) -> str:
        data = msgspec.json.encode(document).decode()  # JSON of one line
        return f"event: {name}\nid: {self._live.told_id}\ndata: {data}\n\n"


def _named(note: Note) -> tuple[str, dict[str, Any]]:
    if isinstance(note, Changed):
        return "turn", row_document(note.row)
    if isinstance(note, Gone):
        return "gone", {"trace_ids": note.trace_ids}
    return "stale", {}


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
