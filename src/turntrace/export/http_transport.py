"""Makes one OTLP/HTTP request at a time and says what its outcome means for the batch."""

from __future__ import annotations

import contextlib
import enum
import http.client
import io
import os
import queue
import socket
import time
import weakref
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout, Url, make_headers, parse_url

from turntrace.errors import ConfigurationError
from turntrace.export.otlp_response import MalformedResponseError, read_response
from turntrace.setting_kinds import HEADER_NAME, HEADER_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer

_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_MAX_REPLY_BYTES: Final = 65_536
_GZIP_LEVEL: Final = 1  # 2.5 times faster than 6, and 10% larger, on spans
_GZIP_WINDOW_BITS: Final = 31

taps: tuple[Callable[[bytes], None], ...] = ()
"""Who sees each request's body before it is compressed (`turntrace.testing`); must not raise."""


class Fate(enum.Enum):
    """What a reply means for the spans of the request."""

    TAKEN = enum.auto()
    """Acknowledged, except for ``Outcome.rejected_spans`` of them."""

    REFUSED = enum.auto()
    """The collector will never take them."""

    MISDIRECTED = enum.auto()
    """A redirect: nobody took them, and nobody will."""

    UNKNOWN = enum.auto()
    """Not acknowledged: send them again."""


class Outcome(NamedTuple):
    """The result of one request; ``reason`` never holds a header value, URL or body."""

    fate: Fate
    reason: str = ""
    rejected_spans: int = 0
    retry_after_seconds: float | None = None


class HttpTransport:
    """One keep-alive connection to a collector, used by one thread.

    Args:
        endpoint: The full URL. User info in it becomes a Basic ``authorization`` header.
        headers: Sent with each request; never logged.
        timeout_seconds: A hard limit for a whole request, connecting included (one DNS look-up
            excepted, which nothing can interrupt).
        compression: ``gzip`` or ``none``.

    Raises:
        ConfigurationError: An argument cannot be used.
    """

    def __init__(
        self, *, endpoint: str, headers: Mapping[str, str], timeout_seconds: float, compression: str
    ) -> None:
        url = _checked_url(endpoint)
        self.display_name = f"{url.scheme}://{url.netloc}"
        self._url = url._replace(auth=None, fragment=None).url
        if compression not in ("gzip", "none"):
            raise ConfigurationError(f"compression is {compression!r}: use 'gzip' or 'none'")
        self._is_gzip = compression == "gzip"
        if not timeout_seconds > 0:
            raise ConfigurationError(f"timeout_seconds is {timeout_seconds!r}: use a number > 0")
        self._timeout_seconds = timeout_seconds
        self._headers = _all_headers(url, headers, is_gzip=self._is_gzip)
        self._line = _Line()
        self._pool = _make_pool(self._line)

    def post(self, body: bytes) -> Outcome:
        """Send ``body``; return what became of it. Never raises, except `BaseException`."""
        for tap in taps:
            tap(body)
        if self._is_gzip:
            body = zlib.compress(body, _GZIP_LEVEL, _GZIP_WINDOW_BITS)  # releases the GIL
        self._line.deadline = time.monotonic() + self._timeout_seconds
        try:
            reply = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=self._headers,
                timeout=Timeout(total=self._timeout_seconds),
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                return _read_outcome(reply)
            finally:
                reply.release_conn()
        except Exception as error:  # noqa: BLE001 - urllib3, ssl and http.client raise many kinds
            return Outcome(Fate.UNKNOWN, type(error).__name__)

    def close(self) -> None:
        """Close the connection; only from the thread that uses it."""
        self._pool.clear()

    def abort(self) -> None:
        """Make a request under way fail at once; from any thread."""
        # RuntimeError: the set grew meanwhile; then the request's own timeout has to do.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            for connected in list(self._line.sockets):
                connected.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Start afresh in a forked child: let go of the parent's socket, take none of its locks.

        Closing the child's copy of the descriptor leaves the parent's connection open.
        """
        for inherited in list(self._line.sockets):
            with contextlib.suppress(OSError, ValueError):
                os.close(inherited.detach())
        self._line = _Line()
        self._pool = _make_pool(self._line)


def _read_outcome(reply: urllib3.BaseHTTPResponse) -> Outcome:
    status = reply.status
    body = reply.read(_MAX_REPLY_BYTES + 1)
    if not (is_whole := len(body) <= _MAX_REPLY_BYTES):
        reply.close()
    if 200 <= status < 300:  # noqa: PLR2004 - 2xx
        return _read_acknowledgement(reply.headers.get("content-type", ""), body, is_whole=is_whole)
    if status in _RETRYABLE_STATUSES:
        return Outcome(
            Fate.UNKNOWN,
            f"http_{status}",
            retry_after_seconds=_read_retry_after(reply.headers.get("retry-after")),
        )
    is_redirect = 300 <= status < 400  # noqa: PLR2004 - 3xx
    return Outcome(Fate.MISDIRECTED if is_redirect else Fate.REFUSED, f"http_{status}")


def _read_acknowledgement(content_type: str, body: bytes, *, is_whole: bool) -> Outcome:
    if not is_whole:
        return Outcome(Fate.UNKNOWN, "malformed_reply")
    try:
        partial = read_response(content_type, body)
    except MalformedResponseError:
        return Outcome(Fate.UNKNOWN, "malformed_reply")
    is_partial = partial.rejected_spans > 0
    return Outcome(
        Fate.TAKEN,
        "partial_success" if is_partial else "",
        rejected_spans=max(0, partial.rejected_spans),
    )


def _read_retry_after(value: str | None) -> float | None:
    """Return the delay of a ``Retry-After`` header in its form as seconds, else None."""
    if value is not None and value.isascii() and value.isdigit():
        return float(value)
    return None


def _checked_url(endpoint: str) -> Url:
    try:
        url = parse_url(endpoint)
    except HTTPError as error:
        raise ConfigurationError(
            "endpoint cannot be read: write http(s)://HOST:PORT/PATH"
        ) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            f"endpoint has scheme {url.scheme!r} and host {url.host!r}: "
            "write http(s)://HOST:PORT/v1/traces"
        )
    return url


def _all_headers(url: Url, headers: Mapping[str, str], *, is_gzip: bool) -> dict[str, str]:
    """Return what every request carries; the caller's headers win. Values never enter an error."""
    combined = {"content-type": "application/x-protobuf", "user-agent": "turntrace"}
    if url.auth:
        combined |= make_headers(basic_auth=url.auth)
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            raise ConfigurationError("a header has a name that HTTP does not allow")
        if not HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(f"header {name!r} has a value that HTTP does not allow")
        combined[name.lower()] = value
    if is_gzip:
        combined["content-encoding"] = "gzip"
    return combined


class _Line:
    """What the connections of one transport share: the current deadline, the open sockets."""

    def __init__(self) -> None:
        self.deadline = 0.0
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


class _Stack:
    """The pool's idle connections, without the lock that a forked child might inherit held."""

    def __init__(self, maxsize: int = 0) -> None:
        del maxsize  # one thread, one connection
        self._items: list[Any] = []

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        del block, timeout
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        del block, timeout
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._items)


def _make_pool(line: _Line) -> urllib3.PoolManager:
    """Return a pool whose connections know ``line``, and keep its deadline while they read.

    urllib3's own timeouts start anew with every byte received: a collector that drips could hold
    a request for hours.
    """

    class Connection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            _adopt(self, line)

    class SecureConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            _adopt(self, line)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection
        QueueCls = _Stack  # type: ignore[assignment] # the part of a Queue that a pool uses

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection
        QueueCls = _Stack  # type: ignore[assignment] # as above

    manager = urllib3.PoolManager(num_pools=1, maxsize=1)
    manager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
    return manager


def _adopt(connection: Any, line: _Line) -> None:
    connected: socket.socket = connection.sock
    line.sockets.add(connected)

    def read_under_deadline(sock: socket.socket, *args: Any, **kwargs: Any) -> Any:
        return http.client.HTTPResponse(_DeadlineSocket(sock, line), *args, **kwargs)  # type: ignore[arg-type] # only makefile is used

    connection.response_class = read_under_deadline


class _DeadlineSocket:
    """The one method of a socket that `http.client.HTTPResponse` uses."""

    def __init__(self, sock: socket.socket, line: _Line) -> None:
        self._sock = sock
        self._line = line

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # always "rb"
        return io.BufferedReader(_DeadlineReader(self._sock, self._line.deadline))


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a moment of the monotonic clock, however little comes at once."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the request took longer than its timeout")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
