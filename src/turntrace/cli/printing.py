"""A drawing goes to an output: in colour and to its width if it is a terminal, plain if not."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from rich.console import Console

from turntrace.cli.waterfall import ASCII, MAX_WIDTH, Glyphs, draw

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

PIPED_WIDTH = 120


def print_waterfall(trace: Mapping[str, Any], output: TextIO) -> None:
    """Print a trace, as ``GET /api/traces/{trace_id}`` describes it."""
    glyphs = Glyphs()
    try:
        "".join(glyphs).encode(output.encoding or "utf-8")
    except UnicodeEncodeError:
        glyphs = ASCII
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # names may hold what the output cannot
    width = _width(output)
    console = Console(file=output, width=MAX_WIDTH + 1, highlight=False, markup=False, emoji=False)
    for line in draw(trace, width, glyphs):
        console.print(line, soft_wrap=True, end="\n")


def _width(output: TextIO) -> int:
    try:
        return os.get_terminal_size(output.fileno()).columns
    except (OSError, ValueError):
        return PIPED_WIDTH
