"""Claims about a spool in which somebody has put what no spool makes: pipes, links, odd names."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from faults.spool_model import numbered
from turntrace.errors import SpoolError
from turntrace.export.spool.place import spool_key
from turntrace.export.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACCOUNT: Any = {"service": "chat", "endpoint": "http://localhost:4318", "headers": {}}
OTHER: Any = ACCOUNT | {"service": "other"}


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def open_one(account: Any = ACCOUNT, **options: Any) -> Spool:
        root = tmp_path / "spool"
        options = {"resource": {"service.name": "chat"}} | options
        spool = Spool(root=root, key=spool_key(root, **account), **options)
        made.append(spool)
        return spool

    yield open_one
    for spool in made:
        spool.close()


def die(spool: Spool) -> Path:
    """End as a process does that wrote one segment; return its directory."""
    assert spool.append(numbered(1)) is not None
    [own] = spool.backlogs()
    spool.after_fork_in_child()
    return own.directory.path


def assert_returns(work: Callable[[], object], unblock: Path) -> None:
    """Fail, instead of waiting for ever, if ``work`` waits for the other end of a pipe."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(5.0)
    is_stuck = thread.is_alive()
    if is_stuck:
        os.close(os.open(unblock, os.O_RDWR | os.O_NONBLOCK))
    thread.join(5.0)
    assert not is_stuck


@pytest.mark.parametrize("name", ["checkpoint", "lock", "000000000001.seg"])
def test_nobody_waits_for_a_pipe_in_the_place_of_a_file(
    open_spool: Callable[..., Spool], name: str
) -> None:
    left = die(open_spool())
    (left / name).unlink(missing_ok=True)
    os.mkfifo(left / name)
    spool = open_spool()
    assert_returns(lambda: (spool.adopt(), spool.read()), left / name)


def test_nobody_waits_for_a_pipe_in_the_place_of_the_secret(tmp_path: Path) -> None:
    spool_key(tmp_path, **ACCOUNT)
    [secret] = tmp_path.glob(".secret-*")
    secret.unlink()
    os.mkfifo(secret)
    assert_returns(lambda: spool_key(tmp_path, **ACCOUNT), secret)


def test_a_checkpoint_that_is_a_link_is_a_damaged_one(open_spool: Callable[..., Spool]) -> None:
    left = die(open_spool())
    (left / "checkpoint").symlink_to("/dev/zero")
    spool = open_spool()
    assert spool.adopt() == 1
    assert (len(spool.read()), spool.counts().damaged) == (1, {"checkpoint": 1})


@pytest.mark.parametrize("kind", ["link", "readable by all"])
def test_a_secret_that_others_may_know_is_made_anew(tmp_path: Path, kind: str) -> None:
    key = spool_key(tmp_path, **ACCOUNT)
    [secret] = tmp_path.glob(".secret-*")
    if kind == "link":
        known = tmp_path / "known"
        secret.rename(known)
        secret.symlink_to(known)
    else:
        secret.chmod(0o644)
    assert spool_key(tmp_path, **ACCOUNT) != key
    assert secret.lstat().st_mode & 0o170777 == 0o100600


def test_a_segment_with_an_odd_name_does_not_keep_others_from_making_room(
    open_spool: Callable[..., Spool],
) -> None:
    left = die(open_spool(OTHER))
    (left / "notes.seg").write_bytes(b"mine")
    os.utime(left / "notes.seg", (1, 1))
    spool = open_spool(max_disk_bytes=64)
    spool.keep_bounds()
    assert spool.counts().dropped_of_others == 1
    assert (left / "notes.seg").exists()


@pytest.mark.parametrize("level", ["key", "process"])
def test_room_is_not_made_behind_a_link(
    open_spool: Callable[..., Spool], tmp_path: Path, level: str
) -> None:
    outside = die(open_spool(OTHER))
    key = outside.parent
    moved = tmp_path / "elsewhere"
    (key if level == "key" else outside).rename(moved)
    (key if level == "key" else outside).symlink_to(moved)
    spool = open_spool(max_disk_bytes=64)
    spool.keep_bounds()
    assert len(list(moved.rglob("*.seg"))) == 1
    assert spool.counts().dropped_of_others == 0


@pytest.mark.parametrize("name", ["a\ud800b", "x" * 300, "tür/ 日本", "new\nline"])
def test_an_odd_path_is_used_or_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    try:
        spool = Spool(root=root, key=spool_key(root, **ACCOUNT), resource={})
    except SpoolError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either will do
        str(error).encode()
    else:
        assert spool.append(numbered(1)) is not None
        spool.close()
