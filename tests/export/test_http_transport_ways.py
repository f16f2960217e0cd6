"""Claims about the way to a collector: TLS with certificates of one's own, and proxies."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from behaviour import Behaviour
from certificates import Authority
from collected import credential_of
from collector import LocalCollector, running_collector, wait_until
from hypothesis import given
from hypothesis import strategies as st
from proxy import Proxy, running_proxy
from urllib3.util import parse_url

from turntrace.errors import ConfigurationError
from turntrace.export.transport import connection
from turntrace.export.transport.http_transport import Fate, HttpTransport, Outcome
from turntrace.export.transport.proxies import Proxies, is_exempt
from turntrace.export.transport.tls import Certificates
from turntrace.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT = 0.4
LATE = 1.5
NAME = "collector.test"


def transport_to(endpoint: str, **settings: Any) -> HttpTransport:
    defaults = {"headers": {}, "timeout_seconds": 5.0, "compression": "none"}
    return HttpTransport(endpoint=endpoint, **(defaults | settings))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(authority: Authority) -> Iterator[LocalCollector]:
    with running_collector(tls=authority.server_context("127.0.0.1", NAME)) as running:
        yield running


@pytest.fixture
def plain() -> Iterator[LocalCollector]:
    with running_collector() as running:
        yield running


def fate_of(endpoint: str, **settings: Any) -> Outcome:
    made = transport_to(endpoint, **settings)
    try:
        return made.post(b"")
    finally:
        made.close()


# TLS.


def test_a_collector_of_a_private_authority_is_reached_with_its_bundle_only(
    secure: LocalCollector, authority: Authority, tmp_path: Path
) -> None:
    trusting = Certificates(certificate_file=str(authority.bundle))
    other = Certificates(certificate_file=str(Authority(tmp_path, "other").bundle))
    assert fate_of(secure.endpoint, certificates=trusting).fate is Fate.TAKEN
    failed = Outcome(Fate.UNKNOWN, "SSLCertVerificationError")
    assert fate_of(secure.endpoint) == failed
    assert fate_of(secure.endpoint, certificates=other) == failed
    assert len(secure.collected.requests) == 1


def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    with running_collector(tls=authority.server_context("other.test")) as other:
        trusting = Certificates(certificate_file=str(authority.bundle))
        outcome = fate_of(other.endpoint, certificates=trusting)
    assert outcome == Outcome(Fate.UNKNOWN, "SSLCertVerificationError")


def test_a_collector_that_asks_who_we_are_is_told_by_certificate_and_key(
    authority: Authority,
) -> None:
    us = authority.issue("us.test")
    context = authority.server_context("127.0.0.1", asks_for_client=True)
    named = {
        "certificate_file": str(authority.bundle),
        "client_certificate_file": str(us.certificate),
        "client_key_file": str(us.key),
    }
    with running_collector(tls=context) as strict:
        assert fate_of(strict.endpoint, certificates=Certificates(**named)).fate is Fate.TAKEN
        nameless = Certificates(certificate_file=str(authority.bundle))
        assert fate_of(strict.endpoint, certificates=nameless).fate is Fate.UNKNOWN
        assert len(strict.collected.requests) == 1


def test_a_bundle_that_changed_is_read_anew_for_the_next_connection(
    secure: LocalCollector, authority: Authority, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Authority(tmp_path, "other").bundle.read_bytes())
    made = transport_to(secure.endpoint, certificates=Certificates(certificate_file=str(bundle)))
    assert made.post(b"").reason == "SSLCertVerificationError"
    bundle.write_bytes(authority.bundle.read_bytes() + b"\n")
    assert made.post(b"").fate is Fate.TAKEN
    bundle.unlink()
    assert made.post(b"").fate is Fate.TAKEN, "the connection that is open needs no file"
    made.disconnect()
    assert made.post(b"") == Outcome(Fate.UNKNOWN, "FileNotFoundError")
    made.close()


@pytest.mark.parametrize("size", [10, 40_000_000], ids=["small", "large"])
@pytest.mark.parametrize("step", [Behaviour(do="hang", reads=False), Behaviour(do="drip")])
def test_no_collector_behind_tls_holds_a_request_past_its_time(
    secure: LocalCollector, authority: Authority, step: Behaviour, size: int
) -> None:
    secure.play(step)
    started = time.monotonic()
    outcome = post_once(
        secure.endpoint,
        b"x" * size,
        certificates=Certificates(certificate_file=str(authority.bundle)),
        timeout_seconds=TIMEOUT,
    )
    assert TIMEOUT * 0.9 <= time.monotonic() - started < LATE
    assert outcome == Outcome(Fate.UNKNOWN, "TimeoutError")


def post_once(endpoint: str, body: bytes, **settings: Any) -> Outcome:
    made = transport_to(endpoint, **settings)
    try:
        return made.post(body)
    finally:
        made.close()


class SlowTaker:
    """A TLS peer that reads its request so slowly that each record is in time, and all is not."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._context = context
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        accepted, _ = self._listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with self._context.wrap_socket(accepted, server_side=True) as secured:
            try:
                while not self._is_over.wait(0.02) and secured.recv(16_384):
                    pass
            except OSError:
                pass

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(5.0)
        self._listener.close()


def test_a_peer_that_reads_slowly_through_tls_gains_no_time(authority: Authority) -> None:
    slow = SlowTaker(authority.server_context("127.0.0.1"))
    started = time.monotonic()
    outcome = post_once(
        f"https://127.0.0.1:{slow.port}/v1/traces",
        b"x" * 40_000_000,
        certificates=Certificates(certificate_file=str(authority.bundle)),
        timeout_seconds=TIMEOUT,
    )
    assert time.monotonic() - started < LATE
    assert outcome == Outcome(Fate.UNKNOWN, "TimeoutError")
    slow.close()


def test_a_peer_that_never_shakes_hands_holds_no_request_past_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        port = silent.getsockname()[1]
        outcome = fate_of(f"https://127.0.0.1:{port}/v1/traces", timeout_seconds=TIMEOUT)
    assert TIMEOUT * 0.9 <= time.monotonic() - started < LATE
    assert outcome == Outcome(Fate.UNKNOWN, "TimeoutError")


def test_another_thread_can_end_a_handshake_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        made = transport_to(f"https://127.0.0.1:{port}/", timeout_seconds=30.0)
        thread = threading.Thread(target=made.post, args=(b"",))
        thread.start()
        accepted, _ = silent.accept()
        assert accepted.recv(1), "the handshake has begun"
        made.close()
        thread.join(5.0)
        assert not thread.is_alive()
        accepted.close()


# Proxies.


@pytest.fixture
def plain_proxy(plain: LocalCollector) -> Iterator[Proxy]:
    with running_proxy(plain.port) as running:
        yield running


@pytest.fixture
def tunnel(secure: LocalCollector) -> Iterator[Proxy]:
    with running_proxy(secure.port) as running:
        yield running


def test_a_plain_collector_is_reached_through_a_forwarding_proxy(
    plain: LocalCollector, plain_proxy: Proxy
) -> None:
    made = transport_to(
        f"http://{NAME}:4318/v1/traces?x=1",
        headers={"authorization": "token"},
        proxies=Proxies(http=plain_proxy.url_with("me:s3%40cret")),
    )
    assert [made.post(b"").fate for _ in range(3)] == [Fate.TAKEN] * 3
    made.close()
    assert plain_proxy.state.hosts == [f"POST {NAME}:4318"] * 3
    assert set(plain_proxy.state.credentials) == {credential_of("Basic bWU6czNAY3JldA==")}
    (request, *_) = plain.collected.requests
    assert (request.path, request.credential) == ("/v1/traces?x=1", credential_of("token"))
    assert request.proxy_credential == ""


def test_a_secure_collector_is_reached_through_a_tunnel_that_sees_no_header_of_ours(
    secure: LocalCollector, tunnel: Proxy, authority: Authority
) -> None:
    made = transport_to(
        f"https://{NAME}/v1/traces",
        headers={"x-api-key": "token"},
        proxies=Proxies(https=tunnel.url_with("me:secret")),
        certificates=Certificates(certificate_file=str(authority.bundle)),
    )
    assert [made.post(b"").fate for _ in range(3)] == [Fate.TAKEN] * 3
    made.close()
    assert tunnel.state.hosts == [f"CONNECT {NAME}:443"]
    assert tunnel.state.seen_headers == {"host", "proxy-authorization"}
    assert "proxy-authorization" not in secure.collected.requests[0].header_names
    assert "x-api-key" in secure.collected.requests[0].header_names


def test_a_proxy_that_is_itself_behind_tls_is_used(
    secure: LocalCollector, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(cafile=str(authority.bundle))
    context.sslsocket_class = connection._OuterSocket
    monkeypatch.setattr(connection, "_proxy_contexts", [context])
    with running_proxy(secure.port, tls=authority.server_context("127.0.0.1")) as proxy:
        made = transport_to(
            f"https://{NAME}/v1/traces",
            proxies=Proxies(https=proxy.url),
            certificates=Certificates(certificate_file=str(authority.bundle)),
            timeout_seconds=2.0,
        )
        assert [made.post(b"x" * 200_000).fate for _ in range(2)] == [Fate.TAKEN] * 2
        secure.play(
            Behaviour(do="json", headers={"connection": "close"}),
        )
        assert made.post(b"").fate is Fate.TAKEN
        secure.play(Behaviour(do="drip", drip_seconds=0.2))
        started = time.monotonic()
        assert made.post(b"").reason == "TimeoutError"
        assert time.monotonic() - started < 4.0
        made.close()


def test_a_handshake_within_that_of_a_proxy_gains_no_time(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(cafile=str(authority.bundle))
    context.sslsocket_class = connection._OuterSocket
    monkeypatch.setattr(connection, "_proxy_contexts", [context])
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running_proxy(silent.getsockname()[1], tls=authority.server_context("127.0.0.1")) as proxy,
    ):
        started = time.monotonic()
        outcome = fate_of(
            f"https://{NAME}/", proxies=Proxies(https=proxy.url), timeout_seconds=TIMEOUT
        )
        assert time.monotonic() - started < LATE
    assert outcome == Outcome(Fate.UNKNOWN, "TimeoutError")


def test_a_proxy_that_asks_for_credentials_loses_nothing(
    plain_proxy: Proxy, tunnel: Proxy, authority: Authority
) -> None:
    certificates = Certificates(certificate_file=str(authority.bundle))
    for proxy in (plain_proxy, tunnel):
        proxy.state.credential = "Basic bWU6c2VjcmV0"
    wanting = Proxies(http=plain_proxy.url, https=tunnel.url)
    knowing = Proxies(http=plain_proxy.url_with("me:secret"), https=tunnel.url_with("me:secret"))
    for url in (f"http://{NAME}/", f"https://{NAME}/"):
        refused = Outcome(Fate.UNKNOWN, "proxy_407")
        assert fate_of(url, proxies=wanting, certificates=certificates) == refused
        assert fate_of(url, proxies=knowing, certificates=certificates).fate is Fate.TAKEN


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("down", "ConnectionRefusedError"), ("hangs", "TimeoutError"), ("refuses", "_502")],
)
def test_a_proxy_that_fails_loses_nothing_and_takes_no_longer_than_the_time(
    plain_proxy: Proxy, tunnel: Proxy, scheme: str, fault: str, reason: str
) -> None:
    proxy = plain_proxy if scheme == "http" else tunnel
    if fault == "down":
        proxy.go_down()
    proxy.state.is_hanging = fault == "hangs"
    proxy.state.is_refusing = fault == "refuses"
    started = time.monotonic()
    ways = Proxies(http=proxy.url, https=proxy.url)
    outcome = fate_of(f"{scheme}://{NAME}/", proxies=ways, timeout_seconds=TIMEOUT)
    assert time.monotonic() - started < LATE
    assert outcome.fate is Fate.UNKNOWN
    assert outcome.reason.endswith(reason)


def test_a_proxy_that_drips_its_answer_gains_no_time(tunnel: Proxy) -> None:
    tunnel.state.drips = True
    started = time.monotonic()
    outcome = fate_of(
        f"https://{NAME}/", proxies=Proxies(https=tunnel.url), timeout_seconds=TIMEOUT
    )
    assert outcome == Outcome(Fate.UNKNOWN, "TimeoutError")
    assert time.monotonic() - started < LATE


def test_a_collector_on_this_machine_is_dialled_directly(
    plain: LocalCollector, plain_proxy: Proxy
) -> None:
    assert fate_of(plain.endpoint, proxies=Proxies(http=plain_proxy.url)).fate is Fate.TAKEN
    assert plain_proxy.state.hosts == []


@pytest.mark.parametrize(
    ("host", "entries", "exempt"),
    [
        ("localhost", (), True),
        ("app.localhost", (), True),
        ("127.9.9.9", (), True),
        ("[::1]", (), True),
        ("127.example.com", (), False),
        ("example.com", (), False),
        ("example.com", ("example.com",), True),
        ("EXAMPLE.com.", ("example.COM",), True),
        ("a.example.com", ("example.com",), True),
        ("a.example.com", (".example.com",), True),
        ("a.example.com", ("*.example.com",), True),
        ("badexample.com", ("example.com",), False),
        ("example.com.evil", ("example.com",), False),
        ("example.com", ("example.com:443",), True),
        ("example.com", ("example.com:80",), False),
        ("example.com", ("*",), True),
        ("example.com", ("", ".", "<local>"), False),
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("10.1.2.3", ("10.1.2.3",), True),
        ("10.1.2.3", ("10.1.2.3:443",), True),
        ("10.1.2.3", ("10.1.2.3:80",), False),
        ("11.1.2.3", ("10.0.0.0/8", "example.com"), False),
        ("[2001:db8::1]", ("2001:db8::/32",), True),
        ("[2001:db8::1]", ("[2001:db8::1]:443",), True),
        ("[2001:db8::1]", ("[2001:db8::1]",), True),
    ],
)
def test_no_proxy_is_read_as_others_read_it(
    host: str, entries: tuple[str, ...], exempt: bool
) -> None:
    assert is_exempt(host, 443, entries) is exempt


@given(
    st.text(max_size=30) | st.builds("http://{}@{}:{}".format, st.text(), st.text(), st.integers()),
    st.text(max_size=30),
)
def test_whatever_proxy_is_taken_from_the_environment_can_be_used(proxy: str, exempt: str) -> None:
    settings, _ = load(environ={"HTTPS_PROXY": proxy, "NO_PROXY": exempt})
    chosen = Proxies(https=settings.https_proxy, exempt=settings.no_proxy)
    found = chosen.choose(parse_url("https://collector.example/"))
    assert found is None or (found.host and 0 < found.port < 65_536)
    for value in () if found is None else found.headers.values():
        assert value.isascii()
        assert value.isprintable()


def test_a_proxy_in_code_that_cannot_be_used_is_refused_without_its_credentials() -> None:
    with pytest.raises(ConfigurationError) as raised:
        transport_to("http://collector.test/", proxies=Proxies(http="ftp://me:s3cret@h"))
    assert "s3cret" not in str(raised.value)


def test_no_credentials_and_no_word_of_a_proxy_reach_a_log_line(
    plain_proxy: Proxy, tunnel: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for proxy in (plain_proxy, tunnel):
        proxy.state.credential = "something else"
    ways = Proxies(
        http=plain_proxy.url_with("me:canary-secret"), https=tunnel.url_with("me:canary-secret")
    )
    for url in (f"http://{NAME}/", f"https://{NAME}/"):
        for is_refusing in (False, True):
            plain_proxy.state.is_refusing = tunnel.state.is_refusing = is_refusing
            outcome = fate_of(url, proxies=ways)
            assert "canary" not in repr(outcome)
    assert len(plain_proxy.state.credentials) == len(tunnel.state.credentials) == 2
    assert "canary" not in caplog.text
    assert "canary" not in repr(ways)
    wait_until(lambda: plain_proxy.state.hosts)
