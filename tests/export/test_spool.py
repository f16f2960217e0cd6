"""Claims about the spool: what was appended comes out, once, whoever reads it."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from faults.spool_model import no_file_longer_than, number_of, numbered
from turntrace.export.spool.place import spool_key
from turntrace.export.spool.spool import Spool
from turntrace.record.record_format import FORMAT_VERSION, Header, pack
from turntrace.record.segment_reader import Frame, SegmentReader, Started
from turntrace.record.span_record import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from turntrace.export.spool.counts import SpoolCounts
    from turntrace.export.spool.stored_segment import SpooledSpan

ACCOUNT: Any = {"service": "chat", "endpoint": "http://localhost:4318", "headers": {}}


class Spools:
    """Makes spools in one root, and closes them in the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: list[Spool] = []

    def __call__(self, **options: Any) -> Spool:
        key = spool_key(self.root, **(ACCOUNT | options.pop("account", {})))
        spool = Spool(root=self.root, key=key, **({"resource": {"service.name": "chat"}} | options))
        self._made.append(spool)
        return spool

    def close(self) -> None:
        for spool in self._made:
            spool.close()

    def files(self, pattern: str = "*/*-*/*.seg") -> list[Path]:
        return sorted(self.root.glob(pattern))


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools(tmp_path / "spool")
    yield made
    made.close()


def numbers(spans: list[SpooledSpan]) -> list[int]:
    return [number_of(span.record) for span in spans]


def drained(spool: Spool, max_records: int = 512) -> list[int]:
    """Read and acknowledge all there is; return the spans' numbers."""
    came: list[int] = []
    while found := spool.read(max_records=max_records):
        came += [number_of(span.record) for span in found]
        spool.acknowledge(found[-1].position)
    return came


def die(spool: Spool) -> None:
    """Let go of everything as the end of a process does, and write nothing."""
    spool.after_fork_in_child()


def assert_balanced(counts: SpoolCounts) -> None:
    gone = counts.acknowledged + sum(counts.dropped.values()) + counts.handed_over
    here = counts.unacknowledged + counts.draining
    assert counts.appended + counts.adopted == gone + here


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def append_all(spool: Spool, numbers: range, **options: Any) -> None:
    for number in numbers:
        assert spool.append(numbered(number, **options)) is not None


def test_what_was_appended_is_read_back_whole_and_in_order(spools: Spools) -> None:
    spool = spools()
    append_all(spool, range(1, 200), scope="sql")
    found = spool.read()
    assert [span.record for span in found] == [numbered(n, scope="sql") for n in range(1, 200)]
    assert {id(span.resource) for span in found} == {id(found[0].resource)}
    assert found[0].resource.attributes == {"service.name": "chat"}


def test_without_an_acknowledgement_the_same_spans_come_again(spools: Spools) -> None:
    spool = spools(batch_spans=50)
    append_all(spool, range(100))
    first = spool.read(max_records=30)
    assert numbers(first) == numbers(spool.read(max_records=30)) == list(range(30))
    spool.acknowledge(first[9].position)
    assert numbers(spool.read(max_records=3)) == [10, 11, 12]


def test_a_batch_ends_with_the_span_that_makes_it_too_long(spools: Spools) -> None:
    spool = spools()
    append_all(spool, range(10), padding=100_000)
    assert len(spool.read(max_bytes=250_000)) == 3


def test_acknowledged_segments_are_gone_and_the_counts_are_exact(spools: Spools) -> None:
    spool = spools(segment_bytes=2_000)
    append_all(spool, range(100))
    assert len(spools.files()) > 3
    assert drained(spool, 7) == list(range(100))
    counts = spool.counts()
    assert (counts.appended, counts.acknowledged, counts.unacknowledged) == (100, 100, 0)
    assert not counts.dropped
    assert len(spools.files()) <= 1
    spool.close()
    assert not spools.files("*/*-*"), "a directory with nothing in it stays"


def test_an_idle_segment_that_was_acknowledged_does_not_stay(spools: Spools) -> None:
    spool = spools()
    append_all(spool, range(3))
    assert drained(spool) == [0, 1, 2]
    assert not spools.files()


def test_the_next_process_takes_over_where_a_dead_one_stopped(spools: Spools) -> None:
    dead = spools(segment_bytes=2_000, held_bytes=0)
    append_all(dead, range(50))
    dead.acknowledge(dead.read(max_records=17)[-1].position)
    die(dead)
    heir = spools()
    assert heir.adopt() == 1
    assert drained(heir) == list(range(17, 50))
    assert heir.counts().adopted == heir.counts().acknowledged == 33
    assert len(spools.files("*/*-*")) == 1, "the orphan's directory stays"


def test_a_living_process_keeps_its_directory(spools: Spools) -> None:
    living, other = spools(), spools()
    append_all(living, range(5))
    assert other.adopt() == 0
    assert other.read() == []
    assert drained(living) == list(range(5))


def test_of_several_that_want_an_orphan_one_gets_it(spools: Spools) -> None:
    dead = spools()
    append_all(dead, range(5))
    die(dead)
    heirs = [spools() for _ in range(4)]
    barrier, adopted = threading.Barrier(4), []

    def adopt(heir: Spool) -> None:
        barrier.wait(10)
        adopted.append(heir.adopt())

    threads = [threading.Thread(target=adopt, args=(heir,)) for heir in heirs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(adopted) == [0, 0, 0, 1]
    assert [number for heir in heirs for number in drained(heir)] == list(range(5))


@pytest.mark.parametrize(
    "other",
    [{"service": "b"}, {"endpoint": "http://h/"}, {"headers": {"api-key": "secret-of-b"}}],
)
def test_nobody_adopts_what_belongs_to_another_account(
    spools: Spools, other: dict[str, Any]
) -> None:
    dead = spools(account=other)
    append_all(dead, range(5))
    die(dead)
    stranger = spools()
    assert stranger.adopt() == 0
    assert stranger.read() == []
    heir = spools(account=other)
    heir.adopt()
    assert drained(heir) == list(range(5))


def test_a_forked_child_leaves_the_parents_files_and_lock_alone(spools: Spools) -> None:
    parent = spools()
    append_all(parent, range(5))
    before = {path: path.read_bytes() for path in spools.files("*/*-*/*")}
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            parent.after_fork_in_child({"service.name": "child"})
            untouched = {path: path.read_bytes() for path in spools.files("*/*-*/*")} == before
            append_all(parent, range(10, 13))
            mine = parent.read()
            is_right = [number_of(span.record) for span in mine] == [10, 11, 12]
            is_right &= mine[0].resource.attributes == {"service.name": "child"}
            status = 0 if untouched and is_right and parent.counts().appended == 3 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    other = spools()
    assert other.adopt() == 1, "the child's directory, and not the parent's"
    assert drained(other) == [10, 11, 12]
    assert drained(parent) == list(range(5))


def test_the_death_of_a_parent_shows_although_its_child_lives(spools: Spools) -> None:
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:  # the parent of the story
        spool = spools()
        append_all(spool, range(5))
        if os.fork() == 0:  # its child, which lives on
            spool.after_fork_in_child()
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            os._exit(0)
        signal.pause()
    os.read(ready[0], 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    heir = spools()
    try:
        assert heir.adopt() == 1
        assert drained(heir) == list(range(5))
    finally:
        os.write(done[1], b"x")
        for descriptor in (*ready, *done):
            os.close(descriptor)


def test_frames_of_many_threads_are_whole_while_segments_roll_and_are_read(spools: Spools) -> None:
    spool = spools(segment_bytes=3_000)
    spool.has_been_answered = True
    failed: list[int] = []

    def work(first: int) -> None:
        failed.extend(
            number
            for number in range(first, first + 2_000)
            if spool.append(numbered(number, scope=f"s{number % 50}")) is None
        )

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 8_000, 2_000)]
    for thread in threads:
        thread.start()
    came: list[int] = []
    while any(thread.is_alive() for thread in threads):
        came += drained(spool)
    came += drained(spool)
    assert failed == []
    assert sorted(came) == list(range(8_000))
    counts = spool.counts()
    assert (counts.appended, counts.acknowledged, dict(counts.damaged)) == (8_000, 8_000, {})
    assert_balanced(counts)


def test_an_append_in_a_signal_handler_in_the_middle_of_one_does_not_deadlock(
    spools: Spools,
) -> None:
    spool = spools(segment_bytes=600)
    handled = []
    further = itertools.count(1_000_000)  # a handler may be interrupted by the next one

    def handler(*_: object) -> None:
        handled.append(spool.append(numbered(next(further))))

    before = signal.signal(signal.SIGALRM, handler)
    chance = random.Random(7)
    try:
        number = 0
        while len(handled) < 200 and number < 20_000:
            # Once, and somewhere in the next append or beside it: a storm would prove no more.
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, 0.0001))
            assert spool.append(numbered(number)) is not None
            number += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(handled) >= 200
    assert None not in handled
    assert len(set(drained(spool))) == number + len(handled) == spool.counts().acknowledged


def test_a_segment_put_away_in_the_middle_of_an_append_is_not_written_to(spools: Spools) -> None:
    spool = spools()
    writer = spool._writer

    class Meddling(Scope):
        """Stands for a thread that rolls between the look at the segment and the write."""

        __slots__ = ()

        def __hash__(self) -> int:
            writer.retire(writer.current)
            return super().__hash__()

    append_all(spool, range(3))
    assert spool.append(structs.replace(numbered(3), scope=Meddling("test"))) is not None
    assert not writer.failures
    assert drained(spool) == [0, 1, 2, 3]
    assert len({path.name for path in spools.files()}) <= 1


def test_no_descriptor_stays_open_when_nobody_reads(spools: Spools) -> None:
    spool = spools(segment_bytes=600)
    append_all(spool, range(5))
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    append_all(spool, range(300))
    assert len(spools.files()) > 30
    assert len(list(descriptors.iterdir())) == before


def test_an_open_start_survives_the_segment_it_was_written_in(spools: Spools) -> None:
    opened = {numbered(7).span_id}
    spool = spools(segment_bytes=600, is_open=lambda trace_id, span_id: span_id in opened)
    assert spool.append_start(numbered(7, scope="turn")) is not None
    assert spool.append_start(numbered(8, scope="turn")) is not None
    append_all(spool, range(20, 60))
    assert len(drained(spool)) == 40
    assert starts(spools) == [(7, "turn")]
    opened.clear()
    append_all(spool, range(60, 100))
    assert len(drained(spool)) == 40
    assert starts(spools) == []
    assert spool.counts().appended == 80


def starts(spools: Spools) -> list[tuple[int, str]]:
    found = []
    for path in spools.files():
        for outcome in SegmentReader().read(path.read_bytes()):
            if isinstance(outcome, Frame) and isinstance(outcome.record, Started):
                span = outcome.record.span
                found.append((number_of(span), span.scope.name))
    return found


def test_the_starts_of_a_dead_process_are_shown_before_they_are_removed(spools: Spools) -> None:
    dead = spools()
    dead.append_start(numbered(7))
    append_all(dead, range(3))
    die(dead)
    shown: list[Frame] = []
    heir = spools(on_orphan_frame=shown.append)
    heir.adopt()
    assert drained(heir) == [0, 1, 2]
    assert [type(frame.record).__name__ for frame in shown] == [
        "Header",
        "ScopeEntry",
        "Started",
        *["SpanRecord"] * 3,
    ]


def test_a_segment_of_a_later_version_is_left_as_it_is_and_counted(spools: Spools) -> None:
    dead = spools()
    append_all(dead, range(3))
    die(dead)
    (ours,) = spools.files()
    newer = ours.with_name("000000000000.seg")
    newer.write_bytes(pack(Header(FORMAT_VERSION + 1, FORMAT_VERSION + 1)) + b"what it likes")
    content = newer.read_bytes()
    heir = spools()
    assert heir.adopt() == 1
    assert drained(heir) == [0, 1, 2]
    assert heir.counts().newer == 1
    assert spools.files() == [newer]
    assert newer.read_bytes() == content
    assert heir.adopt() == 0, "again and again"
    other = spools()
    assert other.adopt() == 1, "it is held by somebody who cannot read it"


def test_a_mark_is_settled_when_all_that_was_there_is_acknowledged(spools: Spools) -> None:
    spool = spools(segment_bytes=600)
    append_all(spool, range(10))
    mark = spool.mark()
    append_all(spool, range(10, 20))
    assert not spool.is_settled(mark)
    for spans_left in reversed(range(10)):
        assert not spool.is_settled(mark), spans_left
        spool.acknowledge(spool.read(max_records=1)[-1].position)
    assert spool.is_settled(mark)
    assert not spool.is_settled(spool.mark())


def test_a_full_disk_costs_what_the_caller_still_has_and_ends_by_itself(spools: Spools) -> None:
    spool = spools()
    append_all(spool, range(10))
    size = spools.files()[0].stat().st_size
    with no_file_longer_than(size + 40):
        assert spool.append(numbered(10)) is None, "half of it fits"
        assert spool.append(numbered(11)) is None, "the pause"
    with no_file_longer_than(0):
        wait_until(
            lambda: spool.append(numbered(12)) is None and spool._writer._pause_seconds > 0.1
        )
    assert spool.counts().refused["disk_full"] >= 3
    wait_until(lambda: spool.append(numbered(13)) is not None)
    assert drained(spool) == [*range(10), 13]
    assert spool.counts().acknowledged == spool.counts().appended == 11
    assert not spool.counts().dropped
