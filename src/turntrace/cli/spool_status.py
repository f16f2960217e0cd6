"""`turntrace spool status`: what waits on disk, as a table or as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from turntrace.cli.cleaning import clean
from turntrace.cli.commands import EXIT_NO, EXIT_OK
from turntrace.cli.spool_place import root_of, settings_of
from turntrace.export.spool.report import SpoolReport, look_at

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from turntrace.export.spool.report import KeyReport, ProcessReport

_HEAD = ("process", "", "pid", "segments", "bytes", "spans", "oldest", "")
_IS_TEXT = (True, True, False, False, False, False, False, True)
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def run(arguments: argparse.Namespace) -> int:
    """Print the report and return the exit code."""
    settings = settings_of(arguments)
    root = root_of(settings)
    is_there = arguments.dir is not None or settings.spool_dir or root.exists()
    report = look_at(root) if is_there else SpoolReport(root=root, keys=[], unreadable=0)
    told = as_document(report, settings.spool_max_bytes, time.time_ns())
    if arguments.json:
        json.dump(told, sys.stdout, ensure_ascii=True)
        sys.stdout.write("\n")
    else:
        lines = _lines(report, settings.spool_max_bytes, time.time_ns())
        encoding = sys.stdout.encoding or "utf-8"
        text = "".join(f"{line.rstrip()}\n" for line in lines)
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    return EXIT_NO if told["quarantined"] or told["is_over_bound"] else EXIT_OK


def as_document(report: SpoolReport, max_bytes: int, now_ns: int) -> dict[str, Any]:
    """Return the report as JSON has it; ages in seconds, sizes in bytes."""
    return {
        "root": str(report.root),
        "bytes": report.size_bytes(),
        "max_bytes": max_bytes,
        "is_over_bound": report.size_bytes() > max_bytes,
        "spans": report.spans(),
        "quarantined": report.quarantined(),
        "newer": sum(process.newer for process in report.processes()),
        "unreadable": report.unreadable + sum(found.unreadable for found in report.processes()),
        "keys": [
            {
                "key": key.key,
                "has_been_answered": key.has_been_answered,
                "quarantined": key.quarantined,
                "processes": [_process(process, now_ns) for process in key.processes],
            }
            for key in report.keys
        ],
    }


def _process(found: ProcessReport, now_ns: int) -> dict[str, Any]:
    return {
        "directory": found.directory,
        "life": str(found.life),
        "pid": found.pid,
        "segments": found.segments,
        "bytes": found.size_bytes,
        "spans": found.spans,
        "oldest_seconds": _age_seconds(found, now_ns),
        "newer": found.newer,
        "damaged": found.damaged,
        "unreadable": found.unreadable,
    }


def _age_seconds(found: ProcessReport, now_ns: int) -> float | None:
    if found.oldest_ns is None:
        return None
    return round(max(0, now_ns - found.oldest_ns) / 1e9, 3)


def _lines(report: SpoolReport, max_bytes: int, now_ns: int) -> Iterator[str]:
    size_bytes = report.size_bytes()
    yield f"{clean(str(report.root))}"
    yield (
        f"{report.spans():,} spans wait, {_size(size_bytes)} of {_size(max_bytes)}"
        + (": over the bound" if size_bytes > max_bytes else "")
        + (f", {report.unreadable:,} directories cannot be read" if report.unreadable else "")
    )
    for key in report.keys:
        yield ""
        yield _key_line(key)
        if key.processes:
            yield from _table([_HEAD, *(_row(process, now_ns) for process in key.processes)])


def _key_line(key: KeyReport) -> str:
    answered = "a collector has answered" if key.has_been_answered else "no collector ever answered"
    aside = f", {key.quarantined:,} damaged segments in quarantine" if key.quarantined else ""
    return f"{clean(key.key)}: {answered}{aside}"


def _row(found: ProcessReport, now_ns: int) -> tuple[str, ...]:
    age_seconds = _age_seconds(found, now_ns)
    facts = (
        (found.newer, "of a later version"),
        (found.damaged, "damaged"),
        (found.unreadable, "unreadable"),
    )
    return (
        clean(found.directory),
        str(found.life),
        "" if found.pid is None else str(found.pid),
        f"{found.segments:,}",
        _size(found.size_bytes),
        f"{found.spans:,}",
        "" if age_seconds is None else _age(age_seconds),
        ", ".join(f"{count:,} {fact}" for count, fact in facts if count),
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield the rows with their columns below each other: texts to the left, numbers right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(_cells(row, widths))


def _cells(row: tuple[str, ...], widths: Iterable[int]) -> Iterator[str]:
    for cell, width, is_text in zip(row, widths, _IS_TEXT, strict=True):
        yield cell.ljust(width) if is_text else cell.rjust(width)


def _size(size_bytes: int) -> str:
    for unit, bytes_per_unit in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if size_bytes >= bytes_per_unit:
            return f"{size_bytes / bytes_per_unit:,.1f} {unit}"
    return f"{size_bytes} B"


def _age(seconds: float) -> str:
    for unit, length_seconds in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= 2 * length_seconds:
            return f"{seconds / length_seconds:,.0f} {unit}"
    return f"{seconds:.0f} s"
