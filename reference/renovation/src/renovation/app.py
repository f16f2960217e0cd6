"""The whole backend put together: `uvicorn renovation.app:app`, or `python -m renovation`."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import socketio
from fastapi import FastAPI
from starlette.types import ASGIApp

from renovation.agent import Agent
from renovation.chat import Chat
from renovation.database import Database
from renovation.gemini import chat_model
from renovation.gemini_process import LocalGemini
from renovation.http_api import create_http_api
from renovation.logs import configure_logging
from renovation.repository import Repository
from renovation.settings import Settings
from renovation.telemetry import init_telemetry, shutdown_telemetry
from renovation.tools import agent_tools


def create_app(
    settings: Settings | None = None, *, clock: Callable[[], float] = time.monotonic
) -> ASGIApp:
    """Return HTTP and Socket.IO as one ASGI application.

    Nothing is opened before the server starts it; what is opened then is closed, in reverse
    order, when the server stops. `clock` counts seconds for the rate limit.
    """
    init_telemetry()
    chosen = settings or Settings.from_environment()
    sio = socketio.AsyncServer(async_mode="asgi")

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(shutdown_telemetry)
            await _start(chosen, clock, sio, api, stack)
            yield

    app: ASGIApp = socketio.ASGIApp(sio, other_asgi_app=create_http_api(lifespan))
    return app


async def _start(
    settings: Settings,
    clock: Callable[[], float],
    sio: socketio.AsyncServer,
    api: FastAPI,
    stack: AsyncExitStack,
) -> None:
    base_url = settings.gemini_base_url
    if base_url is None and settings.google_api_key is None:
        local = await LocalGemini.start(chunk_seconds=settings.local_gemini_chunk_seconds)
        stack.push_async_callback(local.stop)
        base_url = local.base_url
    model = chat_model(settings, base_url)
    stack.push_async_callback(model.aclose)

    database = await Database.open(settings.database_url)
    stack.push_async_callback(database.close)
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
    stack.push_async_callback(sio.shutdown)
    stack.push_async_callback(chat.drain, settings.shutdown_seconds)


def __getattr__(name: str) -> ASGIApp:
    """Build `app` when a server asks for it, so that importing this module opens nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = Settings.from_environment()
    configure_logging(settings.log_level)
    return create_app(settings)
