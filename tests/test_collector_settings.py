"""Certificates and proxies in the environment: one warning each, by name, without secrets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from certificates import Authority, Identity

from turntrace.errors import ConfigurationError
from turntrace.settings import load

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def us(authority: Authority) -> Identity:
    return authority.issue("us.test")


@pytest.mark.parametrize("signal", ["", "TRACES_"])
def test_certificate_files_are_taken_by_both_names(
    signal: str, authority: Authority, us: Identity
) -> None:
    settings, warnings = load(
        environ={
            f"{PREFIX}{signal}CERTIFICATE": str(authority.bundle),
            f"{PREFIX}{signal}CLIENT_CERTIFICATE": str(us.certificate),
            f"{PREFIX}{signal}CLIENT_KEY": str(us.key),
        }
    )
    assert warnings == []
    assert settings.certificate_file == str(authority.bundle)
    assert settings.client_certificate_file == str(us.certificate)
    assert settings.client_key_file == str(us.key)


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"])
@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "huge", "garbage", "empty"])
def test_a_file_that_cannot_be_used_is_one_warning_that_names_the_variable(
    name: str, kind: str, tmp_path: Path, us: Identity
) -> None:
    path = tmp_path / "bad.pem"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(2**33)
    elif kind != "missing":
        path.write_bytes(b"garbage" if kind == "garbage" else b"")
    beside = {"CLIENT_KEY": {f"{PREFIX}CLIENT_CERTIFICATE": str(us.certificate)}}.get(name, {})
    settings, (warning,) = load(environ={**beside, f"{PREFIX}{name}": str(path)})
    assert warning.startswith(f"{PREFIX}C")
    assert str(path) in warning or "belong together" in warning
    used = "the system's certificates" if name == "CERTIFICATE" else "no client certificate"
    assert warning.endswith(f"; using {used}")
    assert settings.certificate_file == settings.client_key_file == ""


def test_a_key_of_another_certificate_is_said_and_neither_is_used(
    authority: Authority, us: Identity
) -> None:
    other = authority.issue("other.test")
    settings, (warning,) = load(
        environ={
            f"{PREFIX}CLIENT_CERTIFICATE": str(us.certificate),
            f"{PREFIX}CLIENT_KEY": str(other.key),
        }
    )
    assert warning.startswith(f"{PREFIX}CLIENT_CERTIFICATE=")
    assert "belong together" in warning
    assert settings.client_certificate_file == settings.client_key_file == ""


def test_a_key_with_a_password_is_said_and_nobody_is_asked_for_it(authority: Authority) -> None:
    locked = authority.issue("locked.test", password=b"secret")
    _, (warning,) = load(
        environ={
            f"{PREFIX}CLIENT_CERTIFICATE": str(locked.certificate),
            f"{PREFIX}CLIENT_KEY": str(locked.key),
        }
    )
    assert "without a password" in warning


def test_a_key_alone_is_of_no_use(us: Identity) -> None:
    _, (warning,) = load(environ={f"{PREFIX}CLIENT_KEY": str(us.key)})
    assert "is of no use without a client certificate; using no client" in warning


def test_files_in_code_that_cannot_be_used_are_refused(us: Identity, authority: Authority) -> None:
    other = str(authority.issue("other.test").key)
    for given in (
        {"certificate_file": "/nope"},
        {"client_key_file": str(us.key)},
        {"client_certificate_file": str(us.certificate), "client_key_file": other},
    ):
        with pytest.raises(ConfigurationError):
            load(dict(given), {})


# Proxies.


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy:3128", "http://proxy:3128"),
        ("HTTPS://proxy/", "https://proxy"),
        ("http://me:s%40@proxy:3128/", "http://me:s%40@proxy:3128"),
        ("http://[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_a_proxy_is_taken_with_or_without_scheme_and_credentials(text: str, taken: str) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        settings, warnings = load(environ={name: text})
        assert warnings == []
        assert getattr(settings, name.lower()) == taken


@pytest.mark.parametrize(
    "text",
    [
        "socks5://me:s3cret@proxy:1080",
        "http://me:s3/cret@proxy:3128",
        "http://me:s3cret@pro xy:3128",
        "http://me:s3cret@proxy:99999",
        "http://me:s3cret@",
        "http://me:s3cret@proxy\r\nx: y",
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_warning_without_its_credentials(text: str) -> None:
    settings, (warning,) = load(environ={"HTTPS_PROXY": text})
    assert settings.https_proxy == ""
    assert warning.startswith("HTTPS_PROXY=(hidden) ")
    assert warning.endswith("; using no proxy")
    assert "s3" not in warning


def test_lower_case_wins_and_credentials_are_not_in_the_repr() -> None:
    settings, _ = load(environ={"https_proxy": "http://me:s3cret@low:1", "HTTPS_PROXY": "up:1"})
    assert settings.https_proxy == "http://me:s3cret@low:1"
    assert "s3cret" not in repr(settings)


def test_a_proxy_header_of_a_request_to_a_cgi_program_is_no_setting() -> None:
    environ = {"HTTP_PROXY": "evil:1", "REQUEST_METHOD": "GET"}
    assert load(environ=environ)[0].http_proxy == ""


def test_hosts_without_a_proxy_are_a_list() -> None:
    settings, warnings = load(environ={"NO_PROXY": "localhost, .svc,10.0.0.0/8,<local>,[::1]:1,"})
    assert warnings == []
    assert settings.no_proxy == ("localhost", ".svc", "10.0.0.0/8", "<local>", "[::1]:1")
