"""A view over a real store, spoken to in-process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from otlp_requests import SMALL_LIMITS, URL
from starlette.testclient import TestClient

from turntrace.store.sqlite import SqliteStore
from turntrace.view.app import build_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "view.sqlite")
    yield store
    store.close()


@pytest.fixture
def client(store: SqliteStore) -> Iterator[TestClient]:
    with TestClient(build_app(store, limits=SMALL_LIMITS), base_url=URL) as client:
        yield client
