"""What the guard left of errors and withheld texts, in the terminal's drawing."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len
from turn_trace import TraceBuilder

from turntrace.cli.facts import facts_of
from turntrace.cli.waterfall import draw

DATABASE = (
    "sqlalchemy.exc.OperationalError\n"
    "  sqlalchemy/engine/default.py:924 in DefaultDialect.do_execute\n"
    "  shop/tables.py:61 in reserve\n"
    "  shop/orders.py:118 in place_order"
)


def _document(attributes: dict[str, Any], stack: object = None) -> dict[str, Any]:
    trace = TraceBuilder()
    trace.add("place order", b"", 0, 10, error="shop.errors.Full" if stack else "")
    document = trace.document()
    (span,) = document["spans"]
    span["attributes"].update(attributes)
    if stack:
        facts = {"exception.type": "shop.errors.Full", "exception.stacktrace": stack}
        span["events"].append({"name": "exception", "attributes": facts})
    return document


def _facts(stack: object) -> list[str]:
    (span,) = _document({}, stack)["spans"]
    return facts_of(span, parent_service=None)


def _last_line(keys: object, width: int = 120, **lengths: int) -> str:
    document = _document({"turntrace.withheld.keys": keys, **lengths})
    return [line.plain for line in draw(document, width)][-1]


def test_failed_row_says_the_type_and_where_in_the_app() -> None:
    lines = [line.plain for line in draw(_document({}, DATABASE), 120)]
    assert lines[4].endswith("error Full, tables.py:61")


@pytest.mark.parametrize(
    ("stack", "place"),
    [
        (DATABASE, "tables.py:61"),
        ("KeyError\n  json/decoder.py:3 in f\n  shop/a.py:1 in g", "a.py:1"),
        ("KeyError\n  shop/a.py:1 in g\n  shop/b.py:2 in h", "a.py:1"),
        ("shop.Full\n  shop/a.py:1 in g\n  shop/b.py:2 in h", "a.py:1"),
        ("KeyError\n  json/decoder.py:3 in f", "decoder.py:3"),
        (f"KeyError\n  {'deep/' * 10}here.py:1 in f", "here.py:1"),
        ("KeyError\n  shop/stock/__init__.py:1 in f", "stock/__init__.py:1"),
        ("KeyError\n  __init__.py:1 in f", "__init__.py:1"),
    ],
)
def test_place_is_the_innermost_of_the_app(stack: str, place: str) -> None:
    assert _facts(stack) == ["error Full", place]


@pytest.mark.parametrize(
    "stack",
    [
        "KeyError",
        "KeyError\n  <withheld>:3 in <withheld>",
        "KeyError\n  json/decoder.py:3 in f\n  <withheld>:3 in <withheld>",
        "KeyError\n  ... 9 more frames\n  a.py:1 in f",
        "KeyError\ncaused by ValueError\n  a.py:1 in f",
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: secret',
        "KeyError\n  \x1b[31ma.py:1 in f",
        ["KeyError\n  a.py:1 in f"],
        7,
    ],
)
def test_stack_that_tells_no_place_adds_nothing(stack: object) -> None:
    assert _facts(stack) == ["error Full"]


def test_withheld_texts_are_said_in_one_line_with_what_lets_them_out() -> None:
    assert _last_line(["order ref", "customer.note", "plan.tier"], 200) == (
        "withheld texts: customer.note, plan.tier, order ref;"
        " to let out ids: TURNTRACE_ATTRIBUTES=customer.note:id,plan.tier:id"
    )


def test_fewer_keys_are_named_where_the_setting_would_not_fit() -> None:
    assert _last_line(["customer.note", "order.reference", "plan.tier"]) == (
        "withheld texts: customer.note, 2 more;"
        " to let out ids: TURNTRACE_ATTRIBUTES=customer.note:id"
    )


def test_only_a_few_keys_are_named() -> None:
    line = _last_line([f"a.{number}" for number in range(9)])
    assert line.startswith("withheld texts: a.0, a.1, a.2, 6 more; ")


@pytest.mark.parametrize("width", [60, 120])
def test_line_of_withheld_keys_fits(width: int) -> None:
    line = _last_line([f"a.{number}" + "k" * 60 for number in range(9)], width)
    assert cell_len(line) <= width


def test_setting_that_does_not_fit_is_left_out_and_never_cut() -> None:
    assert _last_line(["customer.note"], 80) == "withheld texts: customer.note"


def test_hostile_keys_are_cleaned_and_not_offered() -> None:
    line = _last_line(['\x1b[31mx":0})\n\u202e', "app.*"])
    assert line == 'withheld texts: x":0}) , app.*'


@pytest.mark.parametrize("keys", [None, "", [], [None, 3, ""], {"a": "b"}, 7])
def test_without_withheld_keys_nothing_is_said(keys: object) -> None:
    assert "place order" in _last_line(keys)
