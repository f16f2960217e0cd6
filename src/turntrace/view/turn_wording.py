"""How the pages say numbers: durations, shares of a duration that add up, tokens, money."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_NAME = 300
_US, _MS, _SECOND = 10**3, 10**6, 10**9
_MINUTE, _HOUR = 60 * _SECOND, 3600 * _SECOND
"""Nanoseconds."""


class Amount(NamedTuple):
    """A number as it is shown, and its unit, which is set in a quieter ink."""

    number: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".rstrip()


class Scale(NamedTuple):
    """How durations of one size are said."""

    below_ns: int
    """From here on the next scale is used: what would be shown with one digit more."""
    unit_ns: int
    decimals: int
    unit: str

    @property
    def quantum_ns(self) -> int:
        """What one unit of the last digit is worth."""
        return int(self.unit_ns // 10**self.decimals)


_SCALES = (
    Scale(999_500, _US, 0, "µs"),
    Scale(9_950_000, _MS, 1, "ms"),
    Scale(999_500_000, _MS, 0, "ms"),
    Scale(9_995_000_000, _SECOND, 2, "s"),
    Scale(119_950_000_000, _SECOND, 1, "s"),
    Scale(7_197 * _SECOND, _MINUTE, 1, "min"),
)
_LONGEST = Scale(2**63, _HOUR, 1, "h")


def duration(nanoseconds: float) -> Amount:
    """Return a duration with the digits that matter: ``350 µs``, ``57 ms``, ``8.21 s``."""
    total_ns = int(nanoseconds)
    scale = _scale(total_ns)
    return _amount(_rounded(total_ns, scale.quantum_ns), scale)


def shares(total_ns: int, parts_ns: Sequence[int]) -> tuple[Amount, list[Amount]]:
    """Say a duration and its parts so that the numbers shown add up to the total shown.

    All have the unit and the decimals of the total. What rounding leaves over goes to the parts
    that lost most by it (the largest remainder method).

    Args:
        total_ns: the whole, in nanoseconds.
        parts_ns: its parts, none negative; their sum is ``total_ns``.

    Example:
        >>> total, parts = shares(1_000_000, [333_333, 333_333, 333_334])
        >>> [str(part) for part in parts], str(total)
        (['0.3 ms', '0.3 ms', '0.4 ms'], '1.0 ms')
    """
    scale = _scale(total_ns)
    wanted = _rounded(total_ns, scale.quantum_ns)
    counts = [part // scale.quantum_ns for part in parts_ns]
    missing = wanted - sum(counts)
    by_loss = sorted(
        range(len(counts)), key=lambda place: (-(parts_ns[place] % scale.quantum_ns), place)
    )
    for place in by_loss[: max(0, missing)]:
        counts[place] += 1
    if missing < 0 and counts:
        counts[counts.index(max(counts))] += missing
    return _amount(wanted, scale), [_amount(count, scale) for count in counts]


def is_nothing(amount: Amount) -> bool:
    """Tell whether an amount is shown as zero."""
    return not amount.number.strip("0.")


def count(number: float) -> str:
    """Return a number of things with its thousands set apart."""
    return f"{number:,.0f}"


def dollars(amount: float) -> str:
    """Return an amount of US dollars, small ones with their first digits."""
    if amount == 0:
        return "$0"
    if amount < 0.00001:  # noqa: PLR2004 - nothing would be left of it
        return "<$0.00001"
    return f"${amount:,.5f}" if amount < 1 else f"${amount:,.2f}"


def percent(part: float, whole: float) -> str:
    """Return a share: ``62%``, and ``<1%`` for what is there but rounds to nothing."""
    share = 100 * part / whole if whole else 0.0
    return "<1%" if 0 < share < 0.5 else f"{share:.0f}%"  # noqa: PLR2004 - rounds to 0


def plural(number: int, noun: str) -> str:
    """Return ``1 span``, ``2 spans``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def one_line(text: str) -> str:
    """Return text of others on one line, at most 300 characters of it."""
    cut = " ".join(text[: _MAX_NAME + 1].split())
    return cut if len(text) <= _MAX_NAME else cut[: _MAX_NAME - 1] + "…"


def _scale(total_ns: int) -> Scale:
    return next((scale for scale in _SCALES if total_ns < scale.below_ns), _LONGEST)


def _rounded(total_ns: int, quantum_ns: int) -> int:
    """Return how many quanta are nearest."""
    return (total_ns + quantum_ns // 2) // quantum_ns


def _amount(quanta: int, scale: Scale) -> Amount:
    if not scale.decimals:
        return Amount(f"{quanta:,}", scale.unit)
    head, tail = divmod(quanta, 10**scale.decimals)
    return Amount(f"{head:,}.{tail:0{scale.decimals}}", scale.unit)
