"""Who watches, and what became of the turns they watch since they last heard of them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from turntrace.errors import StoreError
from turntrace.store.turns import MAX_PAGE, TurnQuery, TurnRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turntrace.store.contract import StoredSpan, TraceStore

MAX_WATCHERS = 32
"""Open streams; a browser opens one per visible page."""
MAX_WAITING = 500
"""Notes that may wait for one watcher when more come; then it is dropped."""
MAX_CHANGED = 2_000
"""Changed traces remembered between two looks; beyond it watchers are told to fetch anew."""
LOOK_SECONDS = 0.2
"""Time from one look at the store to the next, while rows change."""
PULSE_SECONDS = 2.0
RATE_SECONDS = 10

SLOW = "slow"
CROWDED = "crowded"
RENEWED = "renewed"
STOPPED = "stopped"


class Changed(NamedTuple):
    """A row is new or other than it was."""

    row: TurnRow


class Gone(NamedTuple):
    """Rows of these traces, if any were shown, no longer belong."""

    trace_ids: list[str]


class Stale(NamedTuple):
    """More changed than is told row by row: fetch anew."""


Note: TypeAlias = Changed | Gone | Stale


class Watcher:
    """One open stream: what waits to be told, in order. Used on the event loop only."""

    def __init__(self, query: TurnQuery | None) -> None:
        self.query = query
        """Rows of this query are told; with None, only how many spans arrive."""
        self.waiting: deque[Note] = deque()
        self.ended = ""
        """Why no more will be told; empty while it goes on."""
        self.woken = asyncio.Event()
        self.over = asyncio.Event()

    def tell(self, notes: Sequence[Note]) -> bool:
        """Add notes; False if the watcher is too far behind to be told any more."""
        if self.waiting and len(self.waiting) + len(notes) > MAX_WAITING:
            return False
        self.waiting.extend(notes)
        self.woken.set()
        return True

    def end(self, reason: str) -> None:
        """Tell no more, but for what waits; one that is too slow must fetch anew anyway."""
        self.ended = self.ended or reason
        if reason == SLOW:
            self.waiting.clear()
        self.woken.set()
        self.over.set()

    def take(self) -> list[Note]:
        """Return what waits, which then waits no more."""
        self.woken.clear()
        taken = list(self.waiting)
        self.waiting.clear()
        return taken


class Live:
    """Turns stored spans into notes for watchers; used on one event loop.

    It looks at the store only while somebody watches, and then at most every ``LOOK_SECONDS``.
    """

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._watchers: dict[Watcher, None] = {}
        self._changed: dict[str, None] = {}
        self._has_overflowed = False
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False
        self._arrivals: deque[tuple[float, int]] = deque()
        self._run = secrets.token_hex(4)
        self._changes = self._told = 0
        self.dropped: Counter[str] = Counter()
        """Streams that were ended by us, by reason."""
        self.refused = 0
        """Streams that were turned away because there were too many."""

    @property
    def change_id(self) -> str:
        """Name the present state: it differs after every change and every restart."""
        return f"{self._run}-{self._changes}"

    @property
    def told_id(self) -> str:
        """Name the state up to which watchers were told."""
        return f"{self._run}-{self._told}"

    @property
    def watcher_count(self) -> int:
        """Return how many streams are open."""
        return len(self._watchers)

    def spans_per_second(self) -> float:
        """Return how fast spans arrived lately."""
        self._forget_old_arrivals()
        return sum(count for _, count in self._arrivals) / RATE_SECONDS

    def on_stored(self, spans: Sequence[StoredSpan]) -> None:
        """Note spans that can now be read."""
        self._changes += 1
        self._forget_old_arrivals()
        self._arrivals.append((time.monotonic(), len(spans)))
        if not self._watchers:
            return
        for span in spans:
            self._changed[span.trace_id] = None
        if len(self._changed) > MAX_CHANGED:
            self._changed.clear()
            self._has_overflowed = True
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_until_still())

    def join(self, query: TurnQuery | None) -> Watcher | None:
        """Return a new watcher, or None if there are too many or the server stops.

        One of rows takes the place of the oldest that is told of none.
        """
        if query is not None and len(self._watchers) >= MAX_WATCHERS:
            self._make_room()
        if self._is_closed or len(self._watchers) >= MAX_WATCHERS:
            self.refused += 1
            return None
        watcher = Watcher(query)
        self._watchers[watcher] = None
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        self._watchers.pop(watcher, None)

    def close(self) -> None:
        """End every stream and let nobody in any more."""
        self._is_closed = True
        for watcher in self._watchers:
            watcher.end(STOPPED)

    def _make_room(self) -> None:
        oldest = next((one for one in self._watchers if one.query is None), None)
        if oldest is not None:
            self.leave(oldest)
            self.dropped[CROWDED] += 1
            oldest.end(CROWDED)

    def _forget_old_arrivals(self) -> None:
        since = time.monotonic() - RATE_SECONDS
        while self._arrivals and self._arrivals[0][0] < since:
            self._arrivals.popleft()

    async def _look_until_still(self) -> None:
        try:
            while (self._changed or self._has_overflowed) and self._watchers:
                await self._look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._looking = None

    async def _look(self) -> None:
        changed, self._changed = list(self._changed), {}
        has_overflowed, self._has_overflowed = self._has_overflowed, False
        changes = self._changes
        queries = {watcher.query for watcher in self._watchers if watcher.query is not None}
        for query in queries:
            notes: list[Note] = [Stale()]
            if not has_overflowed:
                notes = await asyncio.to_thread(self._notes, query, changed)
            for watcher in [one for one in self._watchers if one.query == query]:
                if not watcher.tell(notes):
                    self.dropped[SLOW] += 1
                    watcher.end(SLOW)
        self._told = changes

    def _notes(self, query: TurnQuery, changed: list[str]) -> list[Note]:
        notes: list[Note] = []
        shown: set[str] = set()
        try:
            for start in range(0, len(changed), MAX_PAGE):
                part = tuple(changed[start : start + MAX_PAGE])
                asked = replace(query, trace_ids=part, sort="newest", limit=MAX_PAGE, cursor="")
                rows = self._store.turns(asked).rows
                # The oldest first, so that the newest ends on top.
                notes += [Changed(row) for row in reversed(rows)]
                shown |= {row.trace_id for row in rows}
        except StoreError:
            return [Stale()]
        if gone := [trace_id for trace_id in changed if trace_id not in shown]:
            notes.append(Gone(gone))
        return notes if len(notes) <= MAX_PAGE else [Stale()]
