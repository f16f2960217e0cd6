"""Claims about how a frame gets to the disk: without the GIL given up, or by another thread."""

from __future__ import annotations

import ctypes
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from test_spool import Spools, append_all, assert_balanced, drained, wait_until

from faults.spool_model import numbered
from turntrace.export.spool.direct_write import direct_write, load_direct_write, write_or_raise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turntrace.export.spool.spool import Spool


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools(tmp_path / "spool")
    yield made
    made.close()


def missing(_: None) -> Any:
    raise OSError("no such library")


def test_without_libc_the_write_is_that_of_os() -> None:
    assert load_direct_write("cpython", ctypes.PyDLL) is not write_or_raise
    assert load_direct_write("pypy", ctypes.PyDLL) is write_or_raise
    assert load_direct_write("cpython", missing) is write_or_raise
    assert load_direct_write("cpython", lambda _: {}) is write_or_raise  # type: ignore[arg-type]


def test_a_write_that_says_no_reason_is_tried_again_and_says_it(spools: Spools) -> None:
    spool = spools()
    append_all(spool, range(3))
    spool._writer._write = lambda *_: -1  # interrupted, for example
    append_all(spool, range(3, 40))
    os.close(spool._writer.current.descriptor)
    assert spool.append(numbered(40)) is None
    assert spool.counts().failures == {"EBADF": 1}
    spool._writer.current.descriptor = -1
    assert drained(spool) == list(range(40))


class Disk:
    """A disk that is as slow as it is told to be."""

    def __init__(self, spool: Spool) -> None:
        self.seconds = 0.006
        self.frames = 0
        spool._writer._write = spool._writer.slow_disk.write = self.write

    def write(self, descriptor: int, frame: bytes, size: int) -> int:
        self.frames += 1
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            time.sleep(0.001)
        return direct_write(descriptor, frame, size)


def make_slow(spool: Spool) -> Disk:
    disk = Disk(spool)
    wait_until(lambda: bool(spool.append(numbered(1_000)) and spool.counts().delayed))
    return disk


def test_on_a_slow_disk_another_thread_writes_and_nothing_is_lost(spools: Spools) -> None:
    spool = spools(batch_spans=16)
    disk = make_slow(spool)
    disk.seconds = 0.05
    before = spool.counts()
    started = time.monotonic()
    append_all(spool, range(20))
    assert time.monotonic() - started < 0.5, "they would have taken a second"
    mark = spool.mark()
    assert spool.counts().appended == before.appended + 20
    assert not spool.is_settled(mark)
    assert not spool.is_empty()
    disk.seconds = 0.0
    wait_until(lambda: not spool.counts().draining)
    assert sorted(drained(spool))[:20] == list(range(20))
    assert spool.is_settled(mark)
    assert_balanced(spool.counts())


def test_when_the_disk_is_quick_again_who_appends_writes_again(spools: Spools) -> None:
    spool = spools()
    disk = make_slow(spool)
    disk.seconds = 0.0
    append_all(spool, range(150))
    wait_until(lambda: not spool._writer.slow_disk.is_slow and not spool.counts().draining)
    delayed = spool.counts().delayed
    append_all(spool, range(150, 250))
    assert spool.counts().delayed == delayed
    assert_balanced(spool.counts())


def test_what_waits_for_a_slow_disk_is_bounded_and_refused_beyond(spools: Spools) -> None:
    spool = spools()
    disk = make_slow(spool)
    disk.seconds = 0.2
    spool._writer.slow_disk.max_bytes = 2_000
    refused = sum(spool.append(numbered(number)) is None for number in range(100))
    assert refused > 50
    assert spool.counts().refused == {"slow_disk": refused}
    disk.seconds = 0.0


def test_closing_waits_for_half_a_second_and_counts_what_is_left(spools: Spools) -> None:
    spool = spools()
    disk = make_slow(spool)
    disk.seconds = 0.15
    append_all(spool, range(20))
    started = time.monotonic()
    spool.close()
    assert 0.4 < time.monotonic() - started < 2.0
    wait_until(lambda: not spool.counts().draining)
    assert 10 < spool.counts().dropped["slow_disk"] <= 20
    assert_balanced(spool.counts())
    assert spool.append(numbered(1)) is None


def test_a_forked_child_does_not_write_what_waits_in_its_parent(spools: Spools) -> None:
    spool = spools()
    disk = make_slow(spool)
    disk.seconds = 0.1
    append_all(spool, range(5))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            spool.after_fork_in_child()
            spool._writer._write = direct_write
            append_all(spool, range(10, 13))
            counts = spool.counts()
            is_right = (counts.appended, counts.draining, counts.delayed) == (3, 0, 0)
            status = 0 if is_right and drained(spool) == [10, 11, 12] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    disk.seconds = 0.0
    wait_until(lambda: not spool.counts().draining)
