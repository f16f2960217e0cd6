"""The tools the agent may use; each returns text for the model and data for the page."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field

from renovation.repository import Repository

ALLOWED_TOOLS = frozenset({"get_style_examples", "search_products"})
"""Whatever else a model asks for is refused, however it came to ask."""

_PRODUCTS_SHOWN = 5

ToolAnswer = tuple[str, list[dict[str, Any]]]
"""What the model reads, and the same as data."""


def agent_tools(repository: Repository) -> list[BaseTool]:
    """Return the tools, bound to this database."""

    async def get_style_examples(
        styles: Annotated[
            list[str], Field(min_length=1, max_length=5, description="Names of design styles.")
        ],
    ) -> ToolAnswer:
        """Look up design styles: description, palette, materials and an example room."""
        return _answer(
            "styles",
            [
                {
                    "name": style.name,
                    "description": style.description,
                    "palette": style.palette,
                    "materials": style.materials,
                    "example": style.example,
                }
                for style in await repository.find_styles(styles)
            ],
        )

    async def search_products(
        query: Annotated[str, Field(min_length=1, max_length=100, description="What to look for.")],
        max_price_usd: Annotated[
            int | None, Field(gt=0, description="The most one piece may cost, in US dollars.")
        ] = None,
    ) -> ToolAnswer:
        """Search the catalog for furniture, lamps, tiles and other products with prices."""
        found = await repository.search_products(
            query, max_price_usd=max_price_usd, limit=_PRODUCTS_SHOWN
        )
        return _answer(
            "products",
            [
                {
                    "name": product.name,
                    "category": product.category,
                    "style": product.style_id,
                    "material": product.material,
                    "priceUsd": product.price_usd,
                }
                for product in found
            ],
        )

    return [_tool(get_style_examples), _tool(search_products)]


def _tool(function: Any) -> BaseTool:
    return StructuredTool.from_function(
        coroutine=function,
        response_format="content_and_artifact",
        # The model reads this and tries again; its arguments may quote the user, so none here.
        handle_validation_error=lambda _: "The arguments do not fit the tool's schema.",
    )


def _answer(kind: str, rows: Sequence[dict[str, Any]]) -> ToolAnswer:
    return json.dumps({kind: rows}), list(rows)
