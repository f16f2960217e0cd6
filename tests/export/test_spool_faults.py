"""Claims about the spool on bad days: killed, full, read-only, forbidden, damaged."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_spool import (
    ACCOUNT,
    Spools,
    append_all,
    assert_balanced,
    die,
    drained,
    wait_until,
)

from faults.spool_model import numbered, run
from turntrace.errors import SpoolError
from turntrace.export.spool.place import filesystem_of, spool_key
from turntrace.export.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOUNT, UMOUNT = (shutil.which(name) or name for name in ("mount", "umount"))


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools(tmp_path / "spool")
    yield made
    made.close()


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Mount a file system for a test; where nobody may, the test cannot be had."""
    place.mkdir(exist_ok=True)
    done = subprocess.run([MOUNT, *options, str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run([UMOUNT, "--lazy", str(place)], check=True)


def as_nobody(work: Callable[[], str]) -> str:
    """Do ``work`` as a user who owns nothing, and return what it says."""
    said = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.write(said[1], work().encode())
        finally:
            os._exit(0)
    os.close(said[1])
    os.waitpid(pid, 0)
    with os.fdopen(said[0]) as told:
        return told.read()


def write_until_killed(root: Path, first: int, said: int) -> None:
    """Append spans, and say of each that the append has returned."""
    key = spool_key(root, **ACCOUNT)
    spool = Spool(root=root, key=key, resource={}, segment_bytes=4_000)
    for number in itertools.count(first):
        if spool.append(numbered(number, padding=number % 300)) is not None:
            os.write(said, b"%d\n" % number)


@pytest.mark.parametrize("seed", range(20))
def test_every_span_whose_append_returned_survives_kill_9_exactly_once(
    spools: Spools, seed: int
) -> None:
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(hear)
            write_until_killed(spools.root, 1, say)
        finally:
            os._exit(1)
    os.close(say)
    with os.fdopen(hear, "rb") as pipe:
        told = pipe.readline()  # it has begun
        until = time.monotonic() + random.Random(seed).uniform(0.0, 0.02)  # the moment is the point
        while time.monotonic() < until:
            told += pipe.readline()
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        told += pipe.read()
    returned = [int(line) for line in told.splitlines()]
    heir = spools()
    assert heir.adopt() == 1
    came = drained(heir)
    # One more may have been written whose append did not live to return, or to say so.
    assert came[: len(returned)] == returned
    assert len(came) - len(returned) <= 1
    assert heir.counts().acknowledged == heir.counts().adopted == len(came)
    assert heir.counts().damaged.keys() <= {"torn"}


def test_a_full_disk_loses_nothing_that_was_written_and_recovers(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=256k", "turntrace") as disk:
        spools = Spools(disk)
        spool = spools(segment_bytes=32_000)
        written, refused = [], 0
        for number in range(2_000):
            if spool.append(numbered(number, padding=1_000)) is None:
                refused += 1
            else:
                written.append(number)
        assert refused
        assert 100 < len(written) < 300
        counts = spool.counts()
        assert counts.refused == {"disk_full": refused}
        assert (counts.appended, counts.unacknowledged) == (len(written), len(written))
        assert counts.failures["ENOSPC"] >= 1
        assert drained(spool) == written
        wait_until(lambda: spool.append(numbered(5_000)) is not None)
        assert drained(spool) == [5_000]
        assert_balanced(spool.counts())
        assert not spool.counts().dropped
        spools.close()


def test_a_checkpoint_for_which_there_is_no_room_costs_at_most_the_batch(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=64k", "turntrace") as disk:
        spools = Spools(disk)
        spool = spools(segment_bytes=8_000)
        written = [n for n in range(500) if spool.append(numbered(n, padding=300)) is not None]
        batch = spool.read(max_records=3)
        spool.acknowledge(batch[-1].position)
        die(spool)
        heir = spools()
        heir.adopt()
        came = drained(heir)
        assert came in (written, written[3:])
        spools.close()


def test_a_disk_that_turns_read_only_costs_no_error_and_is_used_again(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "turntrace") as disk:
        spools = Spools(disk / "spool")
        spool = spools(batch_spans=1)  # each append makes a segment
        append_all(spool, range(3))
        spool._writer.retire(spool._writer.current)
        spool._writer.close_quiet()
        subprocess.run([MOUNT, "-o", "remount,ro", str(disk)], check=True)
        assert spool.append(numbered(3)) is None
        assert spool.counts().refused == {"io_error": 1}
        assert spool.counts().failures["EROFS"] == 1
        found = spool.read()
        spool.acknowledge(found[-1].position)
        assert len(found) == 3
        subprocess.run([MOUNT, "-o", "remount,rw", str(disk)], check=True)
        wait_until(lambda: spool.append(numbered(4)) is not None)
        assert drained(spool) == [4]
        assert_balanced(spool.counts())
        spools.close()


def test_a_read_only_disk_is_said_at_construction(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro", "turntrace") as disk,
        pytest.raises(SpoolError, match=r"read-only.*memory only"),
    ):
        spool_key(disk / "spool", **ACCOUNT)


def test_a_file_where_a_directory_should_be_is_said_at_construction(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("mine")
    with pytest.raises(SpoolError, match="a file is where a directory should be"):
        spool_key(tmp_path / "spool", **ACCOUNT)
    with pytest.raises(SpoolError, match="a file is where a directory should be"):
        spool_key(tmp_path / "spool" / "below", **ACCOUNT)
    root = tmp_path / "other"
    root.mkdir()
    (root / spool_key(root, **ACCOUNT)).write_text("mine")
    with pytest.raises(SpoolError, match="a file is where a directory should be"):
        Spools(root)()


def test_a_directory_that_this_user_may_not_write_to_is_said_at_construction(
    tmp_path: Path,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    place = Path("/tmp") / f"turntrace-nobody-{os.getpid()}"  # noqa: S108 - nobody gets to tmp_path
    place.mkdir(mode=0o755)

    def complaint() -> str:
        try:
            return spool_key(place / "spool", **ACCOUNT)
        except SpoolError as error:
            return str(error)

    try:
        assert "this user may not write there" in as_nobody(complaint)
    finally:
        shutil.rmtree(place)


def test_the_directory_of_another_user_is_not_used(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    root = tmp_path / "spool"
    key = spool_key(root, **ACCOUNT)
    (root / key).mkdir(mode=0o777)
    os.chown(root / key, 65534, 65534)
    with pytest.raises(SpoolError, match="belongs to another user"):
        Spools(root)()


def test_a_network_disk_is_said_at_construction(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:21 / {tmp_path} rw shared:1 - nfs4 server:/ rw\n")
    with pytest.raises(SpoolError, match=r"network file system \(nfs4\)"):
        Spools(tmp_path / "spool")(mounts=mounts)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/a/b", "ext4"), ("/srv/x y/z", "nfs"), ("/srv/x", "xfs"), ("/over/it", "tmpfs")],
)
def test_the_file_system_of_a_path_is_that_of_the_longest_mount(path: str, kind: str) -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /srv rw shared:4 master:1 - xfs /dev/b rw\n"
        "3 2 0:9 / /srv/x\\040y rw - nfs s:/ rw\n4 1 8:3 / /over rw - ext3 /dev/c rw\n"
        "5 1 0:4 / /over rw - tmpfs t rw\nnonsense\n"
    )
    assert filesystem_of(Path(path), mounts) == kind


def test_files_and_directories_are_for_this_user_alone(spools: Spools) -> None:
    before = os.umask(0)
    try:
        spool = spools()
        append_all(spool, range(3))
        spool.acknowledge(spool.read(max_records=1)[-1].position)
    finally:
        os.umask(before)
    for path in spools.root.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_name_of_a_directory_does_not_tell_which_headers_make_it(tmp_path: Path) -> None:
    headers = {"headers": {"api-key": "123"}}
    here, there = (spool_key(tmp_path / name, **(ACCOUNT | headers)) for name in "ab")
    assert here != there, "whoever knows the headers could try them out"
    assert here == spool_key(tmp_path / "a", **(ACCOUNT | {"headers": {"API-Key": "123"}}))
    for path in tmp_path.rglob("*"):
        assert "123" not in path.name.removeprefix(".secret-")
        assert path.is_dir() or b"api-key" not in path.read_bytes()


def spoil(path: Path, number: int) -> None:
    """Flip a bit of one span's name."""
    content = bytearray(path.read_bytes())
    content[content.index(number.to_bytes(8, "big") + b"\xa1f") + 2] ^= 0x10
    path.write_bytes(content)


def test_damage_is_passed_over_counted_and_put_aside(spools: Spools) -> None:
    spool = spools(batch_spans=7, held_bytes=0)
    append_all(spool, range(1, 9))
    spoil(spools.files()[0], 4)
    assert drained(spool) == [1, 2, 3, 5, 6, 7, 8]
    counts = spool.counts()
    assert (counts.appended, counts.acknowledged, dict(counts.dropped)) == (8, 7, {"damaged": 1})
    assert (dict(counts.damaged), counts.quarantined) == ({"checksum": 1}, 1)
    assert_balanced(counts)
    assert len(spools.files("*/quarantine/*")) == 1


def test_a_deleted_segment_is_counted_to_the_span(spools: Spools) -> None:
    spool = spools(segment_bytes=900, held_bytes=0)
    append_all(spool, range(40))
    gone = spools.files()[1]
    lost = gone.read_bytes().count(b"\xa1t\x04")
    gone.unlink()
    assert len(drained(spool)) == 40 - lost
    assert spool.counts().dropped == {"deleted": lost}
    assert_balanced(spool.counts())


def test_when_the_whole_root_is_deleted_another_directory_is_made(spools: Spools) -> None:
    spool = spools(segment_bytes=900, held_bytes=0)
    append_all(spool, range(40))
    shutil.rmtree(spools.root)
    numbers = range(40, 100)
    append_all(spool, numbers)
    came = drained(spool)
    assert came == list(range(came[0], 100))
    counts = spool.counts()
    assert dict(counts.dropped) == {"deleted": 100 - len(came)}
    assert_balanced(counts)


def test_at_the_cap_the_oldest_go_first_and_are_counted(spools: Spools) -> None:
    cap = 40_000
    spool = spools(segment_bytes=1_000, max_disk_bytes=cap)
    spool.has_been_answered = True
    for number in range(1_000):
        assert spool.append(numbered(number, padding=100)) is not None
        if number % 10 == 0:
            spool.keep_bounds()
        assert number % 50 or sum(p.stat().st_size for p in spools.files()) <= cap
    came = drained(spool)
    assert came == list(range(came[0], 1_000)), "the newest, without a gap"
    counts = spool.counts()
    assert counts.dropped == {"cap": 1_000 - len(came)}
    assert 50 < len(came) < 400
    assert_balanced(counts)


def test_nothing_is_written_beyond_the_cap_when_nobody_makes_room(spools: Spools) -> None:
    spool = spools(segment_bytes=1_000, max_disk_bytes=20_000)
    written = [n for n in range(1_000) if spool.append(numbered(n)) is not None]
    assert sum(path.stat().st_size for path in spools.files()) <= 21_500
    assert spool.counts().refused == {"cap": 1_000 - len(written)}
    assert spool.counts().appended == len(written)


def test_the_cap_is_for_all_processes_and_keys_but_not_for_the_living(spools: Spools) -> None:
    dead = spools(account={"service": "gone"}, segment_bytes=1_000)
    append_all(dead, range(100))
    die(dead)
    living = spools(account={"service": "other"}, segment_bytes=1_000)
    append_all(living, range(20))
    spool = spools(segment_bytes=1_000, max_disk_bytes=10_000)
    spool.has_been_answered = True
    assert 0 < spool.counts().dropped_of_others <= 100
    assert not spool.counts().dropped
    assert drained(living) == list(range(20))


def test_where_nobody_has_ever_answered_only_the_newest_are_kept(spools: Spools) -> None:
    spool = spools(segment_bytes=1_000, max_unanswered_bytes=10_000)
    for number in range(500):
        append_all(spool, range(number, number + 1))
        if number % 10 == 0:
            spool.keep_bounds()
    came = drained(spool)
    assert came == list(range(came[0], 500))
    assert spool.counts().dropped == {"unanswered": 500 - len(came)}
    assert_balanced(spool.counts())
    spool.has_been_answered = True
    assert spools().has_been_answered, "it is forgotten with the process"


def test_a_damaged_checkpoint_means_twice_rather_than_never(spools: Spools) -> None:
    dead = spools(held_bytes=0)
    append_all(dead, range(10))
    dead.acknowledge(dead.read(max_records=4)[-1].position)
    die(dead)
    (checkpoint,) = spools.files("*/*-*/checkpoint")
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"1", b"7"))
    heir = spools()
    heir.adopt()
    assert drained(heir) == list(range(10))
    assert heir.counts().damaged == {"checkpoint": 1}


def test_stories_at_random_end_as_the_model_says() -> None:
    run(max_examples=60)
