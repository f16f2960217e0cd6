"""What tracing costs the reference backend under load: many users, with and without, in pairs.

    python benchmarks/load.py [--quick] [--memory] [--json] [--users 50]

Two backends run side by side, one with OTEL_ENABLED=false; only one of them is busy at a time.
Users (``load_driver.py``), the model and the collector are processes of their own. A round of the
one is followed by a round of the other, in changing order; a warm-up finds the rate of turns at
which the untraced backend is half busy. Turns begin on that timetable: at saturation a difference
in latency would be one of queues, and users who wait for an answer would hide a slow backend.

Exit code 0: the bars hold; 1: they do not, or a turn failed; 2: it could not run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load_processes import HERE, Backend, CannotRunError, first_line, process

if TYPE_CHECKING:
    from collections.abc import Sequence

LATENCY_BAR_MILLISECONDS = 5.0
"""What tracing may add to an HTTP request at p99."""
MEMORY_BAR_MEGABYTES = 10.0
"""What tracing may occupy after 2,000 turns."""

STEADY_MILLISECONDS = 20.0
"""What the untraced backend's p99 may vary by: beyond that the machine is too busy to tell."""

UTILISATION = 0.5
SPANS_PER_TURN = 20
EXPORT_DELAY_SECONDS = 1.0
CHUNK_SECONDS = 0.01
WHATS = ("request", "acknowledged", "first token", "turn")
PERCENTILES = (50, 95, 99)
_TRACED = (False, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is played."""

    users: int
    pairs: int
    round_seconds: float
    warm_up_turns: int
    memory_turns: int


FULL = Plan(users=50, pairs=4, round_seconds=28.0, warm_up_turns=60, memory_turns=2_000)
QUICK = Plan(users=20, pairs=2, round_seconds=9.0, warm_up_turns=30, memory_turns=200)
MEMORY_USERS = 8
MEMORY_BLOCKS = 10
MEMORY_WARM_UP_TURNS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round showed."""

    seen: dict[str, Any]
    cpu_seconds: float

    @property
    def cpu_milliseconds_per_turn(self) -> float:
        """What a turn costs the backend, exports included."""
        return self.cpu_seconds / self.seen["turns"] * 1000

    @property
    def utilisation(self) -> float:
        """How busy the backend was, of one core."""
        return self.cpu_seconds / self.seen["seconds"]

    def percentile(self, what: str, percent: int) -> float:
        """Return that of one of `WHATS`, in milliseconds."""
        return percentile(self.seen["milliseconds"][what], percent)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that ``percent`` of a hundred do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


class Rig:
    """All processes but the users'."""

    def __init__(self, stack: ExitStack, *, chunk_seconds: float) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        model = ["-m", "renovation.gemini_local", "--until-stdin-closes"]
        model += ["--chunk-seconds", str(chunk_seconds)]
        gemini = stack.enter_context(process(model))
        sink = stack.enter_context(process([str(HERE / "load_sink.py")]))
        gemini_url, self._sink_url = first_line(gemini), first_line(sink)
        self.backends = {
            is_traced: stack.enter_context(
                Backend.serve(
                    {
                        "OTEL_ENABLED": str(is_traced).lower(),
                        "OTEL_EXPORTER_OTLP_ENDPOINT": self._sink_url,
                        "OTEL_BSP_SCHEDULE_DELAY": str(round(EXPORT_DELAY_SECONDS * 1000)),
                        "GEMINI_BASE_URL": gemini_url,
                        "RENOVATION_DATABASE": str(folder / f"traced-{is_traced}.sqlite3"),
                        "RENOVATION_MESSAGES_PER_MINUTE": "1000000",
                        "RENOVATION_HISTORY_MESSAGES": "2",  # or turns would grow for a while
                        "RENOVATION_LOG_LEVEL": "WARNING",
                    }
                )
            )
            for is_traced in _TRACED
        }
        self._turns_traced = 0

    def play(self, *, is_traced: bool, users: int, turns: int, rate: float = 0.0) -> Round:
        """Let users play on one backend; its late exports count.

        Raises:
            FailedTurnError: a turn failed.
        """
        backend = self.backends[is_traced]
        driver = [str(HERE / "load_driver.py"), "--url", backend.url, "--users", str(users)]
        driver += ["--turns", str(turns), "--rate", str(rate)]
        before = backend.cpu_seconds()
        with process(driver) as running:
            output, _ = running.communicate()
            if running.returncode:
                raise CannotRunError(f"the users ended with code {running.returncode}")
        time.sleep(2 * EXPORT_DELAY_SECONDS)
        seen = json.loads(output)
        if seen["errors"]:
            raise FailedTurnError(f"{len(seen['errors'])} turns failed: {seen['errors'][0]}")
        self._turns_traced += turns * is_traced
        return Round(seen=seen, cpu_seconds=backend.cpu_seconds() - before)

    def spans_lost(self) -> int:
        """Return how many spans of the traced turns did not arrive, at the least."""
        with urllib.request.urlopen(self._sink_url) as answer:  # noqa: S310 - our own
            return max(0, SPANS_PER_TURN * self._turns_traced - int(answer.read()))


class FailedTurnError(Exception):
    """A turn failed, so nothing measured counts."""


def measure_latency(plan: Plan, say: Any) -> dict[str, Any]:
    """Play the rounds and return the result."""
    with ExitStack() as stack:
        rig = Rig(stack, chunk_seconds=CHUNK_SECONDS)
        warm = [
            rig.play(is_traced=is_traced, users=10, turns=plan.warm_up_turns, rate=3.0)
            for is_traced in (True, False)
        ][-1]
        rate = UTILISATION / (warm.cpu_milliseconds_per_turn / 1000)
        turns = round(rate * plan.round_seconds)
        say(f"{rate:.1f} turns/s of {plan.users} users, {turns} turns a round")
        pairs: list[dict[bool, Round]] = []
        for number in range(plan.pairs):
            order = _TRACED if number % 2 == 0 else _TRACED[::-1]
            pair = {
                is_traced: rig.play(is_traced=is_traced, users=plan.users, turns=turns, rate=rate)
                for is_traced in order
            }
            pairs.append(pair)
            say(f"pair {number + 1} of {plan.pairs} done")
        lost = rig.spans_lost()
    return {"rate": rate, "turns_per_round": turns, "spans_lost": lost, **_summary(pairs)}


def _summary(pairs: Sequence[dict[bool, Round]]) -> dict[str, Any]:
    table: dict[str, dict[str, float]] = {}
    for what, percent in itertools.product(WHATS, PERCENTILES):
        pooled = {
            is_traced: percentile(
                [value for pair in pairs for value in pair[is_traced].seen["milliseconds"][what]],
                percent,
            )
            for is_traced in _TRACED
        }
        differences = [
            pair[True].percentile(what, percent) - pair[False].percentile(what, percent)
            for pair in pairs
        ]
        table[f"{what} p{percent} ms"] = _row(pooled[False], pooled[True], differences)
    for name, of in (
        ("server CPU ms/turn", lambda r: r.cpu_milliseconds_per_turn),
        ("server busy, of 1 core", lambda r: r.utilisation),
        ("users busy, of 1 core", lambda r: r.seen["driver_cpu_seconds"] / r.seen["seconds"]),
        ("events/s to the users", lambda r: r.seen["events"] / r.seen["seconds"]),
    ):
        values = {t: [of(pair[t]) for pair in pairs] for t in _TRACED}
        differences = [on - off for off, on in zip(values[False], values[True], strict=True)]
        medians = (statistics.median(values[False]), statistics.median(values[True]))
        table[name] = _row(*medians, differences)
    ratios = [
        pair[True].cpu_milliseconds_per_turn / pair[False].cpu_milliseconds_per_turn
        for pair in pairs
    ]
    added = table["request p99 ms"]["on"] - table["request p99 ms"]["off"]
    untraced = [pair[False].percentile("request", 99) for pair in pairs]
    return {
        "table": table,
        "cpu_ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "untraced_p99_spread_ms": max(untraced) - min(untraced),
        "bar": {"what": "ms added to a request at p99", "is": added},
    }


def _row(off: float, on: float, differences: Sequence[float]) -> dict[str, float]:
    median = statistics.median(differences)
    spread = {"min": min(differences), "max": max(differences)}
    return {"off": off, "on": on, "difference": median, **spread}


def measure_memory(plan: Plan, say: Any) -> dict[str, Any]:
    """Play many turns on each backend, in alternating blocks, and return their curves."""
    curves: dict[bool, list[float]] = {False: [], True: []}
    with ExitStack() as stack:
        rig = Rig(stack, chunk_seconds=0.0)
        for is_traced in _TRACED:
            rig.play(is_traced=is_traced, users=MEMORY_USERS, turns=MEMORY_WARM_UP_TURNS)
            curves[is_traced].append(rig.backends[is_traced].resident_megabytes())
        for block in range(MEMORY_BLOCKS):
            for is_traced in _TRACED if block % 2 else _TRACED[::-1]:
                turns = plan.memory_turns // MEMORY_BLOCKS
                rig.play(is_traced=is_traced, users=MEMORY_USERS, turns=turns)
                curves[is_traced].append(rig.backends[is_traced].resident_megabytes())
            say(f"{(block + 1) * turns:,} turns each: {curves[False][-1]:.1f} MB untraced,"
                f" {curves[True][-1]:.1f} MB traced")  # fmt: skip
        lost = rig.spans_lost()
    added = curves[True][-1] - curves[False][-1]
    growth = {t: curves[t][-1] - curves[t][0] for t in _TRACED}
    return {
        "curve_megabytes": {"off": curves[False], "on": curves[True]},
        "growth_megabytes": {"off": growth[False], "on": growth[True]},
        "spans_lost": lost,
        "bar": {"what": f"MB added after {plan.memory_turns:,} turns", "is": added},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="90 s: does it work; a tenth for --memory"
    )
    parser.add_argument("--memory", action="store_true", help="memory over 2,000 turns instead")
    parser.add_argument("--users", type=int, help=f"default {FULL.users}, quick {QUICK.users}")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = QUICK if options.quick else FULL
    if options.users:
        plan = replace(plan, users=options.users)
    try:
        result = measure_memory(plan, _say) if options.memory else measure_latency(plan, _say)
    except FailedTurnError as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    except (CannotRunError, OSError, subprocess.SubprocessError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
    bar = MEMORY_BAR_MEGABYTES if options.memory else LATENCY_BAR_MILLISECONDS
    holds = result["bar"]["is"] < bar and not result["spans_lost"]
    if options.json:
        print(json.dumps({**result, "holds": holds}))
    else:
        _print(result, bar)
    spread = result.get("untraced_p99_spread_ms", 0.0)
    if spread > STEADY_MILLISECONDS:
        print(
            f"load: no verdict: the untraced backend's own p99 varied by {spread:.0f} ms between"
            f" its rounds, {STEADY_MILLISECONDS:.0f} at most; let nothing else run here",
            file=sys.stderr,
        )
        return 2
    return 0 if holds else 1


def _print(result: dict[str, Any], bar: float) -> None:
    if "table" in result:
        print(f"{'':26}{'off':>10}{'on':>10}{'added':>10}   (min .. max over the pairs)")
        for name, row in result["table"].items():
            print(
                f"{name:26}{row['off']:10.2f}{row['on']:10.2f}{row['difference']:10.2f}"
                f"   ({row['min']:.2f} .. {row['max']:.2f})"
            )
        ratio = result["cpu_ratio"]
        print(
            f"server CPU, on / off: {ratio['median']:.3f}"
            f" ({ratio['min']:.3f} .. {ratio['max']:.3f})"
        )
    else:
        growth = result["growth_megabytes"]
        print(f"grown since the warm-up: {growth['off']:.1f} MB off, {growth['on']:.1f} MB on")
    if result["spans_lost"]:
        print(f"{result['spans_lost']} spans did not arrive: nothing measured counts")
    found = result["bar"]
    word = "holds" if found["is"] < bar else "DOES NOT HOLD"
    print(f"{found['what']}: {found['is']:.2f}, at most {bar:g}: {word}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
