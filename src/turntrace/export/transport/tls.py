"""Makes the TLS context for a collector from the operator's certificate files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from turntrace.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Which files say whom to trust and who we are; each is PEM, and empty means none."""

    certificate_file: str = ""
    """The certificate authorities to trust, instead of the system's."""

    client_certificate_file: str = ""
    """Our own certificate, with what leads to its authority behind it."""

    client_key_file: str = ""
    """The key of our own certificate, if it is not in the same file; without a password."""

    def paths(self) -> tuple[str, ...]:
        """Return the files that are named."""
        named = (self.certificate_file, self.client_certificate_file, self.client_key_file)
        return tuple(filter(None, named))


class Tls:
    """The TLS context of one transport; made anew when a file changes, as certificates expire.

    Raises:
        ConfigurationError: A file cannot be read or used.
    """

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._made: tuple[object, ssl.SSLContext] | None = None
        if certificates.paths():  # the system's are loaded late: that takes many milliseconds
            try:
                self.context()
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"the certificate files cannot be used ({type(error).__name__}): they must be"
                    " PEM files that this process may read, the key without a password"
                ) from error

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies the peer; raises as reading the files does."""
        state = tuple(_state(path) for path in self._certificates.paths())
        if self._made is None or self._made[0] != state:
            self._made = (state, make_context(self._certificates))
        return self._made[1]


def make_context(certificates: Certificates) -> ssl.SSLContext:
    """Return a new context; raises `OSError` (`ssl.SSLError` included) or `ValueError`."""
    context = ssl.create_default_context(cafile=certificates.certificate_file or None)
    context.set_alpn_protocols(["http/1.1"])
    if certificates.client_certificate_file:
        context.load_cert_chain(
            certificates.client_certificate_file,
            certificates.client_key_file or None,
            password=lambda: "",  # else OpenSSL asks for one at the terminal, and waits
        )
    return context


def _state(path: str) -> tuple[int, int, int]:
    found = Path(path).stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
