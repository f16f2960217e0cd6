"""A token bucket: bursts up to its size, then a steady rate."""

import time
from collections.abc import Callable


class TokenBucket:
    """Allow `per_minute` actions a minute, all of them at once if it was quiet before."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = float(per_minute)
        self._per_second = per_minute / 60.0
        self._clock = clock
        self._tokens = self._size
        self._updated = clock()

    def take(self) -> bool:
        """Take a token; False if there is none."""
        self._refill()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    @property
    def remaining(self) -> int:
        """How many actions are allowed right now."""
        self._refill()
        return int(self._tokens)

    @property
    def retry_seconds(self) -> float:
        """How long until the next action is allowed; 0 if one is."""
        self._refill()
        return max(0.0, (1.0 - self._tokens) / self._per_second)

    def _refill(self) -> None:
        now = self._clock()
        grown = self._tokens + (now - self._updated) * self._per_second
        self._tokens = min(self._size, grown)
        self._updated = now
