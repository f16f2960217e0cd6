"""The settings of the way to the collector: its URL, headers, certificates and proxies."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from turntrace import setting_kinds as kinds
from turntrace.setting_fields import setting
from turntrace.setting_kinds import Kind, UnusableError
from turntrace.spool_settings import SpoolSettings

_MAX_PEM_BYTES: Final = 4 * 1024 * 1024
_CREDENTIALS: Final = re.compile(r"[!-~]*", re.ASCII)
_RESERVED: Final = re.compile(r"[/?#@\\\[\]]")
_EXEMPT: Final = re.compile(r"[!-~]{1,253}", re.ASCII)


def _pem_file(check: bool = False) -> Kind:
    """Read the path of a PEM file that can be read now; ``check``: one of authorities."""

    def parse(text: str) -> str:
        path: str = kinds.text().accept(text)
        try:
            found = Path(path).stat()
            is_usable = stat.S_ISREG(found.st_mode) and found.st_size <= _MAX_PEM_BYTES
            if is_usable:
                Path(path).read_bytes()
        except (OSError, ValueError) as error:
            raise UnusableError(f"names no file that can be read ({_name(error)})") from None
        if not is_usable:
            raise UnusableError("names something that is no PEM file")
        if check:
            _check_authorities(path)
        return path

    return Kind(
        takes="the path of a PEM file",
        reads="path of a PEM file",
        parse=parse,
        accept=lambda value: parse(value) if isinstance(value, str) else kinds.text().accept(value),
    )


def _check_authorities(path: str) -> None:
    import ssl  # late: an app that is not traced does not pay for it

    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError):
        raise UnusableError("names a file that holds no certificate in PEM form") from None


def find_fault_of_client(certificate_file: str, key_file: str) -> str:
    """Return why TLS cannot use our own certificate and key; empty if it can."""
    import ssl  # as above

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate_file, key_file or None, password=lambda: "")
    except (OSError, ValueError) as error:
        return (
            f"cannot be used with its key ({_name(error)}): both must be in PEM form and belong"
            " together, the key without a password"
        )
    return ""


def _name(error: Exception) -> str:
    return type(error).__name__


def _proxy() -> Kind:
    """Read a proxy's URL so strictly that every one of them can be dialled."""

    def parse(text: str) -> str:
        url: str = kinds.text().accept(text)
        scheme, separator, rest = url.partition("://")
        if not separator:
            scheme, rest = "http", url
        if scheme.lower() not in ("http", "https"):
            raise UnusableError("is no HTTP proxy, the one kind that is supported")
        user, _, place = rest.rpartition("@")
        if _RESERVED.search(user) or not _CREDENTIALS.fullmatch(user):
            raise UnusableError("holds a user or password that is not percent-encoded")
        try:
            place = kinds.origin(kinds.endpoint().parse(f"http://{place}"))
        except UnusableError:
            raise UnusableError("is not a URL like http://proxy:3128") from None
        credentials = f"{user}@" if user else ""
        return f"{scheme.lower()}://{credentials}{place.removeprefix('http://')}"

    return Kind(
        takes="a URL like http://user:password@proxy:3128",
        reads="a URL, `http` or `https`, with or without credentials",
        parse=parse,
        accept=lambda value: parse(value) if isinstance(value, str) else kinds.text().accept(value),
    )


def _exempt() -> Kind:
    names = kinds.patterns()

    def checked(found: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_EXEMPT.fullmatch(name) for name in found):
            raise UnusableError("holds what is neither a host nor an address")
        return found

    return Kind(
        takes=names.takes,
        reads="hosts, `host:port`, addresses or networks, separated by commas; `*` is all",
        parse=lambda text: checked(names.parse(text)),
        accept=lambda value: checked(names.accept(value)),
        show=names.show,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings(SpoolSettings):
    """How finished spans get to the collector. Times are in seconds."""

    endpoint: str = setting(
        "http://localhost:4318",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        kinds.endpoint(),
        "base URL of the OTLP/HTTP receiver; /v1/traces is added",
    )
    traces_endpoint: str = setting(
        "",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        kinds.endpoint(),
        "full URL for traces, used as it is; wins over the base URL",
        in_repr=False,  # its query may hold a key
    )
    protocol: str = setting(
        "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL OTEL_EXPORTER_OTLP_PROTOCOL",
        kinds.choice(
            "http/protobuf",
            reasons={
                "grpc": "is not supported; collectors take http/protobuf at port 4318, not 4317",
                "http/json": "is not supported",
            },
        ),
        "http/protobuf, nothing else yet",
    )
    headers: dict[str, str] = setting(
        {},
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS OTEL_EXPORTER_OTLP_HEADERS",
        kinds.headers(),
        "key=value pairs sent as headers; never logged",
        is_secret=True,
        in_repr=False,
    )
    timeout_seconds: float = setting(
        10.0,
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT OTEL_EXPORTER_OTLP_TIMEOUT",
        kinds.seconds(1, 600_000),
        "milliseconds one export request may take in all",
    )
    compression: str = setting(
        "gzip",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION OTEL_EXPORTER_OTLP_COMPRESSION",
        kinds.choice("gzip", "none"),
        "gzip or none",
    )
    certificate_file: str = setting(
        "",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE OTEL_EXPORTER_OTLP_CERTIFICATE",
        _pem_file(check=True),
        "certificate authorities that the collector's certificate is checked by, instead of the"
        " system's",
        instead="the system's certificates",
    )
    client_certificate_file: str = setting(
        "",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        _pem_file(),
        "certificate that the collector knows this service by",
        instead="no client certificate",
    )
    client_key_file: str = setting(
        "",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY OTEL_EXPORTER_OTLP_CLIENT_KEY",
        _pem_file(),
        "key of that certificate, without a password; not needed if the same file holds both",
        instead="no client certificate",
    )
    http_proxy: str = setting(
        "",
        "http_proxy HTTP_PROXY",
        _proxy(),
        "proxy to a collector at `http://`; no collector on this machine is reached by one",
        is_secret=True,
        in_repr=False,
        instead="no proxy",
    )
    https_proxy: str = setting(
        "",
        "https_proxy HTTPS_PROXY",
        _proxy(),
        "proxy to a collector at `https://`, through a tunnel",
        is_secret=True,
        in_repr=False,
        instead="no proxy",
    )
    all_proxy: str = setting(
        "",
        "all_proxy ALL_PROXY",
        _proxy(),
        "proxy where neither of the two above is set for the collector's URL",
        is_secret=True,
        in_repr=False,
        instead="no proxy",
    )
    no_proxy: tuple[str, ...] = setting(
        (),
        "no_proxy NO_PROXY",
        _exempt(),
        "hosts, and those below them, that are dialled directly",
    )
