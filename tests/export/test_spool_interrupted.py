"""Claims about a signal handler that raises while a span is being written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from export_records import make_record
from export_shippers import make_shipper

if TYPE_CHECKING:
    from pathlib import Path


class TooLateError(Exception):
    """What an app's own alarm raises."""


@pytest.mark.parametrize("place", [0, 1], ids=["first of a segment", "another"])
@pytest.mark.parametrize("is_written", [True, False], ids=["written", "not yet written"])
def test_a_span_is_counted_once_whatever_is_raised_in_the_middle(
    place: int, is_written: bool, tmp_path: Path
) -> None:
    shipper = make_shipper("http://127.0.0.1:9/v1/traces", tmp_path, schedule_delay_seconds=60.0)
    spool = shipper.spool
    assert spool is not None
    for _ in range(place):
        shipper.offer(make_record())
    write = spool._writer._write

    def interrupted(descriptor: int, frame: bytes, size: int) -> int:
        spool._writer._write = write
        if is_written:
            os.write(descriptor, frame)
        raise TooLateError

    spool._writer._write = interrupted
    shipper.offer(make_record())
    counts = shipper.counts()
    assert (counts.offered, counts.on_disk, counts.waiting) == (place + 1, place + 1, 0)
    found = spool.read()
    assert len(found) == place + is_written
    if found:
        spool.acknowledge(found[-1].position)
    after = shipper.counts()
    assert sum(after.dropped.values()) + after.acknowledged == after.offered
    shipper.shutdown(0.0)
