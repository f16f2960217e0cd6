"""The kinds of values a setting can have: read strictly, from a variable or from an argument.

Reasons complete the sentence "the value ..." and quote nothing: a value may hold a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import unquote

N = TypeVar("N", int, float)

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What HTTP allows as a header's name (RFC 9110, token)."""

HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""What HTTP allows as a header's value; no line break in particular."""

_HARMLESS: Final = re.compile(r"[A-Za-z0-9._:/\[\]-]{1,100}")
_MAX_SHOWN: Final = 100
_URL: Final = re.compile(
    r"(?P<origin>(?P<scheme>https?)://"
    r"(?P<host>\[(?P<ipv6>[0-9A-F:.]+)(?:%25[A-Z0-9._~-]+)?\]|[A-Z0-9._-]+)"
    r"(?::(?P<port>[0-9]{0,5}))?)(?P<rest>[/?#][!-~]*)?",
    re.ASCII | re.IGNORECASE,
)
_MAX_HOST: Final = 253
_MAX_LABEL: Final = 63
_MAX_PORT: Final = 65_535


class UnusableError(ValueError):
    """A value cannot be used; the text is the reason."""


def quoted(text: str) -> str:
    """Return ``text`` as it may stand in a log line: one line, short, no credentials."""
    if "@" in text:
        return "(hidden)"
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "...")


def quoted_if_harmless(text: str) -> str:
    """Return ``text`` if it looks like a host, port or path, and nothing else."""
    return repr(text) if _HARMLESS.fullmatch(text) else "(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How values of one kind are read and shown."""

    takes: str
    """What an explicit argument may be."""

    reads: str
    """What the variable's text may be."""

    parse: Callable[[str], Any]
    """Read a variable's text, in the variable's unit."""

    accept: Callable[[object], Any]
    """Read an explicit argument, in the field's unit."""

    show: Callable[[Any], str] = repr
    """Show a value that is used, in the variable's unit."""

    quote: Callable[[str], str] = quoted
    """Show a text that cannot be used, without what might be a secret."""


def in_range(value: N, low: N, high: N) -> N:
    """Return ``value`` if it lies within the bounds; NaN does not."""
    if not low <= value <= high:
        raise UnusableError(f"is not between {low} and {high}")
    return value


def text_of(value: object) -> str:
    """Return ``value`` if it is a text."""
    if not isinstance(value, str):
        raise UnusableError(f"is of type {type(value).__name__}")
    return value


def _plain(text: str) -> str:
    if any(character in text for character in "\r\n\0"):
        raise UnusableError("holds a line break")
    return _utf8(text).strip()


def _utf8(text: str) -> str:
    """Return ``text`` if it can be sent: bytes of the environment that are no UTF-8 cannot."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UnusableError("is not UTF-8")
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UnusableError("is not a number") from None


def flag() -> Kind:
    """Read true or false."""

    def parse(text: str) -> bool:
        word = text.strip().lower()
        if word in {"true", "1", "yes", "on"}:
            return True
        if word in {"false", "0", "no", "off"}:
            return False
        raise UnusableError("is neither true nor false")

    return Kind(
        takes="True or False",
        reads="`true` or `false`",
        parse=parse,
        accept=lambda value: value if isinstance(value, bool) else parse(text_of(value)),
        show=lambda value: str(value).lower(),
    )


def text() -> Kind:
    """Read one line of text."""

    def accept(value: object) -> str:
        plain = _plain(text_of(value))
        if not plain:
            raise UnusableError("is empty")
        return plain

    return Kind(takes="one line of text", reads="one line of text", parse=_plain, accept=accept)


def whole(low: int, high: int) -> Kind:
    """Read a whole number within bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text.strip(), re.ASCII):
            raise UnusableError("is not a whole number")
        return in_range(int(text), low, high)

    def accept(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return in_range(value, low, high)
        return parse(text_of(value))

    takes = f"a whole number from {low} to {high}"
    return Kind(takes=takes, reads=takes, parse=parse, accept=accept)


def number(low: float, high: float, unit: str = "") -> Kind:
    """Read a number within bounds."""

    def accept(value: object) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return in_range(value, low, high)
        return in_range(_number(text_of(value)), low, high)

    return Kind(
        takes=f"a number {unit}from {low:g} to {high:g}",
        reads=f"a number {unit}from {low:g} to {high:g}",
        parse=lambda text: in_range(_number(text), low, high),
        accept=accept,
    )


def seconds(low_milliseconds: int, high_milliseconds: int) -> Kind:
    """Read a time: milliseconds in the variable, seconds in the argument."""
    milliseconds = whole(low_milliseconds, high_milliseconds)
    argument = number(low_milliseconds / 1000, high_milliseconds / 1000, "of seconds ")
    return Kind(
        takes=argument.takes,
        reads=f"milliseconds, {milliseconds.reads}",
        parse=lambda text: milliseconds.parse(text) / 1000,
        accept=argument.accept,
        show=lambda value: f"{value * 1000:.0f} (milliseconds)",
    )


def choice(*words: str, reasons: Mapping[str, str] | None = None) -> Kind:
    """Read one of ``words``, in any case; ``reasons`` say more about frequent wrong ones."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise UnusableError((reasons or {}).get(word, f"is none of {', '.join(words)}"))
        return word

    return Kind(
        takes=f"one of {', '.join(words)}",
        reads=", ".join(f"`{word}`" for word in words),
        parse=parse,
        accept=lambda value: parse(text_of(value)),
    )


def patterns() -> Kind:
    """Read a list of patterns, separated by commas."""

    def split(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in _plain(text).split(",") if part.strip())

    def accept(value: object) -> tuple[str, ...]:
        if isinstance(value, (list, tuple, set, frozenset)):
            return tuple(_plain(text_of(item)) for item in value)
        return split(text_of(value))

    return Kind(
        takes="a sequence of texts",
        reads="patterns, separated by commas",
        parse=split,
        accept=accept,
        show=lambda value: repr(",".join(value)),
    )


def pairs() -> Kind:
    """Read key=value pairs, values percent-encoded."""
    return _pairs("a mapping of texts to texts", _no_check)


def headers() -> Kind:
    """Read key=value pairs that HTTP allows as headers."""

    def check(name: str, value: str) -> None:
        if not HEADER_NAME.fullmatch(name):
            raise UnusableError("holds a header name that HTTP does not allow")
        if not HEADER_VALUE.fullmatch(value):
            raise UnusableError("holds a header value that HTTP does not allow")

    return _pairs("a mapping of header names to texts", check)


def _no_check(_key: str, _value: str) -> None:
    """Take every pair."""


def _pairs(takes: str, check: Callable[[str, str], None]) -> Kind:
    def checked(items: Iterable[tuple[object, object]]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in items:
            if not (isinstance(key, str) and isinstance(value, str)):
                raise UnusableError("holds a key or a value that is no text")
            if not key:
                raise UnusableError("holds an empty key")
            check(key, value)
            found[_utf8(key)] = _utf8(value)
        return found

    def parse(text: str) -> dict[str, str]:
        return checked([_pair(part) for part in _plain(text).split(",") if part.strip()])

    return Kind(
        takes=takes,
        reads="`key=value`, separated by commas, values percent-encoded",
        parse=parse,
        accept=lambda value: (
            checked(value.items()) if isinstance(value, Mapping) else parse(text_of(value))
        ),
    )


def _pair(part: str) -> tuple[str, str]:
    key, separator, value = part.partition("=")
    if not separator or not key.strip():
        raise UnusableError("is not a list like key=value,key=value")
    if re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise UnusableError("holds a % that encodes nothing; write %25 for it")
    try:
        return key.strip(), unquote(value.strip(), errors="strict")
    except UnicodeDecodeError:
        raise UnusableError("is not percent-encoded UTF-8") from None


def endpoint() -> Kind:
    """Read the URL of an OTLP/HTTP receiver, so strictly that every one of them can be dialled."""

    def parse(text: str) -> str:
        url = _plain(text)
        parts = _URL.fullmatch(url)
        if parts is None and "@" in url:
            raise UnusableError("holds a user name or password; put credentials into headers")
        if parts is None or not _is_host(parts):
            raise UnusableError("is not a URL like http://localhost:4318")
        if parts["port"] and not 0 < int(parts["port"]) <= _MAX_PORT:
            raise UnusableError(f"has a port that is not between 1 and {_MAX_PORT}")
        return url

    return Kind(
        takes="a URL like http://localhost:4318",
        reads="a URL, `http` or `https`, without user name",
        parse=parse,
        accept=lambda value: parse(text_of(value)),
        quote=quoted_if_harmless,
    )


def _is_host(parts: re.Match[str]) -> bool:
    if parts["ipv6"]:
        try:
            ipaddress.IPv6Address(parts["ipv6"])
        except ValueError:
            return False
        return True
    host = parts["host"].removesuffix(".")
    labels = host.split(".")
    return len(host) <= _MAX_HOST and all(0 < len(label) <= _MAX_LABEL for label in labels)


def origin(url: str) -> str:
    """Return scheme, host and port of a URL that `endpoint` took: what may be shown of it."""
    parts = _URL.fullmatch(url)
    return parts["origin"] if parts else "(hidden)"


def port(url: str) -> str:
    """Return the port that a URL which `endpoint` took names, or the empty string."""
    parts = _URL.fullmatch(url)
    return (parts["port"] or "") if parts else ""
