"""The HTTP half of the backend: sessions, catalogs, health and the chat page."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy.exc import SQLAlchemyError

from renovation.database import Database
from renovation.models import ChatMessage, Product, RenovationSession, Style
from renovation.page import add_page
from renovation.problems import add_problem_handlers, problem
from renovation.repository import Repository
from renovation.request_id import RequestIdMiddleware
from renovation.settings import DEFAULT_VIEW_URL
from renovation.telemetry import bind_conversation

if TYPE_CHECKING:
    from renovation.shutdown import Shutdown

PAGE = 50
"""Rows a list returns unless it is asked for another number."""

Limit = Annotated[int, Query(ge=1, le=200)]


class Payload(BaseModel):
    """JSON with camelCase names, read from rows as well as from requests."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        from_attributes=True,
        validate_by_name=True,
        validate_by_alias=True,
    )


class NewSession(Payload):
    """What a client may say about a session it starts."""

    user_id: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    title: Annotated[str | None, Field(min_length=1, max_length=200)] = None


class SessionView(Payload):
    """A conversation."""

    id: Annotated[UUID, Field(alias="sessionId")]
    user_id: str | None
    title: str | None
    phase: str
    created_at: datetime


class MessageView(Payload):
    """One message of a conversation."""

    id: int
    session_id: UUID
    role: Literal["user", "assistant"]
    content: str
    attachments: list[dict[str, Any]]
    created_at: datetime


class StyleView(Payload):
    """One style of the catalog."""

    id: str
    name: str
    description: str
    palette: list[str]
    materials: list[str]
    example: str


class ProductView(Payload):
    """One product of the catalog."""

    id: str
    name: str
    category: str
    style_id: str
    material: str
    price_usd: int


def _repository(request: Request) -> Repository:
    repository: Repository = request.app.state.repository
    return repository


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


Rows = Annotated[Repository, Depends(_repository)]
Connection = Annotated[Database, Depends(_database)]

sessions = APIRouter(prefix="/api/sessions", tags=["sessions"])
catalogs = APIRouter(prefix="/api", tags=["catalogs"])
health = APIRouter(prefix="/health", tags=["health"])


async def _session(
    session_id: Annotated[UUID, Path(alias="sessionId")], rows: Rows
) -> RenovationSession:
    found = await rows.get_session(session_id)
    if found is None:
        raise HTTPException(404, "There is no such session.")
    bind_conversation(str(found.id), found.user_id, None, found.phase)
    return found


Found = Annotated[RenovationSession, Depends(_session)]


@sessions.post("", status_code=201, response_model=SessionView)
async def create_session(
    rows: Rows, response: Response, new: NewSession | None = None
) -> RenovationSession:
    """Start a conversation."""
    asked = new or NewSession()
    created = await rows.create_session(user_id=asked.user_id, title=asked.title)
    bind_conversation(str(created.id), created.user_id, None, created.phase)
    response.headers["Location"] = f"{sessions.prefix}/{created.id}"
    return created


@sessions.get("", response_model=list[SessionView])
async def list_sessions(
    rows: Rows,
    user_id: Annotated[str | None, Query(alias="userId", max_length=128)] = None,
    limit: Limit = PAGE,
) -> list[RenovationSession]:
    """List conversations, the newest first."""
    return await rows.list_sessions(user_id=user_id, limit=limit)


@sessions.get("/{sessionId}", response_model=SessionView)  # noqa: FAST003 - `Found` takes it
async def get_session(session: Found) -> RenovationSession:
    """Return one conversation."""
    return session


@sessions.get("/{sessionId}/messages", response_model=list[MessageView])  # noqa: FAST003 - same
async def list_messages(session: Found, rows: Rows, limit: Limit = PAGE) -> list[ChatMessage]:
    """List the last messages of a conversation, the oldest first."""
    return await rows.latest_messages(session.id, limit=limit)


@catalogs.get("/styles", response_model=list[StyleView])
async def list_styles(rows: Rows) -> list[Style]:
    """List the style catalog."""
    return await rows.list_styles()


@catalogs.get("/products", response_model=list[ProductView])
async def list_products(
    rows: Rows,
    category: Annotated[str | None, Query(max_length=40)] = None,
    style: Annotated[str | None, Query(max_length=40)] = None,
    limit: Limit = PAGE,
) -> list[Product]:
    """List products of the catalog by name."""
    return await rows.list_products(category=category, style=style, limit=limit)


@health.get("")
async def get_health() -> dict[str, str]:
    """Say that the backend is there, and which one it is."""
    return {"status": "ok", "service": "renovation"}


@health.get("/live")
async def get_liveness() -> dict[str, str]:
    """Say that the process need not be restarted."""
    return {"status": "live"}


async def _open(request: Request) -> None:
    shutdown: Shutdown | None = getattr(request.app.state, "shutdown", None)
    if shutdown is not None and shutdown.is_closing:
        raise HTTPException(503, "The backend is shutting down.")


# A dependency, for what comes before the database is asked for: it may not have been opened.
@health.get("/ready", response_model=None, dependencies=[Depends(_open)])
async def get_readiness(request: Request, database: Connection) -> dict[str, str] | Response:
    """Say whether requests can be served: 503 when shutting down or without a database."""
    try:
        await database.ping()
    except (SQLAlchemyError, OSError):
        return problem(request, 503, "The database does not answer.")
    return {"status": "ready"}


def create_http_api(
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    *,
    view_url: str = DEFAULT_VIEW_URL,
) -> FastAPI:
    """Return the HTTP application; the lifespan sets `database` and `repository` of its state.

    With `state.shutdown` the readiness says when that has begun.

    The chat page links each turn to `view_url`.
    """
    api = FastAPI(title="renovation", lifespan=lifespan)
    api.add_middleware(RequestIdMiddleware)
    add_problem_handlers(api)
    for router in (sessions, catalogs, health):
        api.include_router(router)
    add_page(api, view_url)
    return api
