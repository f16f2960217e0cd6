"""The critical path: the pieces that a turn waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from turntrace.view.turn_path import Interval, PathTree, Piece, critical_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


def _tree(*spans: tuple[str, str, int, int]) -> PathTree:
    """Return a tree of (id, parent, start, end)."""
    children: dict[str, list[str]] = {}
    for span_id, parent, *_ in spans:
        children.setdefault(parent, []).append(span_id)
    times = {span_id: Interval(start, end) for span_id, _, start, end in spans}
    return PathTree(children.pop("", []), children, times)


def _path(window: tuple[int, int], *spans: tuple[str, str, int, int]) -> list[tuple[object, ...]]:
    return [tuple(piece) for piece in critical_path(_tree(*spans), Interval(*window))]


def test_root_alone_is_the_whole_path() -> None:
    assert _path((0, 10), ("root", "", 0, 10)) == [("root", 0, 10)]


def test_children_in_order_take_their_time_and_the_root_what_is_between() -> None:
    assert _path((0, 10), ("root", "", 0, 10), ("a", "root", 1, 4), ("b", "root", 5, 9)) == [
        ("root", 0, 1),
        ("a", 1, 4),
        ("root", 4, 5),
        ("b", 5, 9),
        ("root", 9, 10),
    ]


def test_of_parallel_branches_the_one_that_ended_last_was_waited_for() -> None:
    assert _path((0, 10), ("root", "", 0, 10), ("fast", "root", 0, 4), ("slow", "root", 0, 10)) == [
        ("slow", 0, 10)
    ]


def test_branch_that_ended_before_the_slow_one_began_was_waited_for_too() -> None:
    assert _path(
        (0, 10),
        ("root", "", 0, 10),
        ("first", "root", 0, 3),
        ("beside", "root", 3, 9),
        ("slow", "root", 3, 10),
    ) == [("first", 0, 3), ("slow", 3, 10)]


def test_overlapping_siblings_share_no_moment() -> None:
    assert _path((0, 10), ("root", "", 0, 10), ("a", "root", 0, 6), ("b", "root", 5, 10)) == [
        ("a", 0, 5),
        ("b", 5, 10),
    ]


def test_message_that_outlives_its_emit_is_waited_for() -> None:
    path = _path((0, 10), ("root", "", 0, 10), ("emit", "root", 1, 2), ("handler", "emit", 3, 9))
    assert path == [
        ("root", 0, 1),
        ("emit", 1, 2),
        ("root", 2, 3),
        ("handler", 3, 9),
        ("root", 9, 10),
    ]


def test_answer_after_the_root_ended_is_part_of_the_path() -> None:
    assert _path((0, 10), ("root", "", 0, 2), ("task", "root", 1, 10)) == [
        ("root", 0, 1),
        ("task", 1, 10),
    ]


def test_child_with_a_slow_clock_is_cut_at_the_start_of_the_turn() -> None:
    assert _path((0, 10), ("root", "", 0, 10), ("early", "root", -5, 4)) == [
        ("early", 0, 4),
        ("root", 4, 10),
    ]


def test_time_between_two_roots_belongs_to_no_span() -> None:
    assert _path((0, 10), ("a", "", 0, 3), ("b", "", 6, 10)) == [
        ("a", 0, 3),
        (None, 3, 6),
        ("b", 6, 10),
    ]


def test_spans_of_no_length_are_not_on_the_path() -> None:
    assert _path((0, 10), ("root", "", 0, 10), ("none", "root", 5, 5)) == [("root", 0, 10)]


def test_turn_of_no_length_has_no_path() -> None:
    assert _path((0, 0), ("root", "", 0, 0)) == []


def test_tree_as_deep_as_it_has_spans_is_followed_to_its_end() -> None:
    depth = 20_000
    chain = [("0", "", 0, depth)]
    chain += [(str(level), str(level - 1), 0, depth - level) for level in range(1, depth)]
    path = critical_path(_tree(*chain), Interval(0, depth))
    assert path[0] == Piece(str(depth - 1), 0, 1)
    assert len(path) == depth


_TIMES = st.integers(min_value=-20, max_value=120)


@st.composite
def _forests(draw: st.DrawFn) -> PathTree:
    """Draw a forest whose times know nothing of its shape."""
    count = draw(st.integers(min_value=1, max_value=14))
    spans = []
    for number in range(count):
        start, end = sorted((draw(_TIMES), draw(_TIMES)))
        parent = draw(st.integers(min_value=-1, max_value=number - 1))
        spans.append((str(number), str(parent) if parent >= 0 else "", start, end))
    return _tree(*spans)


@given(_forests(), st.integers(0, 50), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_pieces_make_up_the_turn_without_gap_or_overlap(
    tree: PathTree, start: int, length: int
) -> None:
    window = Interval(start, start + length)
    path = critical_path(tree, window)
    now = window.start_ns
    for piece in path:
        assert piece.start_ns == now
        assert piece.end_ns > now
        now = piece.end_ns
    assert now == window.end_ns
    assert sum(piece.end_ns - piece.start_ns for piece in path) == length


@given(_forests())
@settings(max_examples=100, deadline=None)
def test_every_piece_lies_in_the_span_it_is_given_to(tree: PathTree) -> None:
    for piece in critical_path(tree, Interval(0, 100)):
        covering = [span_id for span_id in tree.times if _covers(tree.times[span_id], piece)]
        if piece.span_id is not None:
            assert piece.span_id in covering


@given(_forests(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_same_spans_in_any_order_give_the_same_path(tree: PathTree, random: Random) -> None:
    def shuffled(ids: Sequence[str]) -> list[str]:
        return sorted(ids, key=lambda _: random.random())

    mixed = PathTree(
        shuffled(tree.roots),
        {parent: shuffled(ids) for parent, ids in tree.children.items()},
        tree.times,
    )
    window = Interval(0, 100)
    assert critical_path(mixed, window) == critical_path(tree, window)


def _covers(time: Interval, piece: Piece) -> bool:
    return time.start_ns <= piece.start_ns and piece.end_ns <= time.end_ns
