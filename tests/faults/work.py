"""What a sender process is to do: one value, told on its command line as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Final

SERVICE: Final = "faults"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Spans to end, and what surrounds them."""

    rate: float = 500.0
    """Spans a second."""
    seconds: float = 10.0
    """How long; long enough for a collector to come back."""
    burst: int = 0
    """So many spans at once instead, as fast as they can be ended."""
    has_busy_thread: bool = False
    """Whether another thread computes without a pause, from the first span to the end."""
    attribute_bytes: int = 0
    """Two attributes of each span are so long; 200,000 at most."""
    share: float = 1.0
    """Of the traces, how many the sampler keeps."""
    service: str = SERVICE
    flush_seconds: float = 10.0
    close_seconds: float = 2.0
    file_limit_bytes: int = 0
    """No file grows beyond it, as on a full disk; 0: no limit."""
    is_unprivileged: bool = False
    """Whether it becomes ``nobody`` before anything of an exporter is built."""
    clock_jump_seconds: float = 0.0
    """How much the wall clock is put forward at half time."""

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Work:
        return cls(**json.loads(text))
