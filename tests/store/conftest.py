"""Opens every kind of store, so that one suite tests them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from turntrace.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turntrace.store.contract import TraceStore

OPENERS: dict[str, Callable[[Path], TraceStore]] = {
    "sqlite": lambda directory: SqliteStore(directory / "store" / "view.sqlite"),
}
"""Opens the store of a directory, the same one again on the second call."""


@pytest.fixture(params=OPENERS)
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], TraceStore]]:
    opened = []

    def open_it() -> TraceStore:
        store = OPENERS[request.param](tmp_path)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], TraceStore]) -> TraceStore:
    return open_store()
