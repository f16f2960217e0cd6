"""The demo's own judgement: a whole trace passes, each thing missing is said."""

from __future__ import annotations

from typing import Any

import pytest

from renovation.demo_check import FIRST_MESSAGE, missing

NAMES = {"chat gemini-": "chat gemini-2.5-flash", "POST ": "POST 127.0.0.1"}


def whole_trace() -> list[dict[str, Any]]:
    """Return the least that the demo accepts."""
    spans: list[dict[str, Any]] = []
    ids: dict[str, list[str]] = {"": [""]}
    for want in FIRST_MESSAGE:
        for _ in range(want.at_least):
            span_id = f"{len(spans):016x}"
            spans.append(
                {
                    "span_id": span_id,
                    "parent_span_id": ids[want.parent][0],
                    "name": NAMES.get(want.what, want.what),
                    "attributes": dict.fromkeys(want.facts, 1),
                }
            )
            ids.setdefault(want.what, []).append(span_id)
    return spans


def test_a_whole_trace_lacks_nothing() -> None:
    assert missing(whole_trace()) == []


@pytest.mark.parametrize("index", range(len(whole_trace())))
def test_each_span_that_did_not_arrive_is_said(index: int) -> None:
    spans = whole_trace()
    lost = spans.pop(index)
    assert any(lost["name"].startswith(want.what) for want in FIRST_MESSAGE)
    assert missing(spans)


@pytest.mark.parametrize("index", range(1, len(whole_trace())))
def test_each_span_under_a_wrong_parent_is_said(index: int) -> None:
    spans = whole_trace()
    spans[index]["parent_span_id"] = spans[0 if index > 1 else 2]["span_id"]
    if spans[index]["parent_span_id"] != whole_trace()[index]["parent_span_id"]:
        assert missing(spans)


@pytest.mark.parametrize(
    ("index", "fact"),
    [(i, fact) for i, span in enumerate(whole_trace()) for fact in span["attributes"]],
)
def test_each_fact_that_is_missing_is_said(index: int, fact: str) -> None:
    spans = whole_trace()
    del spans[index]["attributes"][fact]
    assert any(fact in problem for problem in missing(spans))


def test_an_empty_trace_lacks_everything() -> None:
    assert len(missing([])) == len(FIRST_MESSAGE) + 1
