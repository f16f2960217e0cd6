"""The users of the load test, all in this one process: bare websockets and HTTP, nothing traced.

    python benchmarks/load_driver.py --url http://127.0.0.1:8000 --users 50 --turns 200 --rate 8

Prints what it saw as one line of JSON. With ``--rate`` turns begin on a timetable, whether the
backend keeps up or not, and their time counts from when they were due. Without, each user begins
anew when the answer is there.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

QUESTION = "I would like a japandi bedroom. Where do I start?"
TURN_LIMIT_SECONDS = 60.0
LOOKS_PER_SECOND = 25.0
"""Requests beside the turns', at a steady pace: a p99 needs many."""
_CONNECTING_AT_ONCE = 5
_OK = range(200, 300)


class FailedTurnError(Exception):
    """The backend refused something or took too long."""


class Seen:
    """What all users saw."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, list[float]] = defaultdict(list)
        self.events = 0
        self.errors: list[str] = []
        self.turns = 0

    def note(self, what: str, since: float) -> None:
        """Add the time from ``since`` until now."""
        self.milliseconds[what].append((time.perf_counter() - since) * 1000)


class Http:
    """One connection; without a client library, which would cost more than the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Make one request and return the body of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\n"
        self._writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        raw = await self._reader.readuntil(b"\r\n\r\n")
        status = int(raw[9:12])
        length = int(raw.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        if status not in _OK:
            raise FailedTurnError(f"{method} {path.partition('?')[0]}: {status}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class User:
    """Somebody with one session, who says the same thing again and again."""

    def __init__(
        self, socket: ClientConnection, address: tuple[str, int], session_id: str, seen: Seen
    ) -> None:
        self._socket, self._address = socket, address
        self._session_id, self._seen = session_id, seen
        payload = {"sessionId": session_id, "content": QUESTION}
        self._message = f'42["chat:user_message",{json.dumps(payload)}]'
        self.is_free = asyncio.Lock()

    @classmethod
    async def arrive(cls, url: str, seen: Seen) -> Self:
        """Connect, start a session and join it."""
        host, port = address = urlsplit(url).hostname or "", urlsplit(url).port or 80
        http = await Http.open(*address)
        session_id = json.loads(await http.ask("POST", "/api/sessions", b"{}"))["sessionId"]
        http.close()
        websocket = f"ws://{host}:{port}/socket.io/?EIO=4&transport=websocket"
        socket = await connect(websocket, compression=None, ping_interval=None, proxy=None)
        user = cls(socket, address, session_id, seen)
        await socket.send("40")
        await user._until("40")
        join = json.dumps(["chat:join_session", {"sessionId": session_id}])
        await socket.send(f"421{join}")
        if '"ok":true' not in await user._until("431"):
            raise FailedTurnError("chat:join_session was refused")
        return user

    async def turn(self, due: float) -> None:
        """Look at the session, say something, hear the whole answer, look at the messages."""
        async with self.is_free, asyncio.timeout(TURN_LIMIT_SECONDS):
            await self._timed_request(f"/api/sessions/{self._session_id}")
            said = time.perf_counter()
            await self._socket.send(self._message)
            await self._listen(said)
            self._seen.note("turn", due)
            path = f"/api/sessions/{self._session_id}/messages?limit=2"
            await self._timed_request(path)
        self._seen.turns += 1

    async def look(self) -> None:
        """Look at the session, whatever else is going on."""
        async with asyncio.timeout(TURN_LIMIT_SECONDS):
            await self._timed_request(f"/api/sessions/{self._session_id}")

    async def _timed_request(self, path: str) -> None:
        # A new connection each time: the backend closes one that was idle for 5 s.
        http = await Http.open(*self._address)
        asked = time.perf_counter()
        await http.ask("GET", path)
        self._seen.note("request", asked)
        http.close()

    async def _listen(self, said: float) -> None:
        seen = self._seen
        has_token = False
        while True:
            text = await self._next()
            seen.events += 1
            if text.startswith('42["chat:assistant_token"'):
                if not has_token:
                    seen.note("first token", said)
                    has_token = True
                if text.endswith('"done":true}]'):
                    return
            elif text.startswith('42["chat:message_ack"'):
                seen.note("acknowledged", said)
            elif text.startswith('42["chat:error"'):
                raise FailedTurnError(text[:200])

    async def _next(self) -> str:
        while True:
            text = str(await self._socket.recv())
            if text != "2":
                return text
            await self._socket.send("3")

    async def _until(self, prefix: str) -> str:
        while not (text := await self._next()).startswith(prefix):
            pass
        return text

    async def leave(self) -> None:
        """Disconnect."""
        await self._socket.close()


async def play(url: str, users: int, turns: int, rate: float) -> dict[str, object]:
    """Play all turns and return what was seen."""
    seen = Seen()
    crowd: list[User] = []
    while len(crowd) < users:
        count = min(_CONNECTING_AT_ONCE, users - len(crowd))
        crowd += await asyncio.gather(*(User.arrive(url, seen) for _ in range(count)))
    gc.collect()
    gc.freeze()
    gc.disable()  # its pauses would count as the backend's
    seen.events = 0
    cpu_before, began = _cpu_seconds(), time.perf_counter()
    await (_on_timetable(crowd, turns, rate) if rate else _one_after_another(crowd, turns))
    seconds = time.perf_counter() - began
    cpu_seconds = _cpu_seconds() - cpu_before
    await asyncio.gather(*(user.leave() for user in crowd))
    return {
        "milliseconds": seen.milliseconds,
        "events": seen.events,
        "turns": seen.turns,
        "seconds": seconds,
        "driver_cpu_seconds": cpu_seconds,
        "errors": seen.errors,
    }


async def _on_timetable(crowd: list[User], turns: int, rate: float) -> None:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(_look_around(crowd, turns / rate, group))
        for number in range(turns):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            user = crowd[number % len(crowd)]
            group.create_task(_try(user, user.turn(due)))
        await looking


async def _look_around(crowd: list[User], seconds: float, group: asyncio.TaskGroup) -> None:
    began = time.perf_counter()
    for number in range(round(seconds * LOOKS_PER_SECOND)):
        due = began + number / LOOKS_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        user = crowd[number % len(crowd)]
        group.create_task(_try(user, user.look()))


async def _one_after_another(crowd: list[User], turns: int) -> None:
    tickets: Iterator[int] = iter(range(turns))

    async def work(user: User) -> None:
        for _ in tickets:
            await _try(user, user.turn(time.perf_counter()))

    async with asyncio.TaskGroup() as group:
        for user in crowd:
            group.create_task(work(user))


async def _try(user: User, action: Coroutine[None, None, None]) -> None:
    try:
        await action
    except Exception as error:  # noqa: BLE001 - whatever it was, the run reports it and fails
        user._seen.errors.append(f"{type(error).__name__}: {error}")  # noqa: SLF001 - this module's


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Play and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--turns", type=int, default=200, help="of all users together")
    parser.add_argument("--rate", type=float, default=0.0, help="turns a second; 0: at once")
    options = parser.parse_args()
    seen = asyncio.run(play(options.url, options.users, options.turns, options.rate))
    json.dump(seen, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
