"""Withheld keys and stacks in the details of a span, as the page is told of them."""

from __future__ import annotations

import ast
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turn_stories import HOSTILE, START_NS
from withheld_story import LONG, PASTED, STACK, withheld_story

from turntrace import registry
from turntrace.attribute_setting import attributes as attribute_setting
from turntrace.store.contract import StoredEvent, StoredSpan
from turntrace.view.turn_details import MAX_STACK_CHARACTERS, MAX_STACK_LINES, details_of
from turntrace.view.turn_withheld import MAX_KEYS, withheld_keys

KEYS = "turntrace.withheld.keys"


@pytest.fixture(scope="module")
def details() -> dict[str, Any]:
    """Return what the page gets of the span that has all of it."""
    return dict(details_of(withheld_story().spans[1], START_NS))


def _span(attributes: dict[str, Any], **event: Any) -> StoredSpan:
    return StoredSpan(
        trace_id="1" * 32,
        span_id="1" * 16,
        name="x",
        service="shop",
        start_ns=START_NS,
        end_ns=START_NS,
        attributes=attributes,
        events=(StoredEvent(name="exception", time_ns=START_NS, attributes=event),),
    )


def _stack(text: Any) -> dict[str, Any]:
    event = {"exception.stacktrace": text, "exception.type": "KeyError"}
    return dict(details_of(_span({}, **event), START_NS)["events"][0])


def _offered(key: str) -> list[tuple[str, str]]:
    return [(found.line, found.setting) for found in withheld_keys({KEYS: [key]}).keys]


def test_withheld_key_has_its_length_and_a_line_to_paste(details: dict[str, Any]) -> None:
    first, second, third = details["withheld"]["keys"]
    assert first == {
        "key": "customer.note",
        "length": 27,
        "line": PASTED,
        "setting": "customer.note:id",
    }
    assert (second["key"], second["length"]) == ("order.reference", 1204)
    assert (third["key"], third["length"], third["line"]) == ("gift card text", 4, "")
    assert details["withheld"]["attributes"] == 5


def test_what_the_keys_say_is_not_among_the_attributes(details: dict[str, Any]) -> None:
    shown = {key for layer in details["layers"] for key, _ in layer["attributes"]}
    assert shown == {"error.type", "order.items"}


def test_events_and_links_have_withheld_keys_too(details: dict[str, Any]) -> None:
    (event,), (link,) = details["events"], details["links"]
    assert [key["key"] for key in event["withheld"]["keys"]] == ["order.reason"]
    assert [key["key"] for key in link["withheld"]["keys"]] == [LONG]


def test_stack_and_message_of_an_exception_stand_by_themselves(details: dict[str, Any]) -> None:
    (event,) = details["events"]
    assert event["stack"] == STACK.split("\n")
    assert event["message"] == "more than 20 orders a minute"
    assert event["attributes"] == [("exception.escaped", "true")]


def test_type_that_the_stack_does_not_begin_with_stays() -> None:
    event = _stack("Traceback (most recent call last):\n\tat Shop.order(Shop.java:3)\n")
    assert event["stack"][1] == "\tat Shop.order(Shop.java:3)"
    assert event["attributes"] == [("exception.type", "KeyError")]


@pytest.mark.parametrize("text", [7, ["a"], "", "  \n ", None])
def test_stack_that_is_none_is_an_attribute_like_any_other(text: Any) -> None:
    event = _stack(text)
    assert event["stack"] == []
    assert "exception.stacktrace" in dict(event["attributes"])


@pytest.mark.parametrize("text", ["\n" * 99_999 + "x", "x" * 99_999, "x\n" * 99_999])
def test_endless_stack_is_cut_and_says_so(text: str) -> None:
    stack = _stack(text)["stack"]
    assert len(stack) <= MAX_STACK_LINES + 1
    assert sum(map(len, stack)) <= MAX_STACK_CHARACTERS + 100
    assert stack[-1] == "… more is in the JSON"


@pytest.mark.parametrize(
    "key",
    [
        "gift card text",
        "app.*",
        "x" * 65,
        'a"}); import os #',
        "a\n",
        "ä.b",
        "session.id",
        HOSTILE,
        "\u202ea",
        "1.a",
    ],
)
def test_line_is_made_only_of_keys_that_can_be_registered(key: str) -> None:
    assert _offered(key) == [("", "")]


@given(st.text(min_size=1, max_size=70) | st.from_regex(r"[A-Za-z][\w.:/-]{0,63}", fullmatch=True))
def test_any_line_registers_its_key_and_nothing_else(key: str) -> None:
    ((line, setting),) = _offered(key)
    if line:
        call = ast.parse(line, mode="eval").body
        assert isinstance(call, ast.Call)
        assert ast.literal_eval(call.args[0]) == {key: "id"}
        assert registry.entry(key, "id")[0] == key
        assert attribute_setting().parse(setting) == {key: "id"}


def test_many_keys_are_counted_and_stay_in_the_attributes() -> None:
    names = [f"app.{number}" for number in range(MAX_KEYS + 5)]
    facts: dict[str, Any] = {KEYS: names, "app.0.length": 3, f"app.{MAX_KEYS}.length": 4}
    found = withheld_keys(facts)
    assert (len(found.keys), found.more) == (MAX_KEYS, 5)
    assert set(found.rest) == {KEYS, f"app.{MAX_KEYS}.length"}


def test_long_key_is_cut() -> None:
    (found,) = withheld_keys({KEYS: ["x" * 99_999]}).keys
    assert len(found.key) == 65
    assert found.key.endswith("…")


def test_key_on_the_wire_as_a_single_text_is_one_key() -> None:
    assert [found.key for found in withheld_keys({KEYS: "a.b"}).keys] == ["a.b"]


@pytest.mark.parametrize("length", ["secret", True, -1, 1.5, 2**60, [3], None])
def test_attribute_that_is_no_length_is_shown_as_it_is(length: Any) -> None:
    found = withheld_keys({KEYS: ["a.b"], "a.b.length": length})
    assert found.keys[0].length is None
    assert found.rest == {"a.b.length": length}


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(_values, _values)
def test_any_value_of_the_keys_is_shown(keys: Any, stack: Any) -> None:
    span = _span({KEYS: keys}, **{KEYS: keys, "exception.stacktrace": stack})
    details = details_of(span, START_NS)
    assert msgspec.json.decode(msgspec.json.encode(details))["name"] == "x"
