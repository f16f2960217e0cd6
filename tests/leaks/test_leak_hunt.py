"""No content leaves by any known path: a bait on each, and a look at every byte that left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from leak_backend_probes import backend_probe
from leak_bare_probes import bare_probe
from leak_bare_rig import encoded, unguarded
from leak_rows import ROWS, bait, baited

if TYPE_CHECKING:
    from conftest import Hunt

TIGHT = {"metric attributes"}
"""What does not leak without a guard either: we export no metrics."""


@pytest.mark.parametrize("row", ROWS)
def test_no_content_leaves_by(row: str, hunt: Hunt) -> None:
    assert row in bare_probe.by_row
    assert hunt.hits(row) == []


def test_every_row_has_a_probe_and_every_probe_a_row() -> None:
    assert len(set(ROWS)) == len(ROWS) == 46
    assert set(bare_probe.by_row) == set(ROWS)
    assert set(backend_probe.by_row) <= set(ROWS)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("wire", b"chat gemini-2.5-flash"),
        ("wire", b"exception.stacktrace"),
        ("wire", b"GET localhost"),
        ("spool files", b"exception.stacktrace"),
        ("spool files", b"socket.io chat:user_message"),
        ("store files", b"socket.io chat:user_message"),
        ("store files, while open", b"socket.io chat:user_message"),
        ("pages and API", b"execute_tool search_products"),
        ("pages and API", b"<!doctype html>"),
        ("live stream", b"event: turn"),
        ("own log lines of the app", b"withheld"),
        ("headers to strangers", b"traceparent"),
        # The trace that a packet with baggage and trace state beside it belongs to.
        ("headers to the model", b"traceparent: 00-0af7651916cd43dd8448eb211c80319c"),
        ("output of the view", b"http://"),
    ],
)
def test_there_was_something_to_look_at_in(place: str, text: bytes, hunt: Hunt) -> None:
    assert text in hunt.raw[place]


@pytest.mark.parametrize("row", ROWS)
def test_what_was_recorded_on_the_bait_arrived_everywhere(row: str, hunt: Hunt) -> None:
    span_id = hunt.probed[row]
    assert span_id in hunt.raw["wire"]
    assert span_id in hunt.raw["spool files"]
    assert span_id in hunt.raw["store files"]
    assert span_id.hex().encode() in hunt.raw["pages and API"]


@pytest.mark.parametrize(
    "row",
    [
        "exception: message",
        "ai: prompt, system prompt, history",
        "ai: completion, also streamed",
        "ai: tool arguments",
        "ai: tool result",
        "outbound: query string and path",
    ],
)
def test_the_backend_worked_on_the_bait_of(row: str, hunt: Hunt) -> None:
    assert bait(row, "backend").is_in(baited(hunt.asked))


def test_a_bait_is_found_whole_and_in_part_and_no_other_is() -> None:
    for laid in (bait(ROWS[0], "bare"), bait(ROWS[0], "backend")):
        words = laid.phrase.split()
        for text in (laid.word, laid.phrase, laid.phrase[5:22], laid.word[3:15], *words):
            assert laid.is_in(baited(b"\x0a\x07" + text.upper().encode() + b"\x12"))
            assert not bait(ROWS[1], "bare").is_in(baited(text))


def test_without_the_guard_every_path_leaks_that_spans_or_headers_have() -> None:
    """The guard is what holds: the same probes on a pipeline without one.

    Only the bare ones. The backend's would say little of the guard: its spans are made by our own
    instrumentations, which put no content on them in the first place.
    """
    leaks: dict[str, bool] = {}
    for row, probe in bare_probe.by_row.items():
        laid, resource = bait(row, "bare"), {"service.name": "unguarded"}
        with unguarded(resource) as (bare, records):
            with bare.tracer.start_as_current_span("probe"):
                probe(bare, laid)
            sent = encoded(bare.resource(), records)
            headers = repr(bare.carriers)
        leaks[row] = laid.is_in((*baited(sent), *baited(headers)))
    print(*(f"{'leaks' if leaks[row] else 'tight'}: {row}" for row in ROWS), sep="\n")  # noqa: T201 - the result
    assert {row for row, is_leaking in leaks.items() if not is_leaking} == TIGHT
