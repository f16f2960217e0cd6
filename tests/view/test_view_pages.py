"""The pages as HTML, their files, and what every answer forbids a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from live_turns import make_turn
from otlp_requests import PROTOBUF, URL, make_request, make_span, make_trace_id
from starlette.testclient import TestClient

from turntrace.view.app import build_app
from turntrace.view.static_files import FOLDER, StaticFiles

if TYPE_CHECKING:
    from pathlib import Path

    from turntrace.store.sqlite import SqliteStore

TOKEN = "s3cret token"  # noqa: S105 - made up
HTML = {"accept": "text/html,*/*;q=0.8"}


def _post(client: TestClient, *spans: object, **headers: str) -> None:
    body = make_request(spans).SerializeToString()  # type: ignore[arg-type]
    response = client.post("/v1/traces", content=body, headers=PROTOBUF | headers)
    assert response.status_code == 200


def test_front_page_is_a_quick_start_until_something_arrives(client: TestClient) -> None:
    page = client.get("/").text
    for said in (
        "No turn yet",
        "turntrace run -- uvicorn app:app",
        "turntrace.configure()\nturntrace.instrument()",
        f"{URL}/v1/traces",
        "where turntrace sends by default",
    ):
        assert said in page
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in page
    _post(client, make_turn())
    page = client.get("/").text
    assert "No turn yet" not in page
    assert "data-rows" in page


def test_quick_start_of_another_port_says_where_to_send(store: SqliteStore) -> None:
    with TestClient(build_app(store), base_url="http://127.0.0.1:9999") as client:
        page = client.get("/").text
    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9999" in page
    assert "by default." not in page


def test_page_of_a_stored_turn_is_found_in_either_case(client: TestClient) -> None:
    trace_id = make_trace_id()
    _post(client, make_span(trace_id))
    for given in (trace_id.hex(), trace_id.hex().upper()):
        response = client.get(f"/turns/{given}")
        assert response.status_code == 200
        assert trace_id.hex() in response.text


@pytest.mark.parametrize("trace_id", ["f" * 32, "x", "%3Cimg%20src=x%3E", "a" * 3000])
def test_unknown_turn_is_a_page_that_says_so(client: TestClient, trace_id: str) -> None:
    response = client.get(f"/turns/{trace_id}")
    assert response.status_code == 404
    assert "No such turn" in response.text
    assert "<img" not in response.text
    assert len(response.text) < 10_000


@pytest.mark.parametrize(
    "path", ["/", "/turns/x", "/api/turns", "/nope", "/static/base.css", "/static/nope", "/api/x"]
)
def test_every_answer_forbids_what_a_browser_might_do(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_refusals_of_the_gate_have_the_headers_too(client: TestClient) -> None:
    response = client.get("/", headers={"host": "evil.example"})
    assert response.status_code == 403
    assert "content-security-policy" in response.headers


def test_pages_hold_nothing_that_the_policy_refuses(client: TestClient) -> None:
    pages = [client.get("/").text, client.get("/turns/x").text]
    _post(client, make_turn())
    pages.append(client.get("/").text)
    for page in pages:
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", page)
        assert not re.search(r"(src|href)=\"(https?:)?//", page)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("base.css", "text/css; charset=utf-8"),
        ("js/base.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_file_has_its_type_and_is_checked_again_without_a_version(
    client: TestClient, name: str, media_type: str
) -> None:
    response = client.get(f"/static/{name}")
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    assert response.headers["content-type"] == media_type
    assert response.headers["cache-control"] == "no-cache"
    again = client.get(f"/static/{name}", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_file_of_a_page_carries_the_present_version_and_is_kept(client: TestClient) -> None:
    addresses = re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", client.get("/").text)
    assert len(addresses) > 3
    for address in addresses:
        response = client.get(address)
        assert response.status_code == 200, address
        assert response.headers["cache-control"].endswith("max-age=31536000, immutable")


def test_file_under_an_older_version_is_not_kept(client: TestClient) -> None:
    response = client.get("/static/v-0123456789ab/base.css")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")


def test_version_follows_the_files(tmp_path: Path) -> None:
    file = tmp_path / "a.css"
    file.write_text("a {}")
    static = StaticFiles(tmp_path)
    before = static.url("a.css")
    assert static.url("a.css") == before
    file.write_text("b { }")
    assert static.url("a.css") != before


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "..%2Fapp.py",
        "%2e%2e/app.py",
        "js/..%2F..%2Fapp.py",
        "..%5Capp.py",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "js",
        "",
        "base.css%00.js",
        "v-0123456789ab/..%2Fapp.py",
        "vendor/uPlot.LICENSE",
        "x" * 5000,
    ],
)
def test_nothing_but_the_pages_files_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


def test_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "secret.css").write_text("secret")
    (tmp_path / "static" / "a.css").symlink_to(tmp_path / "secret.css")
    assert not StaticFiles(tmp_path / "static").has("a.css")


def test_missing_chart_library_is_said_with_the_command(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _post(client, make_turn())
    monkeypatch.setattr(StaticFiles, "has", lambda self, path: False)
    page = client.get("/").text
    assert "make front-end" in page
    assert "install turntrace again" in page
    assert "data-rows" in page


@pytest.fixture
def guarded(store: SqliteStore) -> TestClient:
    return TestClient(build_app(store, token=TOKEN), base_url=URL, follow_redirects=False)


def test_browser_gets_a_cookie_for_the_token_and_the_token_leaves_the_address(
    guarded: TestClient,
) -> None:
    response = guarded.get("/", params={"token": TOKEN, "session": "a b"}, headers=HTML)
    assert (response.status_code, response.headers["location"]) == (303, "/?session=a+b")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    for path in ("/", "/api/turns", "/api/health"):
        assert guarded.get(path).status_code == 200


def test_cookie_opens_nothing_that_writes(guarded: TestClient) -> None:
    guarded.get("/", params={"token": TOKEN})
    body = make_request([make_turn()]).SerializeToString()
    assert guarded.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 401


def test_quick_start_says_how_to_send_with_the_token_and_not_what_it_is(
    guarded: TestClient,
) -> None:
    guarded.get("/", params={"token": TOKEN})
    page = guarded.get("/").text
    assert "No turn yet" in page
    assert "OTEL_EXPORTER_OTLP_HEADERS" in page
    assert "Bearer%20TOKEN" in page
    assert TOKEN not in page


@pytest.mark.parametrize("path", ["/", "/turns/x", "/nope"])
def test_browser_without_the_token_is_asked_for_it(guarded: TestClient, path: str) -> None:
    response = guarded.get(path, headers=HTML)
    assert response.status_code == 401
    assert '<input name="token" type="password"' in response.text
    assert "was not the token" not in response.text


def test_wrong_token_is_said_and_gives_no_cookie(guarded: TestClient) -> None:
    response = guarded.get("/", params={"token": "wrong"}, headers=HTML)
    assert response.status_code == 401
    assert "was not the token" in response.text
    assert "set-cookie" not in response.headers


def test_made_up_cookie_is_refused(guarded: TestClient) -> None:
    guarded.get("/", params={"token": TOKEN})
    ((name, _),) = guarded.cookies.items()
    guarded.cookies.clear()
    for value in (TOKEN, "", "é", "0" * 64):
        response = guarded.get("/api/turns", headers={"cookie": f"{name}={value}".encode()})
        assert response.status_code == 401


def test_files_of_the_token_page_need_no_token(guarded: TestClient) -> None:
    page = guarded.get("/", headers=HTML).text
    for address in re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", page):
        assert guarded.get(address).status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/%5Cevil.example", "/%2F%2Fevil.example"])
def test_token_never_sends_the_browser_to_another_server(guarded: TestClient, path: str) -> None:
    response = guarded.get(f"{URL}{path}", params={"token": TOKEN})
    assert response.status_code == 303
    assert re.match(r"/[^/\\]", response.headers["location"])


@pytest.mark.parametrize("path", ["/api/turns", "/api/live", "/v1/traces"])
def test_programs_send_the_token_as_a_header_only(guarded: TestClient, path: str) -> None:
    response = guarded.get(path, params={"token": TOKEN})
    assert response.status_code == 401
    assert "Authorization: Bearer" in response.text
