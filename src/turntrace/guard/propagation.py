"""Wraps the app's propagator, whichever it is: baggage and foreign trace state stay here."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate
from opentelemetry.propagators.textmap import (
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from turntrace.failsafe import swallowed
from turntrace.outgoing import MEMBERS, SafeSetter, safe_context

if TYPE_CHECKING:
    from opentelemetry.context import Context

_installed: weakref.WeakSet[GuardedPropagator] = weakref.WeakSet()


class GuardedPropagator(TextMapPropagator):
    """Injects through another propagator from a context that holds nothing but ids and sampling.

    B3, Jaeger, X-Ray and an app's own go on as they are. Extracting passes through: what others
    send may be used here, it only does not leave again.
    """

    def __init__(self, inner: TextMapPropagator, members: frozenset[str] = MEMBERS) -> None:
        self.inner = inner
        self.members = members
        """The members of the trace state that may leave."""
        self.is_active = True
        """False once it was removed: somebody may still hold it, and it then does nothing."""
        self._setter = SafeSetter(default_setter, members)

    def extract(
        self,
        carrier: Any,
        context: Context | None = None,
        getter: Getter[Any] = default_getter,
    ) -> Context:
        """Extract as the wrapped propagator does."""
        return self.inner.extract(carrier, context, getter)

    def inject(
        self,
        carrier: Any,
        context: Context | None = None,
        setter: Setter[Any] = default_setter,
    ) -> None:
        """Inject what may leave; an error of the wrapped propagator is counted, never raised."""
        if not self.is_active:
            self.inner.inject(carrier, context, setter)
            return
        try:
            if setter is default_setter:
                setter = self._setter
            elif setter.__class__ is not SafeSetter:
                setter = SafeSetter(setter, self.members)
            self.inner.inject(carrier, safe_context(context, self.members), setter)
        except Exception as error:  # noqa: BLE001 - the app's call goes out without a context
            swallowed("writing the context of an outgoing call", error)

    @property
    def fields(self) -> set[str]:
        """The fields of the wrapped propagator."""
        return self.inner.fields


def install(members: frozenset[str] = MEMBERS) -> None:
    """Wrap the global propagator; where it is wrapped already, only ``members`` may change.

    Call it again after the app has set a propagator of its own.
    """
    current = propagate.get_global_textmap()
    while isinstance(current, GuardedPropagator):
        if current.is_active and current.members == members:
            return
        current = current.inner
    guarded = GuardedPropagator(current, members)
    _installed.add(guarded)
    propagate.set_global_textmap(guarded)


def remove() -> None:
    """Restore the propagator that was wrapped; ours, if somebody holds it, becomes transparent."""
    for guarded in list(_installed):
        guarded.is_active = False
    _installed.clear()
    current = propagate.get_global_textmap()
    if isinstance(current, GuardedPropagator):
        while isinstance(current, GuardedPropagator):
            current = current.inner
        propagate.set_global_textmap(current)
