"""The table of faults: printed after ``make faults``, kept in the docs with ``RECORD=1``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from result import Result

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "reliability.md"
_BEGIN: Final = "<!-- begin: written by `make faults RECORD=1` -->\n"
_END: Final = "<!-- end -->\n"
_HEAD: Final = f"""\
# Reliability

What becomes of spans in the outages that collectors have, measured with a real collector that is
told to fail. `make faults` runs the cases anew, `make faults QUICK=1` the short ones.

`sent` are spans that the sampler kept and whose `end()` returned, 500 a second unless the fault
says otherwise; `lost` are those that neither arrived nor were refused by the collector;
`duplicates` are arrivals of a span that was there already. `official` is
opentelemetry-exporter-otlp-proto-http behind a `BatchSpanProcessor`, `turntrace` is what
`turntrace.configure()` makes, each by its defaults, but with `OTEL_BSP_SCHEDULE_DELAY=500`.

{_BEGIN}{_END}"""
_COLUMNS: Final = (
    "fault",
    "exporter",
    "sampling",
    "sent",
    "lost",
    "duplicates",
    "rejected",
    "end() p99",
    "verdict",
)


def table(results: Iterable[Result]) -> str:
    """Return one line for each case, those of one fault beside each other."""
    rows = [result.row for result in sorted(results, key=_order)]
    return "".join(_line(row) for row in (_COLUMNS, ("---",) * len(_COLUMNS), *rows))


def _order(result: Result) -> tuple[str, float, str]:
    return result.fault, -result.share, result.exporter


def write_page(results: Iterable[Result], page: Path = PAGE) -> None:
    """Put the table into the page, which is made if there is none."""
    text = page.read_text() if page.exists() else _HEAD
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n{table(results)}\n{_END}{after}")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
