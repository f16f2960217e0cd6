"""The search for canaries: none escapes it, changed or cut, and noise holds none."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turntrace.testing import content
from turntrace.testing.content import Canary, readings

if TYPE_CHECKING:
    from collections.abc import Callable

PHRASE = "qzherons dance über blue water"

CHINESE = "今天天气非常好我们去公园吧朋友们明天也许会下雨所以带伞"
CASES = "ΐΰΐΰ ŉŉ ΐΰΐΰ İıİı"
EMOJI = "🦩🦆🦉🦇🐝🐞🦋🐌🐙🦑🦐🦀🐡🐠🐟🐬🐳🐋🦈🐊🐅🐆🦓🦍🦧🐘"

CHANGES: dict[str, Callable[[str], str | bytes]] = {
    "as it is": str,
    "as bytes": str.encode,
    "upper case": str.upper,
    "in the middle": lambda text: f"GET /x?q={text}&page=1",
    "other whitespace": lambda text: "\n   ".join(text.split()),
    "without whitespace": lambda text: "".join(text.split()),
    "full width": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "URL-quoted": quote,
    "URL-quoted as a form": quote_plus,
    "URL-quoted twice": lambda text: quote(quote(text)),
    "JSON": json.dumps,
    "JSON of JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON, all escaped": lambda text: re.sub("(....)", r"\\u\1", text.encode("utf-16-be").hex()),
    "an ASCII repr": ascii,
    "a repr of bytes": lambda text: repr((text.encode(),)),
    "escaped with eight digits": lambda text: "".join(f"\\U{ord(c):08x}" for c in text),
    "escaped with braces": lambda text: "".join(f"\\u{{{ord(c):x}}}" for c in text),
    "between marks of direction": "\u2066".join,
    "HTML": lambda text: text.replace("ü", "&#xFC;").replace(" ", "&nbsp;"),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, shifted by one": lambda text: base64.b64encode(b"." + text.encode() + b".."),
    "base64, shifted by two": lambda text: base64.b64encode(b".." + text.encode()),
    "base64 in a header": lambda text: "Basic " + base64.b64encode(text.encode()).decode(),
    "base64 behind a slash": lambda text: "/" + base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).rstrip(b"="),
    "base64, wrapped": lambda text: base64.encodebytes(text.encode() * 4),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")),
    "hex": lambda text: text.encode().hex(),
    "hex, shifted": lambda text: "a" + text.encode().hex().upper(),
    "URL-quoted base64": lambda text: quote(base64.b64encode(text.encode()), safe=""),
    "gzip": lambda text: gzip.compress(text.encode()),
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "UTF-16, big end first, shifted": lambda text: b"\x0a" + text.encode("utf-16-be"),
    "between zeros": lambda text: b"\x00\x01" + text.encode() + b"\x00",
    "its first 12 characters": lambda text: "".join(text.split())[:12],
    "its last 12 characters": lambda text: "".join(text.split())[-12:],
    "cut and quoted": lambda text: quote(text[5:25]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("text", [PHRASE, "qzsingleword4711xy", CHINESE, CASES, EMOJI])
def test_a_canary_is_found_although_it_was_changed(change: str, text: str) -> None:
    if change == "base64 of UTF-16" and text in {CHINESE, CASES, EMOJI}:
        return  # of two encodings in one another, the second is read for ASCII only
    found = readings(CHANGES[change](text))
    assert Canary(text).is_in(found)
    assert not Canary("another phrase altogether").is_in(found)


@given(st.text(min_size=4).filter(lambda text: len("".join(text.split())) >= 4), st.binary())
def test_whatever_the_text_it_is_found_where_it_stands(text: str, around: bytes) -> None:
    try:
        canary = Canary(text)
        whole = around + text.encode() + around
    except (ValueError, UnicodeEncodeError):
        return  # nothing visible in it, or no text that has bytes
    if around and around[-1] >= 0x80:
        return  # may swallow the first character
    assert canary.is_in(readings(whole))


@given(st.binary(max_size=300))
def test_noise_can_be_read_and_holds_no_canary(noise: bytes) -> None:
    assert not Canary(PHRASE).is_in(readings(noise))


def test_eleven_characters_of_a_longer_canary_are_not_enough() -> None:
    assert not Canary("abcdefghijklmnop").is_in(readings("abcdefghijk"))


def test_a_canary_of_a_whole_document_is_found_in_part_and_quickly() -> None:
    document = "".join(f"{number:x}," for number in range(40_000))
    canary, noise = Canary(document), "no such digits. " * 60_000
    start = time.process_time()
    assert not canary.is_in(readings(noise))
    assert canary.is_in(readings(noise + document[90_000:90_012] + noise))
    assert time.process_time() - start < 20.0


@pytest.mark.parametrize("change", ["base64", "hex", "URL-quoted", "JSON, all escaped"])
@pytest.mark.parametrize("at", [0, 900, 1_000, 1_150, 5_000])
def test_a_canary_is_found_wherever_it_stands_in_what_is_too_long_to_be_read_at_once(
    change: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_MAX_READING", 2_000)
    monkeypatch.setattr(content, "_PIECE", 1_000)
    monkeypatch.setattr(content, "_OVERLAP", 300)
    changed = CHANGES[change](PHRASE)
    hidden = changed.encode() if isinstance(changed, str) else changed
    noise = b"qz\\n%20 " * 1_000
    assert Canary(PHRASE).is_in(readings(noise[:at] + b" " + hidden + b" " + noise))
