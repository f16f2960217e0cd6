"""Every question the backend asks the database, one method each."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import false, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from renovation.models import ChatMessage, Product, RenovationSession, Style
from renovation.prompts import FIRST_PHASE

_SEARCH_WORDS = 6


class Repository:
    """Reads and writes; no method holds a connection longer than its statement.

    A turn waits seconds for the model: a connection kept that long is one nobody else has.
    """

    def __init__(self, session: async_sessionmaker[AsyncSession]) -> None:
        self._session = session

    async def create_session(self, *, user_id: str | None, title: str | None) -> RenovationSession:
        """Start a conversation in the first phase."""
        created = RenovationSession(user_id=user_id, title=title, phase=FIRST_PHASE)
        async with self._session.begin() as session:
            session.add(created)
        return created

    async def list_sessions(self, *, user_id: str | None, limit: int) -> list[RenovationSession]:
        """Return the newest conversations first, of one user or of all."""
        query = select(RenovationSession).order_by(RenovationSession.created_at.desc())
        if user_id is not None:
            query = query.where(RenovationSession.user_id == user_id)
        async with self._session() as session:
            return list(await session.scalars(query.limit(limit)))

    async def get_session(self, session_id: UUID) -> RenovationSession | None:
        """Return one conversation, or None."""
        query = select(RenovationSession).where(RenovationSession.id == session_id)
        async with self._session() as session:
            found: RenovationSession | None = await session.scalar(query)
            return found

    async def latest_messages(self, session_id: UUID, *, limit: int) -> list[ChatMessage]:
        """Return the last `limit` messages of a conversation, oldest first."""
        query = (
            select(ChatMessage)
            .where(ChatMessage.session_id == session_id)
            .order_by(ChatMessage.id.desc())
            .limit(limit)
        )
        async with self._session() as session:
            return list(await session.scalars(query))[::-1]

    async def add_message(
        self,
        session_id: UUID,
        *,
        role: str,
        content: str,
        attachments: Sequence[dict[str, Any]] = (),
    ) -> ChatMessage:
        """Append a message to a conversation."""
        added = ChatMessage(
            session_id=session_id, role=role, content=content, attachments=list(attachments)
        )
        async with self._session.begin() as session:
            session.add(added)
        return added

    async def list_styles(self) -> list[Style]:
        """Return the whole style catalog by name."""
        async with self._session() as session:
            return list(await session.scalars(select(Style).order_by(Style.name)))

    async def find_styles(self, names: Sequence[str]) -> list[Style]:
        """Return the styles with these names, written in any case, with spaces or hyphens."""
        keys = [name.strip().lower().replace(" ", "-") for name in names]
        async with self._session() as session:
            query = select(Style).where(Style.id.in_(keys)).order_by(Style.name)
            return list(await session.scalars(query))

    async def list_products(
        self, *, category: str | None, style: str | None, limit: int
    ) -> list[Product]:
        """Return products by name, of one category and one style or of all."""
        query = select(Product).order_by(Product.name)
        if category is not None:
            query = query.where(Product.category == category)
        if style is not None:
            query = query.where(Product.style_id == style)
        async with self._session() as session:
            return list(await session.scalars(query.limit(limit)))

    async def search_products(
        self, text: str, *, max_price_usd: int | None, limit: int
    ) -> list[Product]:
        """Return products whose name, category or material has a word of this, cheapest first."""
        columns = (Product.name, Product.category, Product.material)
        words = text.split()[:_SEARCH_WORDS]
        matches = [c.icontains(word, autoescape=True) for word in words for c in columns]
        query = select(Product).where(or_(false(), *matches))
        query = query.order_by(Product.price_usd, Product.id)
        if max_price_usd is not None:
            query = query.where(Product.price_usd <= max_price_usd)
        async with self._session() as session:
            return list(await session.scalars(query.limit(limit)))
