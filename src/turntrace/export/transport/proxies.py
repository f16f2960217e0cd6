"""Chooses the proxy between us and a collector, as the operator's variables ask for it."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from turntrace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One proxy, ready to be dialled."""

    host: str
    port: int
    is_secure: bool
    """Whether the proxy itself is spoken to over TLS."""
    headers: Mapping[str, str] = field(repr=False)
    """Its credentials, for the proxy only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Which proxy a collector is reached by; none at all by default."""

    http: str = field(default="", repr=False)
    """``http(s)://[USER:PASSWORD@]HOST[:PORT]`` for collectors at ``http://``."""

    https: str = field(default="", repr=False)
    """The same for collectors at ``https://``, which are tunnelled to."""

    exempt: tuple[str, ...] = ()
    """Hosts that are dialled directly: ``example.com`` and what is below it, ``host:port``, an
    address, a network like ``10.0.0.0/8``, or ``*`` for all. Loopback is always among them."""

    def choose(self, url: Url) -> Proxy | None:
        """Return the proxy for ``url``; None: dial it directly.

        Raises:
            ConfigurationError: The proxy's URL cannot be used; the text does not quote it.
        """
        text = self.https if url.scheme == "https" else self.http
        port = url.port or _DEFAULT_PORTS.get(url.scheme or "", 0)
        if not text or is_exempt(url.host or "", port, self.exempt):
            return None
        return _read(text)


def is_exempt(host: str, port: int, exempt: tuple[str, ...]) -> bool:
    """Return whether ``host`` is on this machine, or named by an entry of ``exempt``."""
    name = host.strip("[]").rstrip(".").lower()
    address = _address(name)
    if name == "localhost" or name.endswith(".localhost") or (address and address.is_loopback):
        return True
    return any(_is_named(name, address, port, entry.strip().lower()) for entry in exempt)


def _is_named(name: str, address: _Address | None, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    if address is not None:
        bare, separator, own_port = entry.partition("]:")
        if not separator and entry.count(":") == 1:
            bare, _, own_port = entry.partition(":")
        if own_port and own_port != str(port):
            return False
        try:
            return address in ipaddress.ip_network(bare.strip("[]"), strict=False)
        except ValueError:
            return False
    entry, _, own_port = entry.partition(":")
    if own_port and own_port != str(port):
        return False
    suffix = entry.removeprefix("*").strip(".")
    return bool(suffix) and (name == suffix or name.endswith(f".{suffix}"))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(name: str) -> _Address | None:
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None


def _read(text: str) -> Proxy:
    try:
        url = parse_url(text if "://" in text else f"http://{text}")
    except HTTPError:
        url = Url()
    if url.scheme not in _DEFAULT_PORTS or not url.host:
        raise ConfigurationError("a proxy's URL cannot be used: write http://HOST:PORT")
    return Proxy(
        host=url.host.strip("[]"),
        port=url.port or _DEFAULT_PORTS[url.scheme],
        is_secure=url.scheme == "https",
        headers={"proxy-authorization": _basic(url.auth)} if url.auth else {},
    )


def _basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(unquote(credentials).encode()).decode()}"
