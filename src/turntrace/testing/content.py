"""Finds a text in what left the process, also where it was changed on the way, or only a part left.

A place is read in several ways (as it is, unquoted, unescaped, decoded); each reading is compared
without case, whitespace and compatibility variants.
"""

from __future__ import annotations

import binascii
import contextlib
import gzip
import html
import re
import unicodedata
import zlib
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIN_LENGTH: Final = 4
"""Characters a canary must have: fewer are found by chance."""
WINDOW: Final = 12
"""Characters of a longer canary that are enough to be found."""

_MAX_ROUNDS: Final = 3  # a text that was escaped, then quoted, then encoded
_MAX_READING: Final = 64 * 1024 * 1024
_PIECE: Final = 2 * 1024 * 1024  # what is longer is read in pieces, that none be given up
_OVERLAP: Final = 64 * 1024
_FEW_PARTS: Final = 256  # to look for each in the text is quicker than the other way round

_NO_CHARACTERS = re.compile(
    r"[\s\x00\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]+"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}")
_HEX = re.compile(r"[0-9a-fA-F]{8,}")
_ESCAPE = re.compile(
    r"\\(?:(?:u|U0000)([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})"
    r"|(?:u\{0{,2}|U00)((?:10|0?[0-9a-fA-F])?[0-9a-fA-F]{1,4})\}?|([nrtbf\"'/\\]))"
)
_ESCAPED_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
_TEXT = re.compile(r"[^\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]{4,}")
_FROM_URLS = str.maketrans("-_", "+/")
_SEPARATOR = "\ufffd"


class Canary:
    """A text that must not leave.

    Args:
        text: At least 4 characters that are no whitespace.

    Raises:
        ValueError: It is shorter, or no text.

    Example:
        >>> Canary("the blue heron dances").is_in(readings("q=BLUE%20heron+dances"))
        True
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ValueError(  # noqa: TRY004 - one kind of error for a canary that is none
                f"a canary is a {type(text).__qualname__}: give the text itself, as a str"
            )
        plain = normalised(text)
        if len(plain) < MIN_LENGTH:
            what = "is empty" if not plain else f"has {len(plain)} characters"
            raise ValueError(
                f"the canary {text!r} {what}, which proves nothing or is found by chance: use"
                f" {MIN_LENGTH} or more, best a made-up sentence that stands nowhere else"
            )
        self.text = text
        last = max(0, len(plain) - WINDOW)
        self._parts = tuple(dict.fromkeys(plain[at : at + WINDOW] for at in range(last + 1)))

    def is_in(self, texts: Iterable[str]) -> bool:
        """Tell whether one of the readings holds the canary, or a part of 12 characters."""
        if len(self._parts) <= _FEW_PARTS:
            return any(part in text for text in texts for part in self._parts)
        wanted = frozenset(self._parts)
        return any(
            not wanted.isdisjoint(text[at : at + WINDOW] for at in range(len(text) - WINDOW + 1))
            for text in texts
        )


def normalised(text: str) -> str:
    """Return ``text`` without case, whitespace, invisible characters and compatibility variants."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    folded = folded.casefold()
    if not folded.isascii():
        folded = unicodedata.normalize("NFKC", folded)  # which folding may have taken apart
    return _NO_CHARACTERS.sub("", folded)


def readings(content: str | bytes) -> tuple[str, ...]:
    """Return ``content`` as it may be read, each reading normalised.

    Example:
        >>> readings("Blue%20Heron")
        ('blue%20heron', 'blueheron')
    """
    if isinstance(content, bytes):
        content = _decompressed(content)
    found: dict[str, None] = {}
    for start in range(0, max(1, len(content)), _PIECE):
        found.update(dict.fromkeys(_readings(content[start : start + _PIECE + _OVERLAP])))
    return tuple(found)


def _readings(content: str | bytes) -> tuple[str, ...]:
    texts = dict.fromkeys(_texts_of(content) if isinstance(content, bytes) else [content])
    latest = list(texts)
    size = sum(map(len, latest))
    for _ in range(_MAX_ROUNDS):
        found = dict.fromkeys(new for text in latest for new in _decoded(text) if new not in texts)
        latest = list(found)
        size += sum(map(len, latest))
        texts.update(found)
        if not latest or size > _MAX_READING:
            break
    return tuple(dict.fromkeys(filter(None, map(normalised, texts))))


def _texts_of(content: bytes) -> Iterator[str]:
    yield content.decode("utf-8", "replace")
    # ASCII in UTF-16 is found without the zeros; this is for the rest.
    for encoding in ("utf-16-le", "utf-16-be"):
        for start in (0, 1):
            yield _printable(content[start:].decode(encoding, "replace"))


def _decompressed(content: bytes) -> bytes:
    with contextlib.suppress(OSError, EOFError, zlib.error):
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
        if content.startswith((b"\x78\x01", b"\x78\x9c", b"\x78\xda")):
            return zlib.decompress(content)
    return content


def _decoded(text: str) -> Iterator[str]:
    """Yield what ``text`` says if it was quoted, escaped or encoded in one of the usual ways."""
    if "%" in text or "+" in text:
        yield unquote_plus(text, errors="replace")
    if "\\" in text:
        yield _unescaped(text)
        if "\\x" in text:
            yield _ESCAPED_BYTES.sub(_as_utf8, text)
    if "&" in text:
        yield html.unescape(text)
    yield from _encoded(text)
    if "\n" in text:  # encoders wrap their lines
        yield from _encoded(text.replace("\r", "").replace("\n", ""))


def _as_utf8(escaped: re.Match[str]) -> str:
    return bytes.fromhex(escaped[0].replace("\\x", "")).decode("utf-8", "replace")


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code:
            return chr(int(code, 16))
        return " " if found[4] in "nrtbf" else str(found[4])

    # Characters beyond the first 65,536 are escaped as a pair.
    pairs = _ESCAPE.sub(character, text).encode("utf-16", "surrogatepass")
    return pairs.decode("utf-16", "replace")


def _encoded(text: str) -> Iterator[str]:
    """Yield the texts that hide in ``text`` as base64 (at any alignment) or as hex digits.

    All runs at once, filled up with bytes that are no text: a call for each run would be felt.
    """
    runs = dict.fromkeys(_BASE64.findall(text))
    for start in range(4):
        parts = [run[start:] for run in runs]
        whole = "////".join([part + "/" * (-len(part) % 4) for part in parts])
        yield _text(binascii.a2b_base64(whole.translate(_FROM_URLS)))
    digits = dict.fromkeys(_HEX.findall(text))
    for start in range(2):
        parts = [run[start : len(run) - (len(run) - start) % 2] for run in digits]
        yield _text(bytes.fromhex("ff".join(parts)))


def _text(decoded: bytes) -> str:
    return _printable(decoded.decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """Leave out what cannot be text: decoding what never was encoded gives noise."""
    return _SEPARATOR.join(_TEXT.findall(text))
