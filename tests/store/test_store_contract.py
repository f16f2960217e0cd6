"""What every store promises (``turntrace/store/contract.py``)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from stored_spans import START_NS, TRACE_ID, make_full_span, make_span, make_trace_id

from turntrace.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from turntrace.store.contract import TraceStore

WAIT_SECONDS = 10


def test_span_comes_back_as_it_was_written(store: TraceStore) -> None:
    span = make_full_span()
    store.write([span]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID) == [span]


def test_numbers_keep_their_type(store: TraceStore) -> None:
    store.write([make_span(attributes={"i": 1, "f": 1.0, "b": True})]).result(WAIT_SECONDS)
    attributes = store.trace(TRACE_ID)[0].attributes
    assert [type(value) for value in attributes.values()] == [int, float, bool]


def test_trace_is_sorted_by_start_then_span_id(store: TraceStore) -> None:
    late = make_span(span_id="00000000000000a1", start_ns=START_NS + 5)
    twin = make_span(span_id="00000000000000a3")
    first = make_span(span_id="00000000000000a2")
    store.write([late, twin, first]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID) == [first, twin, late]


def test_trace_holds_only_its_own_spans(store: TraceStore) -> None:
    mine, other = make_span(), make_span(trace_id=make_trace_id())
    store.write([mine, other]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID) == [mine]


def test_trace_id_may_be_upper_case(store: TraceStore) -> None:
    store.write([make_span()]).result(WAIT_SECONDS)
    assert len(store.trace(TRACE_ID.upper())) == 1


@pytest.mark.parametrize("trace_id", ["", "f" * 32, "g" * 32, "7d3f", TRACE_ID + "00", "' OR 1=1"])
def test_unknown_trace_is_empty(store: TraceStore, trace_id: str) -> None:
    store.write([make_span()]).result(WAIT_SECONDS)
    assert store.trace(trace_id) == []


def test_no_spans_are_written_without_complaint(store: TraceStore) -> None:
    store.write([]).result(WAIT_SECONDS)
    assert store.recent(10) == []


def test_same_span_twice_in_one_write_is_one_and_the_last_wins(store: TraceStore) -> None:
    span = make_span()
    changed = replace(span, name="changed", attributes={"n": 2})
    store.write([span, changed]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID) == [changed]


def test_span_sent_again_is_one_and_the_last_wins(store: TraceStore) -> None:
    span = make_span()
    changed = replace(span, name="changed", attributes={"n": 2})
    store.write([span]).result(WAIT_SECONDS)
    store.write([changed]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID) == [changed]


def test_same_span_id_in_two_traces_is_two_spans(store: TraceStore) -> None:
    one = make_span(span_id="00000000000000a1")
    other = replace(one, trace_id=make_trace_id())
    store.write([one, other]).result(WAIT_SECONDS)
    assert store.trace(one.trace_id) == [one]
    assert store.trace(other.trace_id) == [other]


def test_failed_write_stores_nothing_and_the_next_one_works(store: TraceStore) -> None:
    good = make_span(scope_name="new scope", resource={"new": "resource"})
    unusable = make_span(span_id="not hexadecimal")
    with pytest.raises(Exception, match="hexadecimal"):
        store.write([good, unusable]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID) == []
    assert store.recent(10) == []
    store.write([good]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID) == [good]


def test_writes_take_effect_in_order(store: TraceStore) -> None:
    span = make_span()
    writes = [store.write([replace(span, name=f"version {n}")]) for n in range(50)]
    for write in writes:
        write.result(WAIT_SECONDS)
    assert [span.name for span in store.trace(TRACE_ID)] == ["version 49"]


def test_recent_summarizes_over_several_writes(store: TraceStore) -> None:
    child = make_span(
        parent_span_id="00000000000000a1",
        start_ns=START_NS + 10,
        end_ns=START_NS + 900,
        status_code="error",
        service="worker",
        resource={"service.name": "worker"},
    )
    root = make_span(
        span_id="00000000000000a1", name="turn", start_ns=START_NS + 5, end_ns=START_NS + 500
    )
    store.write([child]).result(WAIT_SECONDS)
    (before,) = store.recent(10)
    store.write([root]).result(WAIT_SECONDS)
    (after,) = store.recent(10)
    assert (before.root_name, before.service, before.span_count) == ("work", "worker", 1)
    assert (after.root_name, after.service, after.span_count) == ("turn", "demo", 2)
    assert (after.start_ns, after.duration_ns, after.error_count) == (START_NS + 5, 895, 1)


def test_summary_counts_a_repeated_span_once(store: TraceStore) -> None:
    spans = [make_span(status_code="error"), make_span()]
    store.write(spans).result(WAIT_SECONDS)
    store.write([*spans, make_span()]).result(WAIT_SECONDS)
    (summary,) = store.recent(10)
    assert (summary.span_count, summary.error_count) == (3, 1)


def test_summary_follows_a_span_that_changed(store: TraceStore) -> None:
    span = make_span(status_code="error", end_ns=START_NS + 900)
    store.write([span, make_span(parent_span_id=span.span_id)]).result(WAIT_SECONDS)
    changed = replace(
        span,
        name="renamed",
        status_code="ok",
        start_ns=START_NS + 1,
        end_ns=START_NS + 2_000_000,
        service="moved",
        resource={"service.name": "moved"},
    )
    store.write([changed]).result(WAIT_SECONDS)
    (summary,) = store.recent(10)
    assert (summary.root_name, summary.service) == ("renamed", "moved")
    assert (summary.span_count, summary.error_count) == (2, 0)
    assert (summary.start_ns, summary.duration_ns) == (START_NS, 2_000_000)


def test_recent_gives_the_latest_start_first_and_no_more_than_asked(store: TraceStore) -> None:
    trace_ids = [make_trace_id() for _ in range(5)]
    for position, trace_id in enumerate(trace_ids):
        store.write([make_span(trace_id=trace_id, start_ns=START_NS + position)]).result(
            WAIT_SECONDS
        )
    assert [summary.trace_id for summary in store.recent(3)] == trace_ids[:1:-1]
    assert store.recent(0) == []


def test_what_was_written_is_there_after_reopening(open_store: Callable[[], TraceStore]) -> None:
    store = open_store()
    spans = [make_full_span(), make_span()]
    store.write(spans)
    store.close()
    reopened = open_store()
    assert sorted(reopened.trace(TRACE_ID), key=lambda span: span.span_id) == sorted(
        spans, key=lambda span: span.span_id
    )
    reopened.write([make_span(scope_name="turntrace", scope_version="0.1")]).result(WAIT_SECONDS)
    assert reopened.recent(1)[0].span_count == 3


def test_two_open_stores_share_what_they_hold(open_store: Callable[[], TraceStore]) -> None:
    one, other = open_store(), open_store()
    for store in (one, other, one):
        store.write([make_span(attributes={"n": 1})]).result(WAIT_SECONDS)
    assert one.trace(TRACE_ID) == other.trace(TRACE_ID)
    assert one.recent(1)[0].span_count == 3


def test_reads_beside_writes_see_whole_batches_only(store: TraceStore) -> None:
    batches, size = 30, 20
    is_done = threading.Event()

    def watch() -> set[int]:
        seen = set()
        while not is_done.is_set():
            seen.add(len(store.trace(TRACE_ID)))
            seen.update(summary.span_count for summary in store.recent(1))
        return seen

    with ThreadPoolExecutor(4) as pool:
        watchers = [pool.submit(watch) for _ in range(4)]
        for _ in range(batches):
            store.write([make_span() for _ in range(size)]).result(WAIT_SECONDS)
        is_done.set()
        seen = set().union(*(watcher.result() for watcher in watchers))
    assert {count % size for count in seen} == {0}
    assert len(store.trace(TRACE_ID)) == batches * size


def test_writes_from_many_threads_lose_nothing(store: TraceStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        writes = list(pool.map(lambda _: store.write([make_span() for _ in range(5)]), range(40)))
    for write in writes:
        write.result(WAIT_SECONDS)
    assert len(store.trace(TRACE_ID)) == store.recent(1)[0].span_count == 200


def test_closed_store_refuses_and_closing_twice_is_harmless(store: TraceStore) -> None:
    store.close()
    store.close()
    for ask in (
        lambda: store.write([make_span()]),
        lambda: store.trace(TRACE_ID),
        lambda: store.recent(1),
    ):
        with pytest.raises(StoreError, match="closed"):
            ask()


def test_first_spans_of_a_trace_are_those_that_began_first(store: TraceStore) -> None:
    late, first, second = (make_span(start_ns=START_NS - number) for number in (0, 2, 1))
    store.write([late, first, second]).result(WAIT_SECONDS)
    assert store.trace(TRACE_ID, 2) == [first, second]
    assert store.trace(TRACE_ID, 9) == [first, second, late]


def test_one_span_is_found_by_its_ids(store: TraceStore) -> None:
    span = make_full_span()
    store.write([span, make_span()]).result(WAIT_SECONDS)
    assert store.span(span.trace_id, span.span_id) == span
    assert store.span(span.trace_id.upper(), span.span_id.upper()) == span


@pytest.mark.parametrize(
    ("trace_id", "span_id"),
    [(TRACE_ID, "f" * 16), ("f" * 32, "0" * 14 + "aa"), (TRACE_ID, "aa"), ("' OR 1=1", "x" * 16)],
)
def test_unknown_span_is_none(store: TraceStore, trace_id: str, span_id: str) -> None:
    store.write([make_full_span()]).result(WAIT_SECONDS)
    assert store.span(trace_id, span_id) is None


def test_extent_has_another_version_after_every_span(store: TraceStore) -> None:
    assert store.extent(TRACE_ID) is None
    span = make_span()
    batches = [
        [span],
        [make_span(start_ns=START_NS - 1)],
        [replace(span, attributes={"a": 1})],
        [replace(span, attributes={"a": 2})],
    ]
    versions = set()
    for batch in batches:
        store.write(batch).result(WAIT_SECONDS)
        extent = store.extent(TRACE_ID)
        assert extent is not None
        versions.add(extent.version)
    assert len(versions) == len(batches)
    assert (extent.start_ns, extent.span_count) == (START_NS - 1, 2)
    store.write([make_span(trace_id=make_trace_id())]).result(WAIT_SECONDS)
    assert store.extent(TRACE_ID) == extent
