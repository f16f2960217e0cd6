"""The whole backend put together: `uvicorn renovation.app:app`, or `python -m renovation`."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import renovation.telemetry  # noqa: F401 - before FastAPI, which a bad OTEL_PROPAGATORS stops

# isort: split
import socketio
from fastapi import FastAPI
from starlette.types import ASGIApp

from renovation.agent import Agent
from renovation.chat import Chat
from renovation.database import Database
from renovation.gemini import chat_model
from renovation.gemini_process import STOP_SECONDS, LocalGemini
from renovation.http_api import create_http_api
from renovation.logs import configure_logging
from renovation.repository import Repository
from renovation.settings import Settings
from renovation.shutdown import Shutdown
from renovation.signals import Signals
from renovation.telemetry import SHUTDOWN_SECONDS, init_telemetry, shutdown_telemetry
from renovation.tools import agent_tools

REQUESTS_SECONDS = 1.0
"""How long requests that are being answered may take once the server is stopping."""

_UNREAD_SECONDS = 1.0  # for a client to fetch what it has not read yet
_SERVER_SECONDS = REQUESTS_SECONDS + 1.0
_LIMIT_SECONDS = 2.0  # of a resource that has nothing to wait for
_SPARE_SECONDS = 1.0  # over what a resource's own close allows itself

# The turns before the sockets they stream to, those before the server that waits for them.
_TURNS, _SOCKETS, _SERVER = -3, -2, -1

logger = logging.getLogger(__name__)


def create_shutdown(settings: Settings) -> Shutdown:
    """Return a shutdown with the limits of the settings, and the telemetry as its last act."""
    return Shutdown(
        limit_seconds=settings.shutdown_limit_seconds,
        telemetry=_deliver,
        telemetry_limit_seconds=SHUTDOWN_SECONDS + _SPARE_SECONDS / 2,
    )


def create_app(
    settings: Settings | None = None,
    *,
    shutdown: Shutdown | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """Return HTTP and Socket.IO as one ASGI application.

    Nothing is opened before the server starts it; what is opened then is closed by `shutdown`
    when a signal comes or the server stops. `clock` counts seconds for the rate limit.
    """
    init_telemetry()
    chosen = settings or Settings.from_environment()
    closing = shutdown or create_shutdown(chosen)
    sio = socketio.AsyncServer(async_mode="asgi")

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        signals = Signals(closing, last_act=shutdown_telemetry)
        api.state.shutdown = closing
        signals.install()
        try:
            closing.opened(
                "server", signals.stop_server, limit_seconds=_SERVER_SECONDS, order=_SERVER
            )
            start = _start(chosen, sio, api, closing, clock=clock)
            await closing.start(start, limit_seconds=STOP_SECONDS + _SPARE_SECONDS)
            # Given up, it serves all the same: that is where uvicorn looks whether to stop.
            with suppress(asyncio.CancelledError):  # a server that is forced to stop
                yield
        finally:
            signals.note_server_stopped()
            await closing.close()
            signals.restore()

    http_api = create_http_api(lifespan, view_url=chosen.view_url)
    app: ASGIApp = socketio.ASGIApp(sio, other_asgi_app=http_api)
    return app


async def _start(
    settings: Settings,
    sio: socketio.AsyncServer,
    api: FastAPI,
    shutdown: Shutdown,
    *,
    clock: Callable[[], float],
) -> None:
    """Open everything; what is opened last is closed first."""
    base_url = settings.gemini_base_url
    if base_url is None and settings.google_api_key is None:
        local = await LocalGemini.start(chunk_seconds=settings.local_gemini_chunk_seconds)
        shutdown.opened("local gemini", local.stop, limit_seconds=STOP_SECONDS + _SPARE_SECONDS)
        base_url = local.base_url
    model = chat_model(settings, base_url)
    shutdown.opened("model", model.aclose, limit_seconds=_LIMIT_SECONDS)

    database = await Database.open(settings.database_url)
    shutdown.opened("database", database.close, limit_seconds=_LIMIT_SECONDS)
    repository = Repository(database.session)
    api.state.database = database
    api.state.repository = repository

    agent = Agent(model, agent_tools(repository), iterations=settings.agent_iterations)
    chat = Chat(
        sio,
        repository,
        agent,
        messages_per_minute=settings.messages_per_minute,
        history_messages=settings.history_messages,
        clock=clock,
    )
    chat.register()
    shutdown.opened(
        "socket.io", lambda: _hang_up(sio), limit_seconds=_LIMIT_SECONDS, order=_SOCKETS
    )
    turn_seconds = settings.shutdown_seconds
    shutdown.opened(
        "turns",
        lambda: _finish_turns(chat, turn_seconds),
        limit_seconds=turn_seconds + _SPARE_SECONDS,
        order=_TURNS,
    )


async def _finish_turns(chat: Chat, timeout_seconds: float) -> None:
    try:
        await chat.drain(timeout_seconds)
    finally:  # cut short, or there are turns that began meanwhile
        await chat.drain(0.0)


async def _hang_up(sio: socketio.AsyncServer) -> None:
    """Say goodbye to every client: nobody keeps the server waiting, and nobody stays away."""
    clients = list(sio.eio.sockets.values())
    # Who polls has not read everything, and is told nothing any more once it is closed.
    unread = [asyncio.ensure_future(client.queue.join()) for client in clients]
    if unread:
        _, gone = await asyncio.wait(unread, timeout=_UNREAD_SECONDS)
        for wait in gone:
            wait.cancel()
    await asyncio.gather(*(client.close(wait=False) for client in clients))
    await sio.shutdown()


async def _deliver() -> None:
    if not await asyncio.to_thread(shutdown_telemetry):
        logger.warning("Some spans could not be delivered")


def __getattr__(name: str) -> ASGIApp:
    """Build `app` when a server asks for it, so that importing this module opens nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = Settings.from_environment()
    configure_logging(settings.log_level)
    return create_app(settings)
