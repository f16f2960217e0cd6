"""The spool against a model of it: whatever is done to its files, these spans must come out.

    python tests/faults/spool_model.py --examples 2000

One process after another spools in one root: it appends, rolls, reads, acknowledges, has no room,
is killed, and somebody flips, truncates and deletes its files. The model is a dictionary.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from turntrace.export.spool.place import spool_key
from turntrace.export.spool.spool import Spool
from turntrace.record.segment_reader import Frame, SegmentReader
from turntrace.record.span_record import Scope, SpanRecord

SEGMENT_BYTES = 1_000
CAP_BYTES = 8_000
HELD_BYTES = (1_000_000, 0, 3_000)
CHOICE = st.integers(0, 2**20)


def numbered(number: int, *, scope: str = "test", padding: int = 0) -> SpanRecord:
    """Return a span that is told from others by its number."""
    return SpanRecord(
        trace_id=number.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=b"",
        parent_is_remote=False,
        flags=1,
        trace_state="",
        name="SELECT messages",
        kind=3,
        start_ns=1_760_000_000_000_000_000,
        end_ns=1_760_000_000_000_000_001,
        attributes={"padding": "x" * padding} if padding else {},
        events=(),
        links=(),
        status_code=0,
        status_description="",
        dropped_attributes=0,
        dropped_events=0,
        dropped_links=0,
        scope=Scope(scope),
    )


def number_of(record: SpanRecord) -> int:
    return int.from_bytes(record.span_id, "big")


def numbers_in(path: Path) -> list[int]:
    """Return which spans can be read in a segment."""
    return [
        number_of(outcome.record)
        for outcome in SegmentReader().read(path.read_bytes())
        if isinstance(outcome, Frame) and isinstance(outcome.record, SpanRecord)
    ]


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Any:
    """Let writes beyond ``size`` be short, or fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class SpoolModel(RuleBasedStateMachine):
    """``waiting`` are the spans on disk that must come out; the other numbers are the books."""

    @initialize(is_capped=st.booleans(), held_bytes=st.sampled_from(HELD_BYTES))
    def begin(self, is_capped: bool, held_bytes: int) -> None:
        self.held_bytes = held_bytes
        self.root = Path(tempfile.mkdtemp(prefix="turntrace-spool-"))
        self.cap = CAP_BYTES if is_capped else 2**40
        self.key = spool_key(self.root, service="s", endpoint="http://localhost", headers={})
        self.last = 0
        self.waiting: set[int] = set()
        self.place: dict[int, Path] = {}
        self.flipped: set[tuple[Path, int]] = set()
        self.dropped_before = 0
        self.is_running = False
        self.start()

    @precondition(lambda self: not self.is_running)
    @rule()
    def start(self) -> None:
        self.spool = Spool(
            root=self.root,
            key=self.key,
            resource={"service.name": "s"},
            segment_bytes=SEGMENT_BYTES,
            max_disk_bytes=self.cap,
            held_bytes=self.held_bytes,
        )
        self.is_running = True
        self.appended = self.acknowledged = 0
        self.in_flight: list[tuple[Any, int]] = []
        self.from_memory: set[int] = set()
        self.spoiled: set[Path] = set()
        if self.cap == 2**40:
            self.spool.adopt()

    @precondition(lambda self: self.is_running)
    @rule(count=st.integers(1, 6), scope=st.sampled_from("abc"), padding=st.integers(0, 300))
    def append(self, count: int, scope: str, padding: int) -> None:
        for _ in range(count):
            self.last += 1
            at = self.spool.append(numbered(self.last, scope=scope, padding=padding))
            if at is not None:
                path = self.root / self.key / at.directory / f"{at.segment:012}.seg"
                self.place[self.last] = path
                self.waiting.add(self.last)
                self.appended += 1
                self._reckon(path)
            else:
                assert self.spool.counts().refused, "a refusal has a reason"

    def _reckon(self, path: Path) -> None:
        """Wait no longer for what somebody has made unreadable; what follows may suffer, too.

        What a running process holds in memory comes all the same, unless it dies before.
        """
        if path in self._held_paths():
            return
        readable = set(numbers_in(path)) if path.exists() else set()
        lost = {n for n in self.waiting if self.place[n] == path and n not in readable}
        self.waiting -= lost

    def _held_paths(self) -> set[Path]:
        own = self.spool._own.current if self.is_running else None
        return {
            segment.path
            for segment in (own.segments if own else [])
            if segment.file is not None and segment.file.records is not None
        }

    @precondition(lambda self: self.is_running)
    @rule(room_bytes=st.integers(0, 400))
    def fill(self, room_bytes: int) -> None:
        current = self.spool._writer.current_bytes()
        with no_file_longer_than(current + room_bytes):
            self.append(3, "a", 50)
        self.spool._writer._retry_at = 0.0  # the pause is somebody else's claim

    @precondition(lambda self: self.is_running)
    @rule()
    def roll(self) -> None:
        self.spool._writer.retire(self.spool._writer.current)

    @precondition(lambda self: self.is_running)
    @rule(max_records=st.integers(1, 12), max_bytes=st.sampled_from([100, 2_000, 2**20]))
    def read(self, max_records: int, max_bytes: int, retire: bool = True) -> None:
        before, self.in_flight = self.in_flight, []
        found = self.spool.read(max_records, max_bytes, retire=retire)
        assert len(found) <= max_records
        numbers = [number_of(span.record) for span in found]
        assert len(set(numbers)) == len(numbers), "twice in one answer"
        assert self.waiting.issuperset(numbers), "acknowledged, lost, or never there"
        shorter = min(len(before), len(numbers))
        if self.cap == 2**40:
            assert [n for _, n in before[:shorter]] == numbers[:shorter], "not the same again"
        for span in found:
            assert span.resource.attributes == {"service.name": "s"}
            assert span.record.scope.name in "abc"
        self.in_flight = [(span.position, number_of(span.record)) for span in found]

    @precondition(lambda self: self.is_running)
    @rule()
    def read_what_is_full(self) -> None:
        current = self.spool._writer.current
        is_full = self.spool._writer.is_full(current)
        written = current.spans()
        self.in_flight = []
        self.read(12, 2**20, retire=False)
        if not is_full and written:
            assert self.spool._writer.current is current, "it was not full, and is out of use"

    @precondition(lambda self: self.is_running and self.in_flight)
    @rule(choice=CHOICE)
    def acknowledge(self, choice: int) -> None:
        index = choice % len(self.in_flight)
        before = self.spool.counts().acknowledged
        told = self.in_flight[: index + 1]
        if self.cap != 2**40:  # what is gone was dropped in between
            told = [(position, n) for position, n in told if self.place[n].exists()]
        self.spool.acknowledge(self.in_flight[index][0])
        assert self.spool.counts().acknowledged - before == len(told)
        self.acknowledged += len(told)
        self.waiting.difference_update(number for _, number in told)
        self.from_memory.update(number for position, number in told if not position.offset)
        self.in_flight = []

    @precondition(lambda self: self.is_running)
    @rule()
    def keep_bounds(self) -> None:
        self.spool.keep_bounds()

    @rule(
        choice=CHOICE,
        place=CHOICE,
        by=st.integers(1, 255),
        how=st.sampled_from(["flip", "truncate", "delete"]),
    )
    def corrupt(self, choice: int, place: int, by: int, how: str) -> None:
        paths = sorted(self.root.glob("*/*-*/*.seg"), key=lambda path: path.stat().st_mtime_ns)
        if not paths or self.cap != 2**40:
            return
        path = paths[choice % len(paths)]
        content = bytearray(path.read_bytes())
        place %= len(content) or 1
        if how == "delete":
            path.unlink()
        elif how == "truncate":
            os.truncate(path, place)
        elif content and (path, place) not in self.flipped:  # twice might heal it
            self.flipped.add((path, place))
            content[place] ^= by
            path.write_bytes(content)
        self.spoiled.add(path)
        self._reckon(path)
        self.in_flight = []

    @precondition(lambda self: self.is_running)
    @rule()
    def crash(self) -> None:
        self._remember_drops()
        self.spool.after_fork_in_child()  # lets go of everything and writes nothing, as death does
        self._end()

    @precondition(lambda self: self.is_running)
    @rule()
    def stop(self) -> None:
        self._remember_drops()
        self.spool.close()
        self._end()

    def _end(self) -> None:
        """Wait for what lies on disk, and for that alone: memory is gone."""
        self.is_running = False
        for path in self.spoiled:
            self._reckon(path)
        self.spoiled.clear()
        again: set[int] = set()
        for path in self.root.glob("*/*-*/*.seg"):
            again.update(self.from_memory.intersection(numbers_in(path)))
        assert len({self.place[number] for number in again}) <= 1, "more than one batch again"
        self.waiting |= again

    def _remember_drops(self) -> None:
        self.dropped_before += self.spool.counts().dropped.get("cap", 0)

    @invariant()
    def the_books_add_up(self) -> None:
        if not getattr(self, "is_running", False):
            return
        counts = self.spool.counts()
        assert counts.appended == self.appended
        assert counts.acknowledged == self.acknowledged
        gone = counts.acknowledged + sum(counts.dropped.values())
        assert counts.appended + counts.adopted == gone + counts.unacknowledged

    def teardown(self) -> None:
        try:
            if hasattr(self, "spool"):
                self._drain()
        finally:
            if hasattr(self, "root"):
                shutil.rmtree(self.root)

    def _drain(self) -> None:
        """Start once more and read all: what must come out does, exactly once."""
        if self.is_running:
            self.crash()
        self.start()
        self.spool.adopt()
        came: list[int] = []
        while found := self.spool.read(max_records=7):
            came += [number_of(span.record) for span in found]
            self.spool.acknowledge(found[-1].position)
        dropped = self.dropped_before + self.spool.counts().dropped.get("cap", 0)
        assert len(set(came)) == len(came)
        assert self.waiting.issuperset(came)
        assert len(self.waiting) - len(came) == dropped, "lost, and not counted"
        assert self.spool.counts().unacknowledged == 0
        self.spool.close()
        left = [path for path in self.root.glob("*/*-*/*") if path.suffix == ".seg"]
        assert not left, "acknowledged, and still there"


def run(max_examples: int) -> None:
    """Try so many stories of up to 40 steps."""
    run_state_machine_as_test(
        SpoolModel,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=40,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2_000)
    run(parser.parse_args().examples)
