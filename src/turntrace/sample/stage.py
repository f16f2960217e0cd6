"""The sampling stage: asks the policy once for each local trace and lets kept spans through."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind

from turntrace.atomic_count import ticks
from turntrace.sample.rules import Facts, SamplingPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext

    from turntrace.record.local_trace import Verdict
    from turntrace.record.span import Span


_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class SampleStage:
    """Stands between the recorder and the guard."""

    def __init__(self, policy: SamplingPolicy, following: Callable[[Span], None]) -> None:
        self._policy = policy
        self._following = following
        self.forget()

    def forget(self) -> None:
        """Count anew, as a forked child does."""
        self._ended = itertools.count()
        self._sampled_out = itertools.count()

    @property
    def ended(self) -> int:
        """How many spans came here."""
        return ticks(self._ended)

    @property
    def sampled_out(self) -> int:
        """How many of them were of traces that were not kept."""
        return ticks(self._sampled_out)

    def decide(
        self,
        trace_id: int,
        remote_parent: SpanContext | None,  # noqa: ARG002 - a remote flag never forces a keep
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, object] | None,
    ) -> Verdict:
        """Decide a local trace when its root starts."""
        return self._policy.decide(
            Facts(
                trace_id=trace_id,
                name=name,
                is_server=kind in (SpanKind.SERVER, SpanKind.CONSUMER),
                attributes=_read_only(attributes),
            )
        )

    def on_end(self, span: Span) -> None:
        """Pass an ended span on if its trace is kept; count it, atomically, in any case."""
        next(self._ended)
        if span.local_trace.verdict.keep:
            self._following(span)
        else:
            next(self._sampled_out)


def _read_only(attributes: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return a view: what a rule is shown becomes the span's own attributes."""
    if not attributes:
        return _NOTHING
    if attributes.__class__ is dict or isinstance(attributes, Mapping):
        return MappingProxyType(attributes)
    return _NOTHING  # no mapping: the recorder says so
