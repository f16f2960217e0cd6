"""Makes one OTLP/HTTP request at a time and says what its outcome means for the batch."""

from __future__ import annotations

import contextlib
import enum
import time
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from urllib3.exceptions import HTTPError
from urllib3.util import Url, make_headers, parse_url

from turntrace.errors import ConfigurationError
from turntrace.export.transport.connection import (
    Connection,
    Line,
    ProxyRefusedError,
    TruncatedReplyError,
)
from turntrace.export.transport.otlp_response import MalformedResponseError, read_response
from turntrace.export.transport.proxies import Proxies
from turntrace.export.transport.retry_after import read_retry_after
from turntrace.export.transport.tls import Certificates, Tls
from turntrace.setting_kinds import HEADER_NAME, HEADER_VALUE

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable, Mapping

_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_PROXY_WANTS_CREDENTIALS: Final = 407
_MAX_REPLY_BYTES: Final = 65_536
_LEFTOVER_SECONDS: Final = 1.0
_GZIP_LEVEL: Final = 1  # 2.5 times faster than 6, and 10% larger, on spans
_GZIP_WINDOW_BITS: Final = 31
_GZIP_OR_ZLIB: Final = 47
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_DIRECT: Final = Proxies()
_NO_FILES: Final = Certificates()

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
    """The result of one request."""

    fate: Fate

    reason: str = ""
    """``http_503``, ``proxy_407``, ``html_reply``, ``truncated_reply``, ``oversized_reply``,
    ``malformed_reply``, ``partial_success`` or the type of an error; never a word that the
    collector, the proxy or the operator wrote."""

    rejected_spans: int = 0

    retry_after_seconds: float | None = None
    """From 0 to 300, if the collector asked for a wait."""

    repeats: int = 0
    """How many requests just before this one failed for the same reason."""


class HttpTransport:
    """One keep-alive connection to a collector, used by one thread.

    Follows no redirect, sends nothing twice, and sends the collector's headers to no proxy that it
    tunnels through.

    Args:
        endpoint: The full URL. User info in it becomes a Basic ``authorization`` header.
        headers: Sent with each request; never logged.
        timeout_seconds: A hard limit for a whole request: connecting, tunnelling, the TLS
            handshake, sending and reading together (one DNS look-up excepted, which nothing can
            interrupt).
        compression: ``gzip`` or ``none``.
        certificates: Whom to trust, and who we are; by default the system's authorities.
        proxies: What lies between; by default nothing does. The environment is not asked.
        now_seconds: The time of day, for a ``Retry-After`` that is a date.

    Raises:
        ConfigurationError: An argument cannot be used; the text quotes no secret.

    Example:
        >>> transport = HttpTransport(
        ...     endpoint="http://localhost:4318/v1/traces",
        ...     headers={},
        ...     timeout_seconds=10.0,
        ...     compression="gzip",
        ... )
        >>> transport.close()
        >>> transport.post(b"").reason
        'ConnectionAbortedError'
    """

    def __init__(
        self,
        *,
        endpoint: str,
        headers: Mapping[str, str],
        timeout_seconds: float,
        compression: str,
        certificates: Certificates = _NO_FILES,
        proxies: Proxies = _DIRECT,
        now_seconds: Callable[[], float] = time.time,
    ) -> None:
        url = _checked_url(endpoint)
        self.display_name = f"{url.scheme}://{url.netloc}"
        if compression not in ("gzip", "none"):
            raise ConfigurationError(f"compression is {compression!r}: use 'gzip' or 'none'")
        self._is_gzip = compression == "gzip"
        if not timeout_seconds > 0:
            raise ConfigurationError(f"timeout_seconds is {timeout_seconds!r}: use a number > 0")
        self._timeout_seconds = timeout_seconds
        self._now_seconds = now_seconds
        self._url = url
        self._tls = Tls(certificates) if url.scheme == "https" else None
        self._proxy = proxies.choose(url)
        self._headers = _all_headers(url, headers, is_gzip=self._is_gzip)
        self._target = url.request_uri
        if self._proxy is not None and self._tls is None:  # it forwards, and needs to know where
            self._target = url._replace(auth=None, fragment=None).url
            self._headers |= self._proxy.headers
        self._last_failure = ""
        self._repeats = 0
        self._begin_afresh()

    def _begin_afresh(self) -> None:
        self._line = Line()
        self._connection: Connection | None = None
        self._is_busy = False

    def post(self, body: bytes) -> Outcome:
        """Send ``body``; return what became of it. Never raises, except `BaseException`."""
        for tap in taps:
            tap(body)
        if self._is_gzip:
            body = zlib.compress(body, _GZIP_LEVEL, _GZIP_WINDOW_BITS)  # releases the GIL
        is_reusable = False
        self._is_busy = True  # from here on, whoever closes leaves the hanging up to us
        try:
            self._line.begin(self._timeout_seconds)
            outcome, is_reusable = self._exchange(body)
        except ProxyRefusedError as error:
            outcome = Outcome(Fate.UNKNOWN, f"proxy_{error.status}")
        except TruncatedReplyError:
            outcome = Outcome(Fate.UNKNOWN, "truncated_reply")
        except Exception as error:  # noqa: BLE001 - ssl, socket and http.client raise many kinds
            outcome = Outcome(Fate.UNKNOWN, type(error).__name__)
        finally:
            self._is_busy = False
            if self._line.is_closed or not is_reusable:
                self._hang_up()
        return self._number(outcome)

    def _exchange(self, body: bytes) -> tuple[Outcome, bool]:
        """Return the outcome, and whether the connection can be used again."""
        if self._connection is not None and self._connection.is_stale():
            self._hang_up()
        if self._connection is None:
            self._connection = Connection(
                self._url.host or "",
                self._url.port or _DEFAULT_PORTS[self._url.scheme or ""],
                tls=self._tls,
                proxy=self._proxy,
                line=self._line,
            )
        is_sent = True
        try:
            self._connection.request("POST", self._target, body, self._headers)
        except (BrokenPipeError, ConnectionResetError):
            if self._connection.sock is None:
                raise
            is_sent = False  # who refuses a request early may have said why
        reply = self._connection.getresponse()
        try:
            outcome, is_read = self._judge(reply)
            return outcome, is_sent and is_read and not reply.will_close
        finally:
            reply.close()

    def _judge(self, reply: http.client.HTTPResponse) -> tuple[Outcome, bool]:
        """Return the outcome, and whether the reply was read to its end."""
        status = reply.status
        if 200 <= status < 300:  # noqa: PLR2004 - 2xx
            body = reply.read(_MAX_REPLY_BYTES + 1)
            if len(body) > _MAX_REPLY_BYTES:
                return Outcome(Fate.UNKNOWN, "oversized_reply"), False
            if reply.length:
                raise TruncatedReplyError("the body of the reply is cut off")
            return _read_acknowledgement(reply, body), True
        return self._judge_failure(reply), self._skip_rest(reply)

    def _judge_failure(self, reply: http.client.HTTPResponse) -> Outcome:
        status = reply.status
        if status == _PROXY_WANTS_CREDENTIALS and self._proxy is not None:
            return Outcome(Fate.UNKNOWN, f"proxy_{status}")  # no collector has seen it
        if status in _RETRYABLE_STATUSES:
            wait_seconds = read_retry_after(
                reply.getheader("retry-after"), reply.getheader("date"), self._now_seconds()
            )
            return Outcome(Fate.UNKNOWN, f"http_{status}", retry_after_seconds=wait_seconds)
        if status < 200:  # noqa: PLR2004 - an interim reply that http.client takes for a final one
            return Outcome(Fate.UNKNOWN, f"http_{status}")
        is_redirect = 300 <= status < 400  # noqa: PLR2004 - 3xx
        return Outcome(Fate.MISDIRECTED if is_redirect else Fate.REFUSED, f"http_{status}")

    def _skip_rest(self, reply: http.client.HTTPResponse) -> bool:
        """Read a body that says nothing to us, if it is soon done; its end changes no outcome."""
        with contextlib.suppress(Exception):
            self._line.hurry(_LEFTOVER_SECONDS)
            return len(reply.read(_MAX_REPLY_BYTES + 1)) <= _MAX_REPLY_BYTES and not reply.length
        return False

    def _number(self, outcome: Outcome) -> Outcome:
        """Add how often the same failure came in a row."""
        failure = outcome.reason if outcome.fate is not Fate.TAKEN else ""
        self._repeats = self._repeats + 1 if failure and failure == self._last_failure else 0
        self._last_failure = failure
        return outcome._replace(repeats=self._repeats)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def disconnect(self) -> None:
        """Close the idle connection; the next request opens one. From the thread that uses it."""
        self._hang_up()

    def close(self) -> None:
        """End for good, from any thread: a request under way fails at once, and every later one."""
        self._line.cut(for_good=True)
        if not self._is_busy:
            self._hang_up()

    def abort(self) -> None:
        """Make a request under way fail at once; from any thread. Later ones are made."""
        self._line.cut(for_good=False)

    def forget(self) -> None:
        """Start afresh in a forked child: let go of the parent's socket, take none of its locks.

        Closing the child's copy of the descriptor leaves the parent's connection open.
        """
        self._line.forget()
        self._begin_afresh()


def _read_acknowledgement(reply: http.client.HTTPResponse, body: bytes) -> Outcome:
    content_type = reply.getheader("content-type") or ""
    try:
        partial = read_response(content_type, _decompressed(reply, body))
    except (MalformedResponseError, zlib.error):
        is_html = "html" in content_type.lower() or body.lstrip()[:1] == b"<"
        return Outcome(Fate.UNKNOWN, "html_reply" if is_html else "malformed_reply")
    is_partial = partial.rejected_spans > 0
    return Outcome(
        Fate.TAKEN,
        "partial_success" if is_partial else "",
        rejected_spans=max(0, partial.rejected_spans),
    )


def _decompressed(reply: http.client.HTTPResponse, body: bytes) -> bytes:
    """Undo a content encoding, which we do not ask for; a bomb is malformed."""
    encoding = (reply.getheader("content-encoding") or "identity").strip().lower()
    if not body or encoding == "identity":
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise MalformedResponseError("the reply has a content encoding that nobody asked for")
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    unpacked = unpacking.decompress(body, _MAX_REPLY_BYTES)
    if not unpacking.eof:
        raise MalformedResponseError("the reply is too large, or cut off")
    return unpacked


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
