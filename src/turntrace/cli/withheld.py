"""One line on the app's own keys whose text the guard withheld, and what would let it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from turntrace.cli.cleaning import clean
from turntrace.view.turn_withheld import WithheldKey, withheld_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from turntrace.store.contract import Attributes

MAX_NAMED = 3
"""Keys that are named at most; the page has the others."""


def withheld_words(trace: Mapping[str, Any], cells: int) -> str:
    """Return the line, empty if no key was withheld.

    Args:
        trace: the document of ``GET /api/traces/{trace_id}``.
        cells: of the terminal; fewer keys are named, and no setting is cut, to fit.
    """
    found = {key.key: key for facts in _all_facts(trace) for key in withheld_keys(facts).keys}
    keys = sorted(found.values(), key=lambda key: not key.setting)
    for count in range(min(MAX_NAMED, len(keys)), 0, -1):
        settings = ",".join(key.setting for key in keys[:count] if key.setting)
        line = f"{_said(keys, count)}; to let out ids: TURNTRACE_ATTRIBUTES={settings}"
        if settings and cell_len(line) <= cells:
            return line
    return _said(keys, MAX_NAMED) if keys else ""


def _said(keys: list[WithheldKey], count: int) -> str:
    names = [clean(key.key) for key in keys[:count]]
    if len(keys) > count:
        names.append(f"{len(keys) - count} more")
    return f"withheld texts: {', '.join(names)}"


def _all_facts(trace: Mapping[str, Any]) -> Iterator[Attributes]:
    for span in trace["spans"]:
        yield span["attributes"]
        for part in (*span["events"], *span["links"]):
            yield part["attributes"]
