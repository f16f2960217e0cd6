"""Who may talk to the view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from otlp_requests import PROTOBUF, URL, make_request, make_span
from starlette.testclient import TestClient

from turntrace.view.app import build_app

if TYPE_CHECKING:
    from turntrace.store.sqlite import SqliteStore

TOKEN = "s3cret"  # noqa: S105 - made up
PATHS = ["/", "/api/health", "/api/traces", "/api/traces/x", "/nope"]
BODY = make_request([make_span(b"a 16 byte id ok!")]).SerializeToString()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:4318", "127.0.0.1", "127.0.0.1:4318", "127.0.0.2", "[::1]", "[::1]:1"],
)
def test_loopback_names_are_let_in(client: TestClient, host: str) -> None:
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4318",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "10.0.0.1",
        "[::]",
        "::1:4318x",
        "localhost:x",
        "localhost@evil.example",
    ],
)
def test_rebound_names_are_kept_out_everywhere(client: TestClient, host: str) -> None:
    for path in PATHS:
        assert client.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("hosts", [["localhost", "evil.example"], ["localhost"] * 2])
def test_other_than_one_host_header_is_kept_out(client: TestClient, hosts: list[str]) -> None:
    request = client.build_request("GET", "/api/health")
    del request.headers["host"]
    others = request.headers.multi_items()
    request.headers = httpx.Headers([*others, *(("Host", host) for host in hosts)])
    assert client.send(request).status_code == 403


def test_rebound_name_stores_nothing(client: TestClient, store: SqliteStore) -> None:
    headers = {**PROTOBUF, "host": "evil.example"}
    response = client.post("/v1/traces", content=BODY, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (
        403,
        "application/x-protobuf",
    )
    assert store.recent(1) == []


def test_browser_cannot_post_across_origins_without_asking(client: TestClient) -> None:
    """A page may send text/plain unasked, and nothing else; asking (OPTIONS) is not answered."""
    response = client.post("/v1/traces", content=BODY, headers={"content-type": "text/plain"})
    assert response.status_code == 415
    assert "access-control-allow-origin" not in client.options("/v1/traces").headers


def test_other_hosts_are_served_when_bound_to_them(store: SqliteStore) -> None:
    app = build_app(store, token=TOKEN, is_loopback=False)
    headers = {"host": "view.example", "authorization": f"Bearer {TOKEN}"}
    with TestClient(app, base_url=URL) as client:
        assert client.get("/api/health", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer s3cre",
        "Bearer s3crets",
        "Basic s3cret",
        "s3cret",
        "bearer:s3cret",
        "Bearer \xe9",
    ],
)
def test_without_the_token_nothing_is_answered(
    store: SqliteStore, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    with TestClient(build_app(store, token=TOKEN), base_url=URL) as client:
        responses = [client.get(path, headers=headers) for path in PATHS]
    assert {response.status_code for response in responses} == {401}
    assert {response.headers["www-authenticate"] for response in responses} == {"Bearer"}


def test_without_the_token_nothing_is_stored(store: SqliteStore) -> None:
    with TestClient(build_app(store, token=TOKEN), base_url=URL) as client:
        response = client.post("/v1/traces", content=BODY, headers=PROTOBUF)
    assert response.status_code == 401
    assert store.recent(1) == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_with_the_token_all_works(store: SqliteStore, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {TOKEN}"}
    with TestClient(build_app(store, token=TOKEN), base_url=URL, headers=headers) as client:
        assert client.post("/v1/traces", content=BODY, headers=PROTOBUF).status_code == 200
        assert len(client.get("/api/traces").json()["traces"]) == 1
