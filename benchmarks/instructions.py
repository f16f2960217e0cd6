"""The gate on cost: counts the instructions of a full turn and compares them with what is recorded.

    python benchmarks/instructions.py [--record] [--json] [--turns 5]

Instructions, unlike seconds, do not depend on what else the machine does. Two processes of
``instructions_turn.py`` run under callgrind at once, tracing on in one and off in the other; each
plays N turns and then 2N, and the difference is the cost of N without what surrounds them.

Exit code 0: as recorded; 1: not; 2: it could not be counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from instructions_callgrind import MACHINES

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "instructions_recorded.json"
REQUIREMENTS = HERE.parent / "requirements" / "app.txt"

TURNS = 5
TOKENS_PER_TURN = 60
SPANS_PER_TURN = 20
TOLERANCE = 0.02
"""How far the turn may be from what is recorded."""

TOLERANCE_ADDED = 0.15
"""The same for tracing's part of it, a small difference of two large counts: where the checkout
lies, and with it where objects lie in memory, moves a count by a few thousandths."""

TOLERANCE_ELSEWHERE = 0.20
"""The same for tracing's share of the turn, where another build of Python has been recorded."""

LIMIT_SECONDS = 900.0
COMMAND = "make overhead"


class CannotCountError(Exception):
    """There is no result; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What may change the count although nobody changed our code."""

    python: str
    machine: str
    requirements: str

    @classmethod
    def here(cls) -> Self:
        """Return that of this interpreter and of the pinned requirements."""
        configured = sysconfig.get_config_var("CONFIG_ARGS") or ""
        traits = [
            name
            for name, is_on in (
                ("pgo", "--enable-optimizations" in configured),
                ("lto", "--with-lto" in configured),
                ("shared", bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))),
            )
            if is_on
        ]
        words = [platform.python_implementation(), platform.python_version()]
        return cls(
            python=" ".join([*words, platform.python_compiler(), *traits]),
            machine=platform.machine(),
            requirements=hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Instructions of one full turn."""

    traced: int
    untraced: int

    @property
    def added(self) -> int:
        """What tracing adds."""
        return self.traced - self.untraced

    @property
    def share(self) -> float:
        """What tracing adds, for each instruction of the untraced turn."""
        return self.added / self.untraced


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the comparison came to."""

    is_passed: bool
    lines: tuple[str, ...]


def judge(cost: Cost, here: Build, recorded: Sequence[tuple[Build, Cost]]) -> Verdict:
    """Compare a count with what is recorded; a rise and an unrecorded fall both fail.

    A fall has to be recorded, or a later rise of the same size would pass. The last record of
    another build says nothing about the count, but a good deal about tracing's share.

    Raises:
        CannotCountError: nothing is recorded at all.
    """
    if not recorded:
        raise CannotCountError(f"nothing is recorded yet; run: {COMMAND} RECORD=1")
    same = next((known for build, known in reversed(recorded) if build == here), None)
    if same is not None:
        checks = [
            _check("the traced turn", cost.traced, same.traced, TOLERANCE),
            _check("what tracing adds", cost.added, same.added, TOLERANCE_ADDED),
        ]
        note = ()
    else:
        build, known = recorded[-1]
        checks = [
            _check(
                "tracing's share, in ppm",
                round(cost.share * 1e6),
                round(known.share * 1e6),
                TOLERANCE_ELSEWHERE,
            )
        ]
        note = (
            f"not recorded for {here.python}, {here.machine}, requirements {here.requirements};",
            f"compared with {build.python}, {build.machine}, requirements {build.requirements}.",
            f"For the {TOLERANCE:.0%} of the same build: {COMMAND} RECORD=1",
        )
    return Verdict(
        is_passed=all(is_passed for is_passed, _ in checks),
        lines=(*(line for _, line in checks), *note),
    )


def _check(what: str, counted: int, known: int, tolerance: float) -> tuple[bool, str]:
    change = counted / known - 1
    line = f"{what:24}{counted:14,}  recorded {known:13,}  {change:+8.3%}"
    if abs(change) <= tolerance:
        return True, f"{line}  within {tolerance:.0%}"
    if change < 0:
        return False, f"{line}  LESS: record it, so that it stays so: {COMMAND} RECORD=1"
    return False, f"{line}  MORE: find out why, or justify and record it: {COMMAND} RECORD=1"


def count(turns: int) -> Cost:
    """Count both arms, side by side: that changes no count.

    Raises:
        CannotCountError: valgrind or a turn does not work here.
    """
    if platform.machine() not in MACHINES:
        raise CannotCountError(f"this machine is {platform.machine()}; it needs {MACHINES[0]}")
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCountError("valgrind is not installed; run: apt-get install valgrind")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="instructions-")))
        # Also compiles what is imported, which would be slow under valgrind.
        for is_traced in (True, False):
            _Arm(folder, turns=1, is_traced=is_traced, valgrind=None, stack=stack).played()
        traced, untraced = (
            _Arm(folder, turns=turns, is_traced=is_traced, valgrind=valgrind, stack=stack)
            for is_traced in (True, False)
        )
        return Cost(traced=traced.per_turn(), untraced=untraced.per_turn())


class _Arm:
    """One process that plays turns, ended with the stack it was put on."""

    def __init__(
        self, folder: Path, *, turns: int, is_traced: bool, valgrind: str | None, stack: ExitStack
    ) -> None:
        self._turns = turns
        self._is_traced = is_traced
        self._dumps = folder / ("traced" if is_traced else "untraced")
        command = [sys.executable, str(HERE / "instructions_turn.py"), "--turns", str(turns)]
        command += ["--traced"] if is_traced else []
        if valgrind is not None:
            tool = ["--tool=callgrind", "--instr-atstart=no", "--quiet"]
            tool += [f"--callgrind-out-file={self._dumps}"]
            command = [valgrind, *tool, *command, "--count"]
        # Small and the same everywhere: what is in the environment is in the count.
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        environment = {
            **kept,
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        }
        # In a session of its own: on Ctrl-C it is this program that ends it.
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        stack.callback(self._end)

    def played(self) -> dict[str, int]:
        """Wait for the end and check that the turns were whole.

        Raises:
            CannotCountError: they were not.
        """
        try:
            output, errors = self._process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise CannotCountError(f"it took longer than {LIMIT_SECONDS:.0f} s") from None
        if self._process.returncode:
            raise CannotCountError(f"a turn failed:\n{errors.decode(errors='replace')[-2000:]}")
        played: dict[str, int] = json.loads(output)
        turns = 3 * self._turns
        expected = (TOKENS_PER_TURN * turns, SPANS_PER_TURN * turns * self._is_traced)
        if (played["tokens"], played["spans"]) != expected:
            raise CannotCountError(
                f"{turns} turns made {played['tokens']} tokens and {played['spans']} spans, not"
                f" {expected[0]} and {expected[1]}: change SPANS_PER_TURN if that is meant"
            )
        return played

    def per_turn(self) -> int:
        """Wait for the end and return the instructions of one turn."""
        self.played()
        once, twice = (_total(Path(f"{self._dumps}.{number}")) for number in (1, 2))
        return round((twice - once) / self._turns)

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()


def _total(dump: Path) -> int:
    """Return the sum a file of callgrind ends with."""
    try:
        lines = dump.read_text().splitlines()
    except OSError as error:
        raise CannotCountError(f"callgrind wrote no {dump.name}: {error.strerror}") from None
    return int(next(line for line in reversed(lines) if line.startswith("totals:")).split()[1])


def read_recorded(path: Path) -> list[tuple[Build, Cost]]:
    """Return what is recorded, the latest last."""
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return [(Build(**entry["build"]), Cost(**entry["instructions"])) for entry in entries]


def record(cost: Cost, here: Build, path: Path) -> None:
    """Put a count in the place of this build's former one, as the latest."""
    kept = [(build, known) for build, known in read_recorded(path) if build != here]
    entries = [
        {"build": asdict(build), "instructions": asdict(known)}
        for build, known in [*kept, (here, cost)]
    ]
    path.write_text(json.dumps(entries, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, and compare or record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="write down instead of comparing")
    parser.add_argument("--turns", type=int, default=TURNS, help="N (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    parser.add_argument("--recorded", type=Path, default=RECORDED, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    here = Build.here()
    try:
        cost = count(options.turns)
        if options.record:
            record(cost, here, options.recorded)
            verdict = Verdict(is_passed=True, lines=(f"recorded in {options.recorded.name}",))
        else:
            verdict = judge(cost, here, read_recorded(options.recorded))
    except CannotCountError as error:
        print(f"overhead: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
    if options.json:
        result = {**asdict(cost), "added": cost.added, "share": cost.share, **asdict(verdict)}
        print(json.dumps({**result, "build": asdict(here)}))
    else:
        print(f"instructions of one full turn, {time.monotonic() - started:.0f} s of counting")
        print(f"traced {cost.traced:,}, untraced {cost.untraced:,}")
        print(f"tracing adds {cost.added:,}, {cost.share:.2%}")
        print(*verdict.lines, sep="\n")
    return 0 if verdict.is_passed else 1


if __name__ == "__main__":
    sys.exit(main())
