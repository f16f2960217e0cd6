"""The HTTP half: sessions, catalogs, health, request ids and problems."""

import re
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from renovation.database import Database
from renovation.http_api import create_http_api
from renovation.repository import Repository


async def test_a_new_session_is_in_the_first_phase_and_can_be_read_back(
    http: httpx.AsyncClient,
) -> None:
    created = await http.post("/api/sessions", json={"userId": "ada", "title": "Kitchen"})
    assert created.status_code == 201
    body = created.json()
    assert (body["userId"], body["title"], body["phase"]) == ("ada", "Kitchen", "INTAKE")
    assert body["createdAt"].endswith("Z")
    assert (await http.get(created.headers["location"])).json() == body


async def test_a_session_needs_no_body(http: httpx.AsyncClient) -> None:
    assert (await http.post("/api/sessions")).json()["userId"] is None


async def test_sessions_are_listed_newest_first_and_by_user(http: httpx.AsyncClient) -> None:
    user = uuid4().hex
    ids = [
        (await http.post("/api/sessions", json={"userId": user})).json()["sessionId"]
        for _ in range(3)
    ]
    listed = (await http.get("/api/sessions", params={"userId": user, "limit": 2})).json()
    assert [session["sessionId"] for session in listed] == ids[:0:-1]


async def test_a_new_session_has_no_messages(http: httpx.AsyncClient, session_id: str) -> None:
    assert (await http.get(f"/api/sessions/{session_id}/messages")).json() == []


async def test_the_style_catalog_is_seeded(http: httpx.AsyncClient) -> None:
    styles = (await http.get("/api/styles")).json()
    assert len(styles) >= 8
    assert {"id", "name", "description", "palette", "materials", "example"} == set(styles[0])


async def test_products_can_be_filtered_by_category_and_style(http: httpx.AsyncClient) -> None:
    assert len((await http.get("/api/products")).json()) >= 20
    query = {"category": "lamp", "style": "japandi"}
    (lamp,) = (await http.get("/api/products", params=query)).json()
    assert lamp["name"] == "Andon floor lamp"


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_is_well(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 200


@pytest.mark.parametrize("offered", ["abc", "A-z_0.9", "x" * 64])
async def test_an_acceptable_request_id_comes_back(
    http: httpx.AsyncClient, offered: str | None
) -> None:
    response = await http.get("/health", headers={"X-Request-ID": offered})
    assert response.headers.get_list("x-request-id") == [offered]


@pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "a\u00e9", "{}", None])
async def test_any_other_request_id_is_replaced(
    http: httpx.AsyncClient, offered: str | None
) -> None:
    headers = {} if offered is None else {"X-Request-ID": offered.encode()}
    response = await http.get("/health", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/nowhere", f"/api/sessions/{uuid4()}"])
async def test_what_is_not_there_is_a_404_problem(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path, headers={"X-Request-ID": "r-1"})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["instance"], problem["requestId"]) == (404, path, "r-1")


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        ("/api/sessions/s3cret", "sessionId", "must be a UUID"),
        ("/api/sessions?limit=0", "limit", "must be at least 1"),
        ("/api/sessions?limit=s3cret", "limit", "must be a whole number"),
    ],
)
async def test_what_is_not_valid_in_a_url_is_a_422_problem_without_echo(
    http: httpx.AsyncClient, path: str, field: str, message: str
) -> None:
    response = await http.get(path)
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": field, "message": message}]
    assert "s3cret" not in response.text.replace(path, "")


@pytest.mark.parametrize(
    ("sent", "field", "message"),
    [
        (b'{"userId": 3}', "userId", "must be a string"),
        (b'{"title": ""}', "title", "must have at least 1 characters"),
        (b'"s3cret"', "payload", "must be an object"),
        (b'{"s3cret', "payload", "must be JSON"),
    ],
)
async def test_what_is_not_valid_in_a_body_is_a_422_problem_without_echo(
    http: httpx.AsyncClient, sent: bytes, field: str, message: str
) -> None:
    headers = {"content-type": "application/json"}
    response = await http.post("/api/sessions", content=sent, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": field, "message": message}]
    assert "s3cret" not in response.text


async def test_a_failure_is_a_500_problem_that_says_nothing_but_the_request_id(
    tmp_path: Path,
) -> None:
    broken = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")  # no tables
    api = create_http_api(lifespan=None)
    api.state.database, api.state.repository = broken, Repository(broken.session)
    async with client_of(api) as http:
        response = await http.get("/api/styles", headers={"X-Request-ID": "r-2"})
    await broken.close()
    assert response.status_code == 500
    assert response.headers.get_list("x-request-id") == ["r-2"]
    assert response.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong on our side.",
        "instance": "/api/styles",
        "requestId": "r-2",
    }


@pytest.mark.usefixtures("driver_threads_end")
async def test_readiness_is_503_without_a_database_and_liveness_is_not(tmp_path: Path) -> None:
    missing = Database(f"sqlite+aiosqlite:///{tmp_path / 'no' / 'such' / 'folder.sqlite3'}")
    api = create_http_api(lifespan=None)
    api.state.database = missing
    async with client_of(api) as http:
        assert (await http.get("/health/ready")).status_code == 503
        assert (await http.get("/health/live")).status_code == 200
    await missing.close()


def client_of(api: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")
