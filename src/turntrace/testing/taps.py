"""What leaves beside spans while somebody captures: requests, headers, log lines of our own."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import propagate
from opentelemetry.propagators.textmap import (
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from turntrace.export.transport import http_transport
from turntrace.failsafe import Guarded
from turntrace.guard.propagation import GuardedPropagator

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import Getter

MAX_WIRE_BYTES: Final = 64 * 1024 * 1024
"""Bytes of requests that one capture keeps; of more, the oldest go, and the check says so."""
MAX_LINES: Final = 10_000
"""Log lines, and outgoing headers, that one capture keeps."""


class Header(NamedTuple):
    """A header that context was written into, for somebody else to read."""

    name: str
    value: str


class Wire:
    """Bodies of export requests, before they are compressed."""

    def __init__(self) -> None:
        self.bodies: deque[bytes] = deque()
        self.forgotten = 0
        """Requests that were too many to keep."""
        self._size = 0

    def add(self, body: bytes) -> None:
        """Keep a request; called on the export thread only."""
        self.bodies.append(body)
        self._size += len(body)
        while self._size > MAX_WIRE_BYTES:
            self._size -= len(self.bodies.popleft())
            self.forgotten += 1


class LogTap(logging.Handler):
    """Hands on the lines of turntrace's own loggers, as a handler would write them."""

    def __init__(self, following: Callable[[str], None]) -> None:
        super().__init__()
        self._following = following

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record, its exception included."""
        with Guarded("a captured log line"):
            self._following(f"{record.levelname} {record.name}: {self.format(record)}")

    def install(self) -> None:
        """Listen."""
        logging.getLogger("turntrace").addHandler(self)

    def remove(self) -> None:
        """Listen no longer."""
        logging.getLogger("turntrace").removeHandler(self)


class _Noting(Setter[Any]):
    """Sets what another setter sets, and hands it on."""

    def __init__(self, original: Setter[Any], following: Callable[[Header], None]) -> None:
        self._original = original
        self._following = following

    def set(self, carrier: Any, key: str, value: str) -> None:
        """Set, and note what then stands there: the original may let less through."""
        before = dict(carrier) if isinstance(carrier, Mapping) else {}
        self._original.set(carrier, key, value)
        if not isinstance(carrier, Mapping):
            self._following(Header(str(key), str(value)))
        elif key in carrier:
            self._following(Header(str(key), str(carrier[key])))
        else:  # the original writes it under another name, or let nothing through
            for name, left in carrier.items():
                if name not in before or before[name] is not left:
                    self._following(Header(str(name), str(left)))


class HeaderTap(TextMapPropagator):
    """Wraps OpenTelemetry's global propagator and hands on what it writes."""

    def __init__(self, following: Callable[[Header], None]) -> None:
        self._following = following
        self._original = self._inner = propagate.get_global_textmap()

    def extract(
        self, carrier: Any, context: Context | None = None, getter: Getter[Any] = default_getter
    ) -> Context:
        """Do what the original does."""
        return self._inner.extract(carrier, context, getter)

    def inject(
        self, carrier: Any, context: Context | None = None, setter: Setter[Any] = default_setter
    ) -> None:
        """Do what the original does, and hand on what it sets."""
        self._inner.inject(carrier, context, _Noting(setter, self._following))

    @property
    def fields(self) -> set[str]:
        """Those of the original."""
        return self._inner.fields

    def guard(self) -> None:
        """Let through what a configured process would let through."""
        self._inner = GuardedPropagator(self._inner)

    def install(self) -> None:
        """Listen."""
        self._original = self._inner = propagate.get_global_textmap()
        propagate.set_global_textmap(self)

    def remove(self) -> None:
        """Put the original back; another that somebody has set since stays."""
        current = propagate.get_global_textmap()
        if current is self:
            propagate.set_global_textmap(self._original)
        while isinstance(current, GuardedPropagator):  # of a configure() meanwhile
            if current.inner is self:
                current.inner = self._original
            current = current.inner


class WireTap:
    """Hands on the body of every export request of the process."""

    def __init__(self, following: Callable[[bytes], None]) -> None:
        self._following = following

    def __call__(self, body: bytes) -> None:
        """See a request that is about to be sent; on the export thread."""
        with Guarded("a captured request"):
            self._following(body)

    def install(self) -> None:
        """Listen."""
        http_transport.taps = (*http_transport.taps, self)

    def remove(self) -> None:
        """Listen no longer."""
        http_transport.taps = tuple(tap for tap in http_transport.taps if tap is not self)
