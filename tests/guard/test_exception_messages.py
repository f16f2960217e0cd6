"""The message of an exception leaves only where app and operator both said so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import CANARY, Hostile, PaymentFailed

from turntrace.attributes import EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE
from turntrace.errors import ConfigurationError
from turntrace.guard.exceptions import ContentFreeTypes, ExceptionDescriber


def describer(*types: type[BaseException]) -> ExceptionDescriber:
    allowed = ContentFreeTypes()
    allowed.register(*types)
    return ExceptionDescriber(allowed)


def test_a_message_leaves_only_where_the_operator_allows_it() -> None:
    assert describer(PaymentFailed)(PaymentFailed("declined"))[EXCEPTION_MESSAGE] == "declined"
    assert EXCEPTION_MESSAGE not in ExceptionDescriber()(PaymentFailed("declined"))


def test_a_registered_type_stands_for_itself_alone() -> None:
    below = type("PaymentFailed", (PaymentFailed,), {})
    same_name = type("PaymentFailed", (Exception,), {"__module__": "raised"})
    for kind in (below, same_name, Exception, Hostile):
        assert EXCEPTION_MESSAGE not in describer(PaymentFailed)(kind())


def test_the_message_of_a_cause_stays() -> None:
    error = ValueError(CANARY)
    error.__cause__ = PaymentFailed("declined")
    assert EXCEPTION_MESSAGE not in describer(PaymentFailed)(error)


@given(st.text(max_size=2_000))
def test_a_message_is_one_line_of_bounded_length(text: str) -> None:
    message = describer(PaymentFailed)(PaymentFailed(text))[EXCEPTION_MESSAGE]
    assert len(message) <= 256
    assert message.isprintable()


def test_a_message_that_cannot_be_had_is_left_out() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

    assert set(describer(BrokenError)(BrokenError())) == {EXCEPTION_TYPE, EXCEPTION_STACKTRACE}


def test_a_type_registered_later_counts() -> None:
    allowed = ContentFreeTypes()
    describe = ExceptionDescriber(allowed)
    allowed.register(PaymentFailed)
    assert describe(PaymentFailed("declined"))[EXCEPTION_MESSAGE] == "declined"


@pytest.mark.parametrize("wrong", ["PaymentFailed", PaymentFailed(), int, None, ValueError])
def test_what_cannot_be_vouched_for_is_refused_with_all_that_came_with_it(wrong: Any) -> None:
    allowed = ContentFreeTypes()
    with pytest.raises(ConfigurationError, match="register_content_free") as raised:
        allowed.register(PaymentFailed, wrong)
    assert "register" in str(raised.value)
    assert PaymentFailed not in allowed
