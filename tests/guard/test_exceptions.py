"""Exceptions leave as types and places; what a user typed is in none of it."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import CANARY, RAISERS, WORD, Hostile, PaymentFailed, caught

from turntrace import failsafe
from turntrace.attributes import EXCEPTION_STACKTRACE, EXCEPTION_TYPE
from turntrace.guard.exceptions import (
    MAX_STACK_LENGTH,
    ContentFreeTypes,
    ExceptionDescriber,
    is_safe_stack,
    safe_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def facts_of(work: Callable[[], object], **options: Any) -> dict[str, str]:
    return ExceptionDescriber(**options)(caught(work))


def stack_of(work: Callable[[], object], **options: Any) -> list[str]:
    return facts_of(work, **options)[EXCEPTION_STACKTRACE].split("\n")


def chained(error: BaseException, *causes: BaseException) -> BaseException:
    for outer, inner in zip((error, *causes), causes, strict=False):
        outer.__cause__ = inner
    return error


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def deep(levels: int) -> None:
    if levels:
        deep(levels - 1)
    raise PaymentFailed


@pytest.mark.parametrize("raiser", RAISERS.values(), ids=list(RAISERS))
def test_nothing_that_was_typed_is_in_what_leaves(raiser: Callable[[], object]) -> None:
    before = failsafe.failures()
    facts = facts_of(raiser)
    assert WORD not in repr(facts)
    assert set(facts) == {EXCEPTION_TYPE, EXCEPTION_STACKTRACE}
    assert failsafe.failures() == before


@pytest.mark.parametrize("raiser", RAISERS.values(), ids=list(RAISERS))
def test_what_is_written_passes_the_check(raiser: Callable[[], object]) -> None:
    assert is_safe_stack(facts_of(raiser)[EXCEPTION_STACKTRACE])


@pytest.mark.parametrize("name", sorted(set(RAISERS) - {"hostile attributes"}))
def test_what_python_formats_does_not_pass_the_check(name: str) -> None:
    error = caught(RAISERS[name])
    trace = BaseException.__dict__["__traceback__"].__get__(error)
    assert not is_safe_stack("".join(traceback.format_exception(type(error), error, trace)))


def test_no_attribute_of_the_exception_is_asked_for() -> None:
    error = caught(raising(Hostile()))
    ExceptionDescriber(ContentFreeTypes())(error)
    assert isinstance(error, Hostile)
    assert error.asked == []


def test_the_type_comes_first_then_the_frames_from_the_innermost_on() -> None:
    def pay() -> None:
        raise PaymentFailed(CANARY)

    def order() -> None:
        pay()

    line = inspect.getsourcelines(pay)[1]
    prefix = "test_the_type_comes_first_then_the_frames_from_the_innermost_on.<locals>."
    stack = stack_of(order)
    assert stack[0] == "raised.PaymentFailed"
    assert [frame.rpartition("test_exceptions.py")[2] for frame in stack[1:3]] == [
        f":{line + 1} in {prefix}pay",
        f":{line + 4} in {prefix}order",
    ]
    assert stack[3].endswith("in caught")


def test_equal_errors_have_equal_stacks() -> None:
    assert stack_of(lambda: deep(5)) != stack_of(lambda: deep(6))
    describe = ExceptionDescriber()
    first, second = (describe(caught(RAISERS["task group"])) for _ in range(2))
    assert first == second


def failing(error: BaseException, cause: BaseException | None, *, hidden: bool) -> None:
    try:
        raising(KeyError(CANARY))()
    except KeyError:
        if cause is not None or hidden:
            raise error from cause
        raise error  # noqa: B904 - what was handled is the point


def heads(stack: list[str]) -> list[str]:
    return [line for line in stack if not line.startswith(" ")]


def test_a_cause_and_what_was_being_handled_follow_below() -> None:
    inner = caught(lambda: failing(PaymentFailed(), None, hidden=False))
    stack = stack_of(lambda: failing(IndexError(), inner, hidden=False))
    assert heads(stack) == [
        "IndexError",
        "caused by raised.PaymentFailed",
        "while handling KeyError",
    ]


def test_what_was_suppressed_is_left_out() -> None:
    assert heads(stack_of(lambda: failing(IndexError(), None, hidden=True))) == ["IndexError"]


def test_members_of_a_group_stand_indented_below_it_at_two_levels() -> None:
    third = ExceptionGroup("c", [OSError()])
    group = ExceptionGroup("a", [ExceptionGroup("b", [third, KeyError()]), ValueError()])
    assert ExceptionDescriber()(group)[EXCEPTION_STACKTRACE].split("\n") == [
        "ExceptionGroup",
        "  member ExceptionGroup",
        "    member ExceptionGroup",
        "      ... 1 more members",
        "    member KeyError",
        "  member ValueError",
    ]


def test_a_group_shows_eight_members_and_counts_the_others() -> None:
    group = ExceptionGroup("a", [ValueError() for _ in range(1_000)])
    stack = ExceptionDescriber()(group)[EXCEPTION_STACKTRACE]
    assert stack.count("member ValueError") == 8
    assert stack.endswith("\n  ... 992 more members")
    assert is_safe_stack(stack)


def test_a_chain_shows_eight_exceptions() -> None:
    stack = ExceptionDescriber()(chained(*[ValueError() for _ in range(1_000)]))
    assert stack[EXCEPTION_STACKTRACE].split("\n") == [
        "ValueError",
        *["caused by ValueError"] * 7,
        "... more causes",
    ]


def test_a_circular_chain_ends() -> None:
    first, second = ValueError(), KeyError()
    stack = ExceptionDescriber()(chained(first, second, first))[EXCEPTION_STACKTRACE]
    assert stack == "ValueError\ncaused by KeyError"


def test_a_group_that_causes_itself_ends() -> None:
    member = ValueError()
    group = ExceptionGroup("a", [member])
    member.__cause__ = group
    stack = ExceptionDescriber()(group)[EXCEPTION_STACKTRACE]
    assert stack == "ExceptionGroup\n  member ValueError"


def test_of_a_deep_recursion_both_ends_are_kept_and_the_middle_is_counted() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        stack = stack_of(lambda: deep(10_000))
    finally:
        sys.setrecursionlimit(limit)
    # Beside those of deep(): the lambda, and the one that catches.
    assert stack[17] == f"  ... {10_001 + 2 - 32} more frames"
    assert len(stack) == 1 + 16 + 1 + 16
    assert stack[1].endswith("in deep")
    assert stack[-1].endswith("in caught")
    assert is_safe_stack("\n".join(stack))


def test_a_stack_is_cut_at_a_whole_line() -> None:
    def nested(level: int) -> BaseException:
        if not level:
            return chained(*[caught(lambda: deep(40)) for _ in range(8)])
        return ExceptionGroup("a", [nested(level - 1) for _ in range(8)])

    stack = ExceptionDescriber()(nested(2))[EXCEPTION_STACKTRACE]
    assert MAX_STACK_LENGTH - 200 < len(stack) <= MAX_STACK_LENGTH
    assert is_safe_stack(stack)


def test_of_libraries_only_the_innermost_frame_is_shown_below_frames_of_the_app() -> None:
    stack = stack_of(RAISERS["SQLAlchemy"])
    assert stack[1].startswith("  sqlalchemy/")
    assert stack[2].endswith("in _database")


def test_a_path_begins_where_its_code_is_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "home" / "alice" / "shop"
    package.mkdir(parents=True)
    (package / "orders.py").write_text("def pay():\n    raise KeyError\n")
    monkeypatch.syspath_prepend(str(package.parent))
    import shop.orders  # type: ignore[import-not-found]

    assert stack_of(shop.orders.pay)[1] == "  shop/orders.py:2 in pay"


@pytest.mark.parametrize("file", ["/home/alice/x.py", "/Users/alice/x.py", "/elsewhere/x.py"])
def test_outside_of_the_import_path_a_file_has_no_folders(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/", "/home", "/Users"])
    code = compile("1 / 0", file, "exec")
    stack = stack_of(lambda: exec(code, {"__file__": file}))  # noqa: S102 - a file of that name
    assert stack[1] == "  x.py:1 in <module>"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "  json/decoder.py:"),
        ({"app_packages": ["shop"]}, "  shop/orders.py:1 in <module>"),
    ],
)
def test_an_installed_app_can_be_named(options: dict[str, Any], expected: str) -> None:
    file = "/opt/lib/site-packages/shop/orders.py"
    code = compile("import json; json.loads('{')", file, "exec")
    stack = stack_of(lambda: exec(code, {"__file__": file}), **options)  # noqa: S102 - as above
    assert any(line.startswith(expected) for line in stack[1:3])
    assert ("shop/orders.py" in "\n".join(stack)) is bool(options)


def test_a_traceback_without_a_frame_of_the_app_shows_the_innermost_ones(tmp_path: Path) -> None:
    error = caught(RAISERS["json"])
    assert error.__traceback__ is not None
    trace = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr] # caught(), the lambda
    stack = ExceptionDescriber()(error.with_traceback(trace))[EXCEPTION_STACKTRACE]
    assert [line.partition(":")[0] for line in stack.split("\n")] == [
        "json.decoder.JSONDecodeError",
        "  json/decoder.py",
        "  json/decoder.py",
        "  json/__init__.py",
    ]


def test_libraries_that_called_the_app_are_left_out() -> None:
    error = caught(lambda: json.loads("{}", object_hook=lambda _: deep(0)))
    assert error.__traceback__ is not None
    trace = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr] # caught(), the lambda
    stack = ExceptionDescriber()(error.with_traceback(trace))[EXCEPTION_STACKTRACE]
    assert [line.rpartition(" ")[2].rpartition(".")[2] for line in stack.split("\n")] == [
        "PaymentFailed",
        "deep",
        "<lambda>",
    ]


def test_a_program_s_own_exception_is_told_from_where_it_started(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from turntrace.guard.exceptions import ExceptionDescriber\n"
        "class Lost(Exception): pass\n"
        "def work(): raise Lost\n"
        "try:\n    work()\nexcept Lost as error:\n"
        "    print(ExceptionDescriber()(error)['exception.stacktrace'])\n"
    )
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "__main__.Lost",
        "  app.py:3 in work",
        "  app.py:5 in <module>",
    ]


def test_a_deleted_working_directory_does_not_matter(tmp_path: Path) -> None:
    gone, back = tmp_path / "gone", Path.cwd()
    gone.mkdir()
    os.chdir(gone)
    try:
        gone.rmdir()
        assert stack_of(lambda: deep(0))[0] == "raised.PaymentFailed"
    finally:
        os.chdir(back)


@pytest.mark.parametrize("given", [CANARY, None, 7, PaymentFailed, type(CANARY, (), {})])
def test_what_is_no_exception_is_a_type_at_most(given: Any) -> None:
    facts = ExceptionDescriber()(given)
    assert set(facts) == {EXCEPTION_TYPE}
    assert WORD not in repr(facts)


def test_a_type_of_a_function_is_named_with_it() -> None:
    class LostError(Exception):
        pass

    assert safe_type(LostError).endswith(
        "test_exceptions.test_a_type_of_a_function_is_named_with_it.<locals>.LostError"
    )


def test_a_class_cannot_pass_for_a_built_in_one() -> None:
    assert safe_type(type(WORD, (Exception,), {"__module__": "builtins"})) == "<withheld>"


# -- the check ------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_a_message_never_passes_the_check_as_part_of_a_stack(text: str) -> None:
    known = ExceptionDescriber()(PaymentFailed())[EXCEPTION_STACKTRACE]
    assert not is_safe_stack(f"{known}: {text}")
    assert not is_safe_stack(f"{known}\n    {CANARY}{text}")
    assert not is_safe_stack(f"ValueError({text!r})")


@pytest.mark.parametrize(
    "text",
    [
        "",
        WORD,
        CANARY,
        "ValueError\n",
        "\nValueError",
        "ValueError\r\n  app.py:1 in f",
        "ValueError\n  /home/alice/app.py:1 in f",
        "ValueError\n  ../app.py:1 in f",
        "ValueError\n  app.py:1 in f\n    raise ValueError",
        "ValueError\n  app.py:one in f",
        "ValueError\n  hello world.py:1 in f",
        f"ValueError\ncaused by {WORD}",
        "ValueError\n" + "  app.py:1 in f\n" * 2_000 + "KeyError",
        None,
        b"ValueError",
    ],
)
def test_other_texts_do_not_pass_the_check(text: Any) -> None:
    assert not is_safe_stack(text)
