"""Claims about `turntrace spool status`: it sees what lies there, and touches nothing."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from faults.spool_model import numbered
from turntrace.cli import main
from turntrace.cli.spool_status import as_document
from turntrace.export.spool.place import spool_key
from turntrace.export.spool.report import look_at
from turntrace.export.spool.spool import Spool
from turntrace.record.record_format import FORMAT_VERSION, Header, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEADERS = {"authorization": "Bearer hunter2"}


class Root:
    """A spool's root, and what processes wrote there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[Spool] = []

    def write(self, numbers: range, service: str = "chat", **options: Any) -> Spool:
        key = spool_key(self.path, service=service, endpoint="http://localhost", headers=HEADERS)
        spool = Spool(root=self.path, key=key, resource={"service.name": service}, **options)
        self._made.append(spool)
        for number in numbers:
            assert spool.append(numbered(number)) is not None
        return spool

    def left(self, numbers: range, **options: Any) -> Spool:
        """Write, and die without a word."""
        spool = self.write(numbers, **options)
        spool.after_fork_in_child()  # lets go of everything as the end of a process does
        return spool

    def segments(self) -> list[Path]:
        return sorted(self.path.glob("*/*-*/*.seg"))

    def close(self) -> None:
        for spool in self._made:
            spool.close()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def status(root: Root, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Return what runs the command on the root, and returns its code and document."""

    def run(*options: str) -> tuple[int, Any]:
        code = main(["spool", "status", "--json", "--dir", str(root.path), *options])
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, json.loads(captured.out)

    return run


def state_of(path: Path) -> list[tuple[str, int, int, int]]:
    found = [(str(each), each.lstat()) for each in sorted(path.rglob("*"))]
    return [(name, at.st_mode, at.st_size, at.st_mtime_ns) for name, at in found]


def test_living_and_dead_processes_are_told_apart(root: Root, status: Any) -> None:
    root.left(range(1, 6))
    root.write(range(6, 9))
    code, told = status()
    assert code == 0
    (key,) = told["keys"]
    found = {process["life"]: process for process in key["processes"]}
    assert set(found) == {"alive", "dead"}
    assert (found["dead"]["spans"], found["alive"]["spans"]) == (5, 3)
    assert {process["pid"] for process in key["processes"]} == {os.getpid()}
    assert told["spans"] == 8
    assert told["bytes"] == sum(path.stat().st_size for path in root.segments())


def test_only_what_is_behind_the_checkpoint_waits(root: Root, status: Any) -> None:
    spool = root.write(range(10), held_bytes=0)
    spool.acknowledge(spool.read(max_records=4)[-1].position)
    spool.after_fork_in_child()
    assert status()[1]["spans"] == 6


def test_the_age_is_that_of_the_oldest_span(root: Root) -> None:
    root.left(range(1, 3))
    now_ns = numbered(1).end_ns + 90 * 10**9
    told = as_document(look_at(root.path), 2**20, now_ns)
    assert told["keys"][0]["processes"][0]["oldest_seconds"] == 90.0


def test_whether_a_collector_has_ever_answered_is_told(root: Root, status: Any) -> None:
    spool = root.write(range(1, 2))
    assert status()[1]["keys"][0]["has_been_answered"] is False
    spool.has_been_answered = True
    assert status()[1]["keys"][0]["has_been_answered"] is True


def test_a_segment_of_a_later_version_is_counted_and_not_its_spans(root: Root, status: Any) -> None:
    root.left(range(1, 4))
    (segment,) = root.segments()
    later = Header(version=FORMAT_VERSION + 1, min_reader=FORMAT_VERSION + 1)
    segment.with_name("7.seg").write_bytes(pack(structs.replace(later, writer="turntrace 9")))
    code, told = status()
    assert (code, told["newer"], told["spans"]) == (0, 1, 3)


def test_quarantine_is_an_exit_code_of_its_own(root: Root, status: Any) -> None:
    root.left(range(1, 4))
    aside = next(root.path.glob("[0-9a-f]*")) / "quarantine"
    aside.mkdir()
    (aside / "1-ab-0.seg").write_bytes(b"torn")
    code, told = status()
    assert (code, told["quarantined"], told["keys"][0]["quarantined"]) == (1, 1, 1)
    assert told["bytes"] == 4 + root.segments()[0].stat().st_size


def test_more_than_the_bound_is_an_exit_code_of_its_own(
    root: Root, status: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.left(range(1, 4))
    monkeypatch.setenv("TURNTRACE_SPOOL_MAX_BYTES", str(4 * 2**20))
    assert status()[0] == 0
    aside = root.segments()[0].with_name("9.seg")
    aside.touch()
    os.truncate(aside, 5 * 2**20)
    code, told = status()
    assert (code, told["is_over_bound"]) == (1, True)


def test_a_root_that_cannot_be_read_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "missing"):
        assert main(["spool", "status", "--dir", str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert "cannot be read" in captured.err
        assert captured.out == ""


def test_where_no_app_has_spooled_yet_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TURNTRACE_SPOOL_DIR", raising=False)
    assert main(["spool", "status"]) == 0
    assert "0 spans wait" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_off_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TURNTRACE_SPOOL_DIR", "off")
    assert main(["spool", "status"]) == 2
    assert "--dir" in capsys.readouterr().err


def test_nothing_is_changed(root: Root, status: Any) -> None:
    root.left(range(1, 4))
    root.write(range(4, 9))
    before = state_of(root.path)
    status()
    assert state_of(root.path) == before


def test_a_dead_process_can_be_adopted_afterwards(root: Root, status: Any) -> None:
    root.left(range(1, 4))
    status()
    heir = root.write(range(0))
    assert heir.adopt() == 1
    assert len(heir.read()) == 3


def test_neither_secrets_nor_attribute_values_are_shown(
    root: Root, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2")
    spool = root.write(range(0))
    spool.append(numbered(1, padding=7))
    secret = next(root.path.glob(".secret-*")).read_bytes()
    for options in ([], ["--json"]):
        main(["spool", "status", "--dir", str(root.path), *options])
        shown = capsys.readouterr().out
        for text in ("hunter2", "xxxxxxx", "SELECT messages", ".secret", secret.hex(), "chat"):
            assert text not in shown


def test_what_else_lies_there_is_passed_over(root: Root, status: Any, tmp_path: Path) -> None:
    root.left(range(1, 4))
    (segment,) = root.segments()
    process, key = segment.parent, segment.parent.parent
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.seg").write_bytes(segment.read_bytes())
    (root.path / "file").touch()
    (root.path / "link").symlink_to(key)
    (root.path / "circle").symlink_to("circle")
    (key / "1-0123456789abcdef").symlink_to(outside)
    (key / "notes").mkdir()
    os.mkfifo(key / "pipe")
    (process / "1.seg").symlink_to(outside / "1.seg")
    (process / "2.seg").mkdir()
    os.mkfifo(process / "3.seg")
    (process / "٣.seg").write_bytes(b"\0" * 10)
    (process / f"{'9' * 5000}"[:200]).touch()
    (process / "4.seg").write_bytes(os.urandom(3000))
    (process / "5.seg").touch()
    (process / "checkpoint").unlink(missing_ok=True)
    os.mkfifo(process / "checkpoint")
    code, told = status()
    (found,) = told["keys"][0]["processes"]
    assert (code, told["spans"], found["unreadable"], found["damaged"]) == (0, 3, 3, 1)


def test_a_lock_that_is_missing_leaves_it_unknown_who_lives(root: Root, status: Any) -> None:
    root.left(range(1, 4))
    (root.segments()[0].parent / "lock").unlink()
    assert status()[1]["keys"][0]["processes"][0]["life"] == "unknown"


def test_names_that_would_command_a_terminal_do_not(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    root.left(range(1, 4))
    segment = root.segments()[0]
    segment.parent.rename(segment.parent.with_name("\x1b[31mred\udcff"))
    assert main(["spool", "status", "--dir", str(root.path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "red" in shown


def test_what_is_removed_while_it_is_read_is_left_out(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.left(range(1, 4), segment_bytes=1)
    assert len(root.segments()) == 3
    first, *others = root.segments()

    def remove_others(*_: object) -> None:
        for path in others:
            path.unlink(missing_ok=True)

    monkeypatch.setattr(fcntl, "flock", remove_others)  # called when the names are known
    (found,) = look_at(root.path).processes()
    assert (found.segments, found.spans, found.unreadable) == (1, 1, 0)
    assert first.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_that_it_cannot_be_read(root: Root) -> None:
    root.left(range(1, 4))
    for path in (root.path, *root.path.rglob("*")):
        path.chmod(0o700 if stat.S_ISDIR(path.stat().st_mode) else 0o600)
    program = (
        "import os, sys; from turntrace.cli import main, commands, spool_status;"
        " os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "spool", "status", "--dir", str(root.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_the_table_says_what_waits(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    root.left(range(1, 4))
    assert main(["spool", "status", "--dir", str(root.path)]) == 0
    first, total, _, key, head, row = capsys.readouterr().out.splitlines()
    assert first == str(root.path)
    assert total.startswith("3 spans wait, ")
    assert key.endswith(": no collector ever answered")
    assert head.split() == ["process", "pid", "segments", "bytes", "spans", "oldest"]
    days = round((time.time_ns() - numbered(1).end_ns) / 86_400e9)
    name, life, pid, segments, *_, spans, age, unit = row.split()
    assert (life, pid, segments, spans) == ("dead", str(os.getpid()), "1", "3")
    assert name.startswith(f"{pid}-")
    assert (abs(int(age) - days) <= 1, unit) == (True, "d")
