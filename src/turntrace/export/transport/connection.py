"""One HTTP/1.1 connection, direct or through a proxy, in which every step keeps one deadline.

`http.client` and `ssl` count their timeouts anew with every byte or record: a peer that drips, or
reads slowly, could hold a request for hours.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import ssl
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from urllib3.util.ssltransport import SSLTransport
from urllib3.util.wait import wait_for_read

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from turntrace.export.transport.proxies import Proxy
    from turntrace.export.transport.tls import Tls

_SEND_PIECE_BYTES: Final = 65_536
_MAX_TUNNEL_STATUS: Final = 299


class TruncatedReplyError(http.client.HTTPException):
    """The peer ended its reply before it was whole."""


class ProxyRefusedError(http.client.HTTPException):
    """The proxy did not let us through."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered {status}")
        self.status = status


class Line:
    """What the thread that uses a connection shares with those that end it."""

    def __init__(self) -> None:
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._deadline = 0.0
        self._is_cut = False
        self.is_closed = False
        """Whether it is cut for good."""

    def begin(self, timeout_seconds: float) -> None:
        """Start the time of a request."""
        self._deadline = time.monotonic() + timeout_seconds
        self._is_cut = False

    def hurry(self, seconds: float) -> None:
        """Bring the deadline nearer."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Return the time left, more than 0; raises when there is none, or somebody cut in."""
        if self._is_cut or self.is_closed:
            raise ConnectionAbortedError("the request was given up")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took longer than its timeout")
        return left

    def cut(self, *, for_good: bool) -> None:
        """Make the request under way fail at once, and every later one if ``for_good``."""
        self.is_closed = self.is_closed or for_good
        self._is_cut = True
        # RuntimeError: the set grew meanwhile; the next step sees the flag.
        with contextlib.suppress(RuntimeError):
            for sock in list(self.sockets):
                # The plain call: ssl's own would let a concurrent write go out in the clear.
                with contextlib.suppress(OSError, ValueError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def forget(self) -> None:
        """Let go of the descriptors; the parent of a forked process keeps the connections."""
        for sock in list(self.sockets):
            with contextlib.suppress(OSError, ValueError):
                os.close(sock.detach())

    def dial(self, host: str, port: int) -> socket.socket:
        """Connect; the addresses of a name share the time. One DNS look-up is not bounded."""
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        problem: OSError = OSError("the name has no address")
        for position, (family, kind, protocol, _, address) in enumerate(addresses):
            seconds = self.seconds_left() / (len(addresses) - position)
            sock = socket.socket(family, kind, protocol)
            try:
                self.sockets.add(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(seconds)
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
            else:
                return sock
        raise problem

    def secure(self, sock: Any, host: str, context: ssl.SSLContext) -> Any:
        """Return ``sock`` under TLS with ``host``, verified."""
        if isinstance(sock, _OuterSocket):  # TLS to the collector within TLS to the proxy
            return SSLTransport(sock, context, host)
        secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        if isinstance(secured, _OuterSocket):
            secured.line = self
        self.sockets.add(secured)
        try:
            secured.settimeout(self.seconds_left())
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured


class Connection(http.client.HTTPConnection):
    """A connection for one request after another, all by one thread.

    A reply is read under the same deadline as what comes before it. Errors are those of
    `http.client`, `ssl` and `socket`.
    """

    def __init__(
        self, host: str, port: int, *, tls: Tls | None, proxy: Proxy | None, line: Line
    ) -> None:
        super().__init__(host.strip("[]"), port)
        self._tls = tls
        """How to secure it; None: plain."""
        self._proxy = proxy
        self._line = line

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:  # type: ignore[override] # http.client calls it to make one
        """Make the reply that is read from ``sock``."""
        return _Reply(_ReadableSocket(sock, self._line), *args, **kwargs)  # type: ignore[arg-type] # only makefile is used

    def connect(self) -> None:
        """Dial, tunnel and secure, as the way asks for."""
        hop = self._proxy
        self.sock = self._line.dial(*((hop.host, hop.port) if hop else (self.host, self.port)))
        try:
            if hop is not None and hop.is_secure:
                self.sock = self._line.secure(self.sock, hop.host, _proxy_context())
            if hop is not None and self._tls is not None:
                self._open_tunnel(hop)
            if self._tls is not None:
                self.sock = self._line.secure(self.sock, self.host, self._tls.context())
        except BaseException:
            self.close()
            raise

    def _open_tunnel(self, proxy: Proxy) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"CONNECT {host}:{self.port} HTTP/1.1", f"host: {host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode("ascii"))
        reply = self.response_class(self.sock, method="CONNECT")
        try:
            reply.begin()
            if not http.client.OK <= reply.status <= _MAX_TUNNEL_STATUS:
                raise ProxyRefusedError(reply.status)
        finally:
            reply.close()

    def send(self, data: Any) -> None:
        """Send all of ``data``, connecting first if need be."""
        if self.sock is None:
            self.connect()
        rest = memoryview(data)
        while rest:
            self.sock.settimeout(self._line.seconds_left())
            rest = rest[self.sock.send(rest[:_SEND_PIECE_BYTES]) :]

    def is_stale(self) -> bool:
        """Return whether the peer has closed it, or talks without having been asked."""
        return self.sock is not None and wait_for_read(self.sock, timeout=0.0)


class _Reply(http.client.HTTPResponse):
    """A reply that tells a cut-off head, which `http.client` takes for a whole one."""

    def begin(self) -> None:
        super().begin()
        if self.fp.raw.is_at_end:  # type: ignore[attr-defined] # a _DeadlineReader
            raise TruncatedReplyError("the head of the reply is cut off")
        if self.msg.defects:
            raise http.client.HTTPException("the head of the reply is malformed")


class _ReadableSocket:
    """The one method of a socket that `http.client.HTTPResponse` uses."""

    def __init__(self, sock: socket.socket, line: Line) -> None:
        self._sock = sock
        self._line = line

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # always "rb"
        return io.BufferedReader(_DeadlineReader(self._sock, self._line))


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline, however little comes at once."""

    def __init__(self, sock: socket.socket, line: Line) -> None:
        self._sock = sock
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._line = line
        self.is_at_end = False
        """Whether a read found the end of the stream."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        self._sock.settimeout(self._line.seconds_left())
        count: int | None = self._raw.readinto(buffer)
        self.is_at_end = self.is_at_end or count == 0
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _OuterSocket(ssl.SSLSocket):
    """The outer one of two TLS sockets, as `SSLTransport` uses it: each call by the deadline."""

    line: Line

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self.settimeout(self.line.seconds_left())
        return super().recv(buflen, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        rest = memoryview(data)
        while rest:
            self.settimeout(self.line.seconds_left())
            rest = rest[self.send(rest[:_SEND_PIECE_BYTES], flags) :]


_proxy_contexts: list[ssl.SSLContext] = []


def _proxy_context() -> ssl.SSLContext:
    """Return how a proxy is spoken to over TLS: by the system's certificates."""
    if not _proxy_contexts:
        context = ssl.create_default_context()
        context.sslsocket_class = _OuterSocket
        _proxy_contexts.append(context)
    return _proxy_contexts[0]
