"""A backend and a local Gemini on real sockets, shared by the tests of the reference."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from renovation_rig import Connect, ManualClock, ServedApp, Socket

from renovation.app import create_app
from renovation.database import Database
from renovation.gemini_local import create_server
from renovation.repository import Repository
from renovation.settings import Settings
from turntrace import pipeline


def pytest_itemcollected(item: pytest.Item) -> None:
    # google-genai derives a class from aiohttp's, each time it opens a session.
    item.add_marker(
        pytest.mark.filterwarnings(
            "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
        )
    )


@pytest.fixture(scope="session", autouse=True)
def _untraced() -> Iterator[None]:
    """Test the backend itself: its traces are what tests/journeys is about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_ENABLED", "false")
        patch.setattr(pipeline, "_active", None)
        yield


@pytest.fixture(scope="session")
def gemini_url() -> Iterator[str]:
    with ServedApp(create_server(chunk_seconds=0.0005)) as server:
        yield server.url


@pytest.fixture(scope="session")
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def database_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("renovation") / "new" / "renovation.sqlite3"


@pytest.fixture(scope="session")
def backend(gemini_url: str, clock: ManualClock, database_file: Path) -> Iterator[str]:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{database_file}", gemini_base_url=gemini_url
    )
    with ServedApp(create_app(settings, clock=clock)) as server:
        yield server.url


@pytest.fixture
async def http(backend: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=backend) as client:
        yield client


@pytest.fixture
async def session_id(http: httpx.AsyncClient) -> str:
    return (await http.post("/api/sessions")).json()["sessionId"]


@pytest.fixture
async def connect(backend: str) -> AsyncIterator[Connect]:
    """A function that returns one more connected socket."""
    sockets: list[Socket] = []

    async def connected() -> Socket:
        made = Socket()
        sockets.append(made)
        await made.client.connect(backend, transports=["websocket"])
        return made

    yield connected
    for made in sockets:
        await made.client.disconnect()


@pytest.fixture
async def user(connect: Connect) -> Socket:
    return await connect()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'own.sqlite3'}")
    yield opened
    await opened.close()


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database.session)
