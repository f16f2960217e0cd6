"""The database connection: engine, sessions, and a schema with its catalogs in place."""

from pathlib import Path
from typing import Any, Self

from sqlalchemy import event, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, async_sessionmaker, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from renovation.models import Base, Product, Style
from renovation.seed import PRODUCTS, STYLES


class Database:
    """An engine and what makes sessions from it; close it with `close()`."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        # hide_parameters: an error's text ends up in logs, and a parameter may be a message.
        self.engine = create_async_engine(self._url, hide_parameters=True)
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)
        if self._url.get_backend_name() == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect and bring schema and catalogs up to date."""
        database = cls(url)
        try:
            await database.prepare()
        except BaseException:
            await database.close()
            raise
        return database

    async def prepare(self) -> None:
        """Create what is missing; this is where migrations take over."""
        file = self._url.database
        if self._url.get_backend_name() == "sqlite" and file and file != ":memory:":
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        async with self.engine.begin() as connection:
            # Not create_all(): it looks first and then creates, and workers start together.
            for table in Base.metadata.sorted_tables:
                await connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    await connection.execute(CreateIndex(index, if_not_exists=True))
            await _seed(connection)

    async def ping(self) -> None:
        """Ask the database for a sign of life; raises what the driver raises."""
        async with self.engine.connect() as connection:
            await connection.execute(select(1))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


async def _seed(connection: AsyncConnection) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    for catalog, rows in ((Style, STYLES), (Product, PRODUCTS)):
        insert = sqlite.insert(catalog) if is_sqlite else postgresql.insert(catalog)
        # Workers that start together seed together: whoever is second has nothing to do.
        await connection.execute(insert.on_conflict_do_nothing(), rows)
