"""Tables of the generated pages, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def code(names: str) -> str:
    """Return each of several names, separated by commas, as code."""
    return ", ".join(f"`{name}`" for name in names.split(", "))


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"\n{row(head)}\n|{'---|' * len(head)}\n"
    for cells in rows:
        yield f"{row(cells)}\n"


def row(cells: tuple[str, ...]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"
