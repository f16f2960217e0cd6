"""The gate on cost: what it lets through, what it stops, and that a full turn is a full turn."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("instructions")


@pytest.fixture
def here(gate: ModuleType) -> Any:
    return gate.Build(python="CPython 3.11.7 GCC", machine="x86_64", requirements="0123456789ab")


def _cost(gate: ModuleType, *, untraced: int = 220_000_000, added: int = 8_000_000) -> Any:
    return gate.Cost(traced=untraced + added, untraced=untraced)


def test_the_same_count_passes(gate: ModuleType, here: Any) -> None:
    assert gate.judge(_cost(gate), here, [(here, _cost(gate))]).is_passed


def test_a_turn_that_costs_a_hundredth_more_passes(gate: ModuleType, here: Any) -> None:
    counted = _cost(gate, untraced=222_000_000)
    assert gate.judge(counted, here, [(here, _cost(gate))]).is_passed


def test_a_fifth_more_of_tracing_fails_though_the_turn_hides_it(
    gate: ModuleType, here: Any
) -> None:
    verdict = gate.judge(_cost(gate, added=9_700_000), here, [(here, _cost(gate))])
    assert not verdict.is_passed
    turn, added = verdict.lines
    assert "within" in turn
    assert "MORE" in added


def test_three_percent_more_of_the_whole_turn_fails(gate: ModuleType, here: Any) -> None:
    counted = _cost(gate, untraced=227_000_000)
    assert not gate.judge(counted, here, [(here, _cost(gate))]).is_passed


def test_a_fall_fails_until_it_is_recorded(gate: ModuleType, here: Any, tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    counted = _cost(gate, added=6_500_000)
    gate.record(_cost(gate), here, path)
    verdict = gate.judge(counted, here, gate.read_recorded(path))
    assert not verdict.is_passed
    assert "LESS" in verdict.lines[1]
    assert "make overhead RECORD=1" in verdict.lines[1]

    gate.record(counted, here, path)
    assert gate.judge(counted, here, gate.read_recorded(path)).is_passed


def test_recording_leaves_what_other_builds_recorded(
    gate: ModuleType, here: Any, tmp_path: Path
) -> None:
    path = tmp_path / "recorded.json"
    other = replace(here, python="CPython 3.13.1 GCC")
    gate.record(_cost(gate), other, path)
    gate.record(_cost(gate), here, path)
    gate.record(_cost(gate, added=7_000_000), here, path)
    assert [build for build, _ in gate.read_recorded(path)] == [other, here]


def test_another_build_is_judged_by_the_share_of_tracing(gate: ModuleType, here: Any) -> None:
    other = replace(here, python="CPython 3.13.1 GCC")
    recorded = [(other, _cost(gate))]
    faster = _cost(gate, untraced=110_000_000, added=4_100_000)
    assert gate.judge(faster, here, recorded).is_passed
    dearer = _cost(gate, untraced=110_000_000, added=5_500_000)
    verdict = gate.judge(dearer, here, recorded)
    assert not verdict.is_passed
    assert "CPython 3.13.1 GCC" in " ".join(verdict.lines)


def test_without_any_record_it_says_how_to_make_one(gate: ModuleType, here: Any) -> None:
    with pytest.raises(gate.CannotCountError, match="make overhead RECORD=1"):
        gate.judge(_cost(gate), here, [])


def test_without_valgrind_it_says_what_to_install(
    gate: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert gate.main([]) == 2
    assert "apt-get install valgrind" in capsys.readouterr().err


def test_what_is_recorded_can_be_read(gate: ModuleType) -> None:
    recorded = gate.read_recorded(gate.RECORDED)
    assert recorded
    assert all(0 < cost.share < 0.05 for _, cost in recorded)


def _played(*options: str) -> dict[str, int]:
    command = [sys.executable, str(BENCHMARKS / "instructions_turn.py"), "--turns", "1", *options]
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=100)
    result: dict[str, int] = json.loads(done.stdout)
    return result


def test_counted_turns_are_whole_and_the_same_each_time(gate: ModuleType) -> None:
    first, second = (_played("--traced") for _ in range(2))
    assert first == second
    assert first["tokens"] == 3 * gate.TOKENS_PER_TURN
    assert first["spans"] == 3 * gate.SPANS_PER_TURN


def test_untraced_turns_make_no_span(gate: ModuleType) -> None:
    assert _played() == {"tokens": 3 * gate.TOKENS_PER_TURN, "spans": 0, "bytes": 0}
