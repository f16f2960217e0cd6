"""Claims about a shipper at its edges: its end, its heir, a flush given up, a late thread."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from export_collector import Collector, Reply, wait_until
from export_records import make_record
from export_shippers import make_shipper

from turntrace.export.sender import Flush
from turntrace.export.shipper import Shipper
from turntrace.export.spool.own_directories import MAX_HANDED_OVER
from turntrace.export.spool.place import spool_key
from turntrace.export.spool.report import Life, look_at
from turntrace.export.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from turntrace.export.spool.segment_file import Position

    MakeExporter = Callable[..., Shipper]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Shipper]:
    """Yield a shipper of a process that only writes."""

    def on_segment() -> None:
        shipper.on_segment()

    key = spool_key(tmp_path, service="chat", endpoint="http://localhost:4318", headers={})
    spool = Spool(root=tmp_path, key=key, resource={}, on_segment=on_segment)
    shipper = Shipper(transport=None, resource={}, spool=spool, schedule_delay_seconds=5.0)
    yield shipper
    shipper.shutdown(0.0)


def flushes() -> list[Flush]:
    return [it for it in gc.get_objects() if isinstance(it, Flush)]


def lives(root: Path) -> set[Life]:
    return {process.life for process in look_at(root).processes()}


def assert_adds_up(shipper: Shipper) -> None:
    counts = shipper.counts()
    gone = counts.acknowledged + counts.rejected + sum(counts.dropped.values())
    here = counts.waiting + counts.on_disk
    assert counts.offered + counts.adopted == gone + here + counts.handed_over


def test_a_process_that_only_writes_holds_no_lock_after_its_end(
    writer: Shipper, root: Path
) -> None:
    writer.offer(make_record())
    assert writer.force_flush(5.0)  # and at once again is too soon for another directory
    assert writer.shutdown(5.0)
    wait_until(lambda: Life.ALIVE not in lives(root))  # a busy machine: the thread is the last


def test_while_nobody_takes_what_was_handed_over_there_are_so_many_directories(
    writer: Shipper, root: Path
) -> None:
    for _ in range(MAX_HANDED_OVER + 10):
        writer.offer(make_record())
        assert writer.force_flush(5.0)
    assert len(look_at(root).processes()) <= MAX_HANDED_OVER + 1
    assert look_at(root).spans() == MAX_HANDED_OVER + 10
    assert writer.counts().on_disk == 10
    assert_adds_up(writer)


def test_when_somebody_takes_what_was_handed_over_there_is_more(
    writer: Shipper, root: Path, collector: Collector
) -> None:
    for _ in range(MAX_HANDED_OVER + 10):
        writer.offer(make_record())
        assert writer.force_flush(5.0)
    key = next(path for path in root.iterdir() if path.is_dir()).name
    taker = Spool(root=root, key=key, resource={})
    assert taker.adopt() == MAX_HANDED_OVER
    while found := taker.read():
        taker.acknowledge(found[-1].position)
    assert writer.force_flush(5.0)
    assert writer.counts().on_disk == 0
    taker.close()


def test_a_flush_whose_caller_has_gone_is_forgotten(
    make_exporter: MakeExporter, collector: Collector
) -> None:
    earlier = flushes()
    collector.default = Reply(status=503)
    exporter = make_exporter()
    exporter.offer(make_record())
    for _ in range(5):
        assert not exporter.force_flush(0.01)
    wait_until(lambda: all(any(it is old for old in earlier) for it in flushes()))


def test_a_flush_beside_a_rejection_that_is_being_written_down_says_so(
    make_exporter: MakeExporter, collector: Collector
) -> None:
    collector.default = Reply(status=400)
    exporter = make_exporter(max_batch_size=1)
    assert exporter.spool is not None
    acknowledge = exporter.spool.acknowledge
    results: list[bool] = []
    asker = threading.Thread(target=lambda: results.append(exporter.force_flush(5.0)))

    def acknowledge_and_be_asked(position: Position) -> None:
        acknowledge(position)
        asker.start()
        asker.join(0.3)

    exporter.spool.acknowledge = acknowledge_and_be_asked  # type: ignore[method-assign]
    exporter.offer(make_record())
    wait_until(lambda: results)
    assert results == [False]
    assert_adds_up(exporter)


def test_a_full_batch_is_sent_as_soon_as_the_last_one_has_left_it(
    make_exporter: MakeExporter, collector: Collector
) -> None:
    exporter = make_exporter(max_batch_size=3)
    assert exporter.spool is not None
    exporter.offer(make_record())
    busy = exporter.spool._writer.current
    busy.enter()  # as a thread that does not get the GIL for a while
    for _ in range(2):
        exporter.offer(make_record())
    wait_until(lambda: exporter.spool is not None and not exporter.spool.is_empty())
    assert collector.taken == []
    busy.count_no_span()
    busy.leave()
    wait_until(lambda: len(collector.taken) >= 2)


@pytest.mark.parametrize("is_heir", [True, False])
def test_what_a_thread_that_ends_late_leaves_is_given_up_then(
    make_exporter: MakeExporter, collector: Collector, root: Path, is_heir: bool
) -> None:
    exporter, heir = make_exporter(max_batch_size=2), make_exporter()
    assert exporter.spool is not None
    acknowledge, may_go_on = exporter.spool.acknowledge, threading.Event()
    is_inside = threading.Event()

    def acknowledge_late(position: Position) -> None:
        is_inside.set()
        may_go_on.wait(20.0)
        acknowledge(position)

    exporter.spool.acknowledge = acknowledge_late  # type: ignore[method-assign]
    for _ in range(3):
        exporter.offer(make_record())
    assert is_inside.wait(5.0)
    if is_heir:
        exporter.hand_over(heir.offer)
    else:
        exporter.shutdown(0.0)
    may_go_on.set()
    if is_heir:
        wait_until(lambda: exporter.counts().handed_over == 1)
    wait_until(lambda: exporter.spool is not None and exporter.spool._writer.is_closed)
    heir.shutdown(5.0)
    wait_until(lambda: Life.ALIVE not in lives(root))
    assert_adds_up(exporter)


def test_what_ends_while_the_spool_is_left_to_the_heir_is_not_left_behind(
    make_exporter: MakeExporter, collector: Collector
) -> None:
    heir, exporter = make_exporter(), make_exporter(max_batch_size=10)
    stop = threading.Event()
    offered = [0, 0, 0]

    def end_spans(place: int) -> None:
        while not stop.is_set():
            exporter.offer(make_record())
            offered[place] += 1

    threads = [threading.Thread(target=end_spans, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: min(offered) > 20)
        exporter.hand_over(heir.offer)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert heir.force_flush(10.0)
    counts = exporter.counts()
    assert (counts.on_disk, counts.waiting, dict(counts.dropped)) == (0, 0, {})
    assert_adds_up(exporter)
    assert len(set(collector.taken)) == sum(offered)


def test_no_descriptor_and_no_thread_is_left_by_many_shippers(
    collector: Collector, tmp_path: Path
) -> None:
    def live_and_die() -> None:
        shipper = make_shipper(collector.endpoint, tmp_path, schedule_delay_seconds=60.0)
        shipper.offer(make_record())
        assert shipper.shutdown(5.0)

    live_and_die()
    wait_until(lambda: _threads() == 0)
    before = _descriptors()
    for _ in range(20):
        live_and_die()
    wait_until(lambda: _threads() == 0 and _descriptors() <= before + 1)


def _threads() -> int:
    return sum(thread.name == "turntrace-export" for thread in threading.enumerate())


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_who_looks_while_a_directory_is_left_finds_all(tmp_path: Path) -> None:
    key = spool_key(tmp_path, service="chat", endpoint="http://localhost:4318", headers={})
    spool = Spool(root=tmp_path, key=key, resource={})
    seen: list[int] = []

    class Looking(list[Any]):
        def append(self, item: Any) -> None:
            seen.append(spool.counts().unacknowledged)
            super().append(item)
            seen.append(spool.counts().unacknowledged)

    spool._own._leaving = Looking()
    spool.append(make_record())
    spool.let_go()
    assert seen == [1, 1]
    spool.close()
