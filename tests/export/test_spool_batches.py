"""Claims about segments as batches: when they end, what of them is held, who gets them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from test_spool import Spools, append_all, assert_balanced, die, drained, numbers

from faults.spool_model import number_of, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turntrace.export.spool.spool import Spool


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools(tmp_path / "spool")
    yield made
    made.close()


def batches(spool: Spool) -> list[list[int]]:
    found = []
    while spans := spool.read():
        found.append(numbers(spans))
        spool.acknowledge(spans[-1].position)
    return found


def test_a_segment_takes_a_batch_and_no_more(spools: Spools) -> None:
    spool = spools(batch_spans=10)
    append_all(spool, range(25))
    assert len(spools.files()) == 3
    assert numbers(spool.read(10)) == list(range(10))
    assert [len(batch) for batch in batches(spool)] == [20, 5]


def test_no_part_of_a_further_segment_fills_an_answer_up(spools: Spools) -> None:
    spool = spools(batch_spans=10)
    append_all(spool, range(25))
    assert numbers(spool.read(15)) == list(range(10))


def test_what_is_not_full_is_left_alone_unless_asked_for(spools: Spools) -> None:
    spool = spools(batch_spans=10)
    append_all(spool, range(9))
    assert not spool.has_full_segment()
    assert not spool.is_empty()
    assert spool.read(retire=False) == []
    append_all(spool, range(9, 10))
    assert spool.has_full_segment()
    assert numbers(spool.read(retire=False)) == list(range(10))
    assert drained(spool) == list(range(10))
    assert spool.is_empty()
    assert not spool.has_full_segment()


def test_it_is_said_when_a_segment_is_opened_and_when_it_is_full(spools: Spools) -> None:
    said: list[int] = []
    spool = spools(batch_spans=5, on_segment=lambda: said.append(spool.counts().appended))
    append_all(spool, range(12))
    assert said == [1, 5, 6, 10, 11]


def test_who_is_inside_a_segment_keeps_it_from_being_read_and_nothing_else(spools: Spools) -> None:
    spool = spools(batch_spans=3)
    append_all(spool, range(3))
    busy = spool._writer.current
    busy.enter()
    append_all(spool, range(3, 6))
    assert numbers(spool.read()) == [3, 4, 5]
    spool.acknowledge(spool.read()[-1].position)
    assert spool.has_full_segment(), "or who leaves it last would have to say so"
    assert spool.read() == []
    busy.count_no_span()
    busy.leave()
    assert drained(spool) == [0, 1, 2]


def test_what_is_held_comes_although_its_file_is_gone_or_spoiled(spools: Spools) -> None:
    spool = spools(batch_spans=5)
    append_all(spool, range(10))
    first, second = spools.files()
    first.unlink()
    second.write_bytes(b"nonsense")
    assert drained(spool) == list(range(10))
    assert not spool.counts().dropped
    assert_balanced(spool.counts())


def test_no_more_is_held_than_was_said_and_it_is_given_back(spools: Spools) -> None:
    spool = spools(batch_spans=10, held_bytes=8_000)

    def held() -> int:
        own = spool._own.current
        assert own is not None
        files = [segment.file for segment in own.segments]
        return sum(file.size_bytes for file in files if file and file.records is not None)

    for _ in range(3):
        append_all(spool, range(200), padding=100)
        assert 4_000 < held() <= 8_300
        assert drained(spool) == list(range(200))
    spool._writer.retire(spool._writer.current)
    assert spool._writer._maker.budget.left_bytes(spool._writer.current) == 8_000


def test_a_write_that_failed_leaves_no_record(spools: Spools) -> None:
    spool = spools()
    append_all(spool, range(3))
    spool._writer._write = lambda descriptor, frame, size: 3
    assert spool.append(numbered(3)) is None
    assert drained(spool) == [0, 1, 2]
    assert_balanced(spool.counts())


def test_a_part_of_a_held_batch_comes_again_after_a_crash_and_no_more(spools: Spools) -> None:
    dead = spools(batch_spans=10)
    append_all(dead, range(30))
    assert dead.read(10)
    dead.acknowledge(dead.read(10)[-1].position)
    dead.acknowledge(dead.read(10)[4].position)
    assert numbers(dead.read(3)) == [15, 16, 17]
    die(dead)
    heir = spools()
    heir.adopt()
    assert drained(heir) == list(range(10, 30))


def test_own_spans_and_a_dead_process_s_take_turns(spools: Spools) -> None:
    dead = spools(batch_spans=5)
    append_all(dead, range(15))
    die(dead)
    spool = spools(batch_spans=5)
    spool.adopt()
    append_all(spool, range(100, 115))
    came = []
    while found := spool.read(5):
        assert numbers(spool.read(5)) == numbers(found)
        came.append(numbers(found)[0])
        spool.acknowledge(found[-1].position)
    assert came == [0, 100, 5, 105, 10, 110]


def test_what_is_let_go_of_is_taken_by_another_process(spools: Spools) -> None:
    app, shipper = spools(), spools()
    append_all(app, range(5))
    assert shipper.adopt() == 0
    mark = app.mark()
    app.let_go()
    assert app.is_settled(mark)
    assert app.is_empty()
    assert (app.counts().appended, app.counts().handed_over) == (5, 5)
    assert_balanced(app.counts())
    assert shipper.adopt() == 1
    append_all(app, range(5, 8))
    assert drained(shipper) == list(range(5))
    assert drained(app) == [5, 6, 7]
    assert_balanced(app.counts())


def test_a_directory_is_not_given_up_under_somebody_who_writes_there(spools: Spools) -> None:
    app, shipper = spools(), spools()
    append_all(app, range(3))
    busy = app._writer.current
    busy.enter()
    app.let_go()
    assert shipper.adopt() == 0
    assert_balanced(app.counts())
    busy.count_no_span()
    busy.leave()
    app.keep_bounds()
    assert shipper.adopt() == 1
    assert drained(shipper) == [0, 1, 2]


def test_nothing_is_lost_or_twice_while_a_thread_appends_and_another_lets_go(
    spools: Spools,
) -> None:
    app, shipper = spools(batch_spans=7), spools()
    threads = [
        threading.Thread(target=append_all, args=(app, range(first, first + 1_000)))
        for first in range(0, 4_000, 1_000)
    ]
    for thread in threads:
        thread.start()
    came: list[int] = []
    while any(thread.is_alive() for thread in threads):
        app.let_go()
        shipper.adopt()
        came += drained(shipper)
    app.let_go()
    shipper.adopt()
    came += drained(shipper)
    assert sorted(came) == list(range(4_000))
    assert app.counts().handed_over == app.counts().appended == 4_000
    assert not shipper.counts().damaged


def test_the_start_of_an_open_span_is_not_copied_again_and_again(spools: Spools) -> None:
    spool = spools(batch_spans=4, is_open=lambda trace_id, span_id: True)
    for number in range(20):
        assert spool.append_start(numbered(number)) is not None
    before = {path: path.read_bytes() for path in spools.files()}
    for _ in range(5):
        assert spool.read() == []
        assert spool.is_empty()
    assert {path: path.read_bytes() for path in spools.files()} == before
    assert number_of(numbered(3)) == 3
