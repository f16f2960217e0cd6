"""Pure sampling decisions: facts about a trace in, a verdict with its reason out.

Nothing here knows a lock, a thread, a clock or a span.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turntrace.record.local_trace import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

_RANDOM_BITS = 56
_RANDOM_MASK = (1 << _RANDOM_BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a local trace when its root starts."""

    trace_id: int
    """128 bits; the low 56 are the randomness of W3C trace context level 2."""
    name: str
    """The root's name."""
    is_server: bool = False
    """Whether the root answers somebody else's request or event."""
    attributes: Mapping[str, object] = field(default_factory=dict)
    """What the root was started with, by attribute key; not yet guarded, so only to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Keeps every trace whose facts it holds for."""

    reason: str
    """Short and constant; written on the local root as ``turntrace.sampling.reason``."""
    holds: Callable[[Facts], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPolicy:
    """An ordered list of rules and a baseline ratio for all that no rule holds for.

    Raises:
        ValueError: The baseline is no ratio.

    Example:
        >>> SamplingPolicy(baseline=1.0).decide(Facts(trace_id=7, name="GET")).reason
        'baseline'
    """

    rules: tuple[Rule, ...] = ()
    baseline: float | None = None
    """0.0 to 1.0; ``None`` is the baseline of the settings, and 1.0 where there are none."""

    def __post_init__(self) -> None:
        """Refuse a ratio that is none."""
        if self.baseline is not None and not 0.0 <= self.baseline <= 1.0:
            raise ValueError(f"baseline is {self.baseline!r}; it must be a ratio from 0.0 to 1.0")

    def with_default(self, baseline: float) -> Self:
        """Return this policy with ``baseline`` if it has none of its own."""
        if self.baseline is not None:
            return self
        made = copy.copy(self)  # not replace(): a subclass may have an __init__ of its own
        if hasattr(self, "__dict__"):
            made.__dict__.update(self.__dict__)  # copy() takes the fields of the dataclass only
        object.__setattr__(made, "baseline", baseline)
        return made

    def decide(self, facts: Facts) -> Verdict:
        """Return the verdict: the first rule that holds, else the baseline by the trace id."""
        for rule in self.rules:
            if rule.holds(facts):
                return Verdict(keep=True, reason=rule.reason, probability=1.0)
        ratio = 1.0 if self.baseline is None else self.baseline
        return Verdict(
            keep=is_in_ratio(facts.trace_id, ratio), reason="baseline", probability=ratio
        )


def is_in_ratio(trace_id: int, ratio: float) -> bool:
    """Tell whether ``trace_id`` falls within ``ratio``, alike in every process.

    The low 56 bits must reach the rejection threshold, as OpenTelemetry's consistent
    probability sampling defines it.
    """
    threshold = round((1.0 - ratio) * (1 << _RANDOM_BITS))
    return (trace_id & _RANDOM_MASK) >= threshold
