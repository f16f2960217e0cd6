"""What the backend has open, closed one after the other within limits, the telemetry last.

Nothing here knows a server or a signal: `renovation.signals` says when it begins and why it
stands in front of uvicorn.
"""

import asyncio
import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Close = Callable[[], Awaitable[object]]

CANCEL_SECONDS = 0.5
"""How long a close that was cancelled may take to give up."""

logger = logging.getLogger(__name__)


class ClosingError(Exception):
    """What was opened is remembered, but the closing has begun: open nothing more."""


class Outcome(StrEnum):
    """What became of one resource."""

    CLOSED = "closed"
    FAILED = "failed"
    OVERRAN = "overran"
    """It was not closed in time and was cancelled."""
    SKIPPED = "skipped"
    """It did not get its turn, or somebody in a hurry cut it short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The end of one resource."""

    name: str
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    name: str
    close: Close
    limit_seconds: float
    order: float


class Shutdown:
    """Everything that is open and has to be closed before the process ends.

    It takes `limit_seconds` for all resources, then `telemetry_limit_seconds` for the telemetry,
    and at most twice `CANCEL_SECONDS` for what does not give up when it is cancelled. Only the
    event loop's thread uses it.

    Example:
        >>> shutdown = Shutdown(
        ...     limit_seconds=7.0, telemetry=deliver, telemetry_limit_seconds=2.0
        ... )  # doctest: +SKIP
        >>> shutdown.opened("database", database.close, limit_seconds=2.0)  # doctest: +SKIP
        >>> await shutdown.close()  # doctest: +SKIP
    """

    def __init__(
        self, *, limit_seconds: float, telemetry: Close, telemetry_limit_seconds: float
    ) -> None:
        self.limit_seconds = limit_seconds
        self._telemetry = _Resource(
            name="telemetry", close=telemetry, limit_seconds=telemetry_limit_seconds, order=0
        )
        self._resources: list[_Resource] = []
        self._hurried = asyncio.Event()
        self._closing: asyncio.Task[tuple[Closed, ...]] | None = None
        self._ends: list[Closed] = []

    @property
    def bound_seconds(self) -> float:
        """The longest that `close` takes."""
        return self.limit_seconds + self._telemetry.limit_seconds + 2 * CANCEL_SECONDS

    @property
    def is_closing(self) -> bool:
        """Whether `close` has been called."""
        return self._closing is not None

    @property
    def is_clean(self) -> bool:
        """Whether everything was closed, in time and without an error."""
        is_over = self._closing is not None and self._closing.done() and not self._resources
        return is_over and all(end.outcome is Outcome.CLOSED for end in self._ends)

    async def start(self, opening: Coroutine[Any, Any, None], *, limit_seconds: float) -> None:
        """Run what opens the resources; a closing that begins meanwhile cancels it first of all.

        Returns when `opening` has ended, complete or given up (see `is_closing`).

        Args:
            opening: Calls `opened` for each resource.
            limit_seconds: How long it may take to give up.

        Raises:
            Exception: What `opening` raises, unless the closing has begun.
        """
        task = asyncio.create_task(opening)
        start = _Resource(
            name="start",
            close=lambda: _give_up(task),
            limit_seconds=limit_seconds,
            order=-math.inf,
        )
        self._resources.insert(0, start)
        await asyncio.wait({task})
        if not self.is_closing:
            self._resources.remove(start)
            task.result()

    def opened(self, name: str, close: Close, *, limit_seconds: float, order: int = 0) -> None:
        """Remember what was opened: the last one is closed first.

        Args:
            name: What log lines call it.
            close: Closes it; is cancelled after `limit_seconds`.
            limit_seconds: How long it may take.
            order: Lower goes first, whenever it was opened.

        Raises:
            ClosingError: The closing has begun; this resource is still closed by it.
        """
        resource = _Resource(name=name, close=close, limit_seconds=limit_seconds, order=order)
        self._resources.insert(0, resource)
        if self.is_closing:
            raise ClosingError(f"{name} is closed again: the closing has begun")

    async def close(self) -> tuple[Closed, ...]:
        """Close everything; whoever calls it again waits for the first call and gets the same.

        Never raises what a resource raises. A caller that is cancelled does not stop it.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close_all())
        return await asyncio.shield(self._closing)

    def hurry(self) -> None:
        """Leave the rest open and go on with the telemetry."""
        self._hurried.set()

    async def _close_all(self) -> tuple[Closed, ...]:
        now = asyncio.get_running_loop().time
        started = now()
        hurried = asyncio.create_task(self._hurried.wait())
        try:
            while self._resources:  # a start that is giving up may still add to them
                resource = min(self._resources, key=lambda one: one.order)
                self._resources.remove(resource)
                left_seconds = started + self.limit_seconds - now()
                if self._hurried.is_set() or left_seconds <= 0:
                    self._skip(resource)
                else:
                    limit_seconds = min(resource.limit_seconds, left_seconds)
                    self._ends.append(await _close_one(resource, limit_seconds, hurried))
        finally:
            hurried.cancel()
            telemetry = self._telemetry
            self._ends.append(await _close_one(telemetry, telemetry.limit_seconds))
        seconds = round(now() - started, 3)
        logger.info("Shutdown is complete", extra={"seconds": seconds})
        return tuple(self._ends)

    def _skip(self, resource: _Resource) -> None:
        reason = "a second signal" if self._hurried.is_set() else "the hard limit"
        extra = {"resource": resource.name, "reason": reason}
        logger.error("Left open", extra=extra)
        self._ends.append(Closed(name=resource.name, outcome=Outcome.SKIPPED, seconds=0.0))


async def _close_one(
    resource: _Resource, limit_seconds: float, hurried: asyncio.Task[bool] | None = None
) -> Closed:
    """Close one resource within its time, or give it up."""
    now = asyncio.get_running_loop().time
    started = now()
    task = asyncio.ensure_future(_call(resource.close))
    waits = {task} if hurried is None else {task, hurried}
    await asyncio.wait(waits, timeout=limit_seconds, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        outcome = Outcome.CLOSED
    else:
        is_cut_short = hurried is not None and hurried.done()
        outcome = Outcome.SKIPPED if is_cut_short else Outcome.OVERRAN
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    error = _error_of(task)
    if error is not None and outcome is Outcome.CLOSED:
        outcome = Outcome.FAILED
    end = Closed(name=resource.name, outcome=outcome, seconds=now() - started)
    _report(end, error, limit_seconds)
    return end


async def _give_up(start: asyncio.Task[None]) -> None:
    """Cancel the start and wait until it has put back what it was about to open."""
    start.cancel()
    await asyncio.wait({start})
    error = None if start.cancelled() else start.exception()
    if error is not None and not isinstance(error, ClosingError):
        raise error


async def _call(close: Close) -> None:
    await close()


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    if not task.done():
        # It resists; should it fail one day, nobody needs to hear of it.
        task.add_done_callback(lambda late: late.cancelled() or late.exception())
        return None
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def _report(end: Closed, error: BaseException | None, limit_seconds: float) -> None:
    extra: dict[str, object] = {"resource": end.name, "seconds": round(end.seconds, 3)}
    match end.outcome:
        case Outcome.CLOSED:
            logger.info("Closed", extra=extra)
        case Outcome.FAILED:
            # Type and place: the text of a driver's error may quote what was written.
            kind = type(error).__qualname__
            logger.error("Close failed", extra={**extra, "error": kind, "place": _place(error)})
        case Outcome.OVERRAN:
            extra["limit_seconds"] = round(limit_seconds, 3)
            logger.error("Close took too long and was cancelled", extra=extra)
        case Outcome.SKIPPED:
            logger.error("Left open", extra={**extra, "reason": "a second signal"})


def _place(error: BaseException | None) -> str | None:
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    return f"{frames[-1].filename}:{frames[-1].lineno} {frames[-1].name}" if frames else None
