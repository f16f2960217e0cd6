"""Runs the view on a port until it is told to stop."""

from __future__ import annotations

import contextlib
import errno
import re
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from turntrace.errors import ConfigurationError
from turntrace.store.sqlite import SqliteStore
from turntrace.view.app import build_app
from turntrace.view.gate import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.applications import Starlette

GRACEFUL_STOP_SECONDS = 3
_BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """What `turntrace view` was asked for."""

    host: str
    port: int
    """0 takes a free one."""
    store: Path
    token: str | None = None
    keep_requests: Path | None = None


def serve(options: ViewOptions, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; answers what is under way, then stops.

    Must be called in the main thread, which takes the signals from then on.

    Args:
        options: what to serve, and where.
        announce: gets one line as soon as requests are answered.

    Raises:
        ConfigurationError: the address cannot be used; the text says what to do.
        StoreError: the store cannot be opened.
    """
    if not options.host:
        raise ConfigurationError("--host is empty: give an address, or leave it out for loopback")
    is_loopback = is_loopback_host(options.host)
    if not is_loopback and not options.token:
        raise ConfigurationError(
            f"--host {options.host} would let others on the network read every trace:"
            " give --token TOKEN too, or leave --host out"
        )
    if options.token is not None and not re.fullmatch("[!-~]+", options.token):
        raise ConfigurationError(
            "--token must be one or more printable ASCII characters, no spaces"
        )
    listener = _bind(options.host, options.port)
    try:
        store = SqliteStore(options.store)
    except BaseException:
        listener.close()
        raise
    try:
        # Not before: a store that is upgraded first would keep whoever finds the port open waiting.
        with _explained(options.host, options.port):
            listener.listen(_BACKLOG)
        if options.keep_requests is not None:
            _make_directory(options.keep_requests)
        app = build_app(
            store,
            token=options.token,
            is_loopback=is_loopback,
            keep_requests=options.keep_requests,
        )
        line = f"turntrace view on {_url(listener)} (store: {options.store})"
        server = make_server(app, announce=lambda: announce(line))
        # uvicorn raises a signal once more after it has stopped; taken here, the exit code is 0.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        server.run(sockets=[listener])
    finally:
        listener.close()
        store.close()


def make_server(app: Starlette, *, announce: Callable[[], None]) -> uvicorn.Server:
    """Return a server of an app of ``build_app``; ``announce`` is called when it answers."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_STOP_SECONDS,
    )
    return _ViewServer(config, announce, app.state.live.close)


class _ViewServer(uvicorn.Server):
    """A uvicorn server that says when it answers, and ends the streams that would never end."""

    def __init__(
        self,
        config: uvicorn.Config,
        announce: Callable[[], None],
        end_streams: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._end_streams = end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the directory {path} for --keep-requests: {error.strerror}"
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"--host {host} cannot be used: {error}") from error
    try:
        with _explained(host, port):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except ConfigurationError:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _explained(host: str, port: int) -> Iterator[None]:
    """Turn what the system says of an address into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} of {host} is taken, perhaps by another `turntrace view` or an"
                " OpenTelemetry Collector: stop that, or choose another with --port"
                " (and set OTEL_EXPORTER_OTLP_ENDPOINT in the app accordingly)"
            ) from error
        raise ConfigurationError(
            f"cannot listen on port {port} of {host}: {error.strerror}; choose another with --port"
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
