"""The hunt: all traffic once, through one view and one backend, then a look at what left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from leak_backend_probes import (
    backend_probe,
    gemini_path,
    prepare,
    words_and_variables,
)
from leak_backend_rig import User, backend_running, own_lines, view_running
from leak_bare_probes import bare_probe
from leak_bare_rig import guarded
from leak_gemini import TellingGemini
from leak_rows import Bait, baited
from leak_spools import SpoolsKept

if TYPE_CHECKING:
    from pathlib import Path


MAX_SHOWN = 3


class Hunt:
    """What was laid, and what it could be found in."""

    def __init__(
        self,
        baits: tuple[Bait, ...],
        probed: dict[str, bytes],
        raw: dict[str, bytes],
        asked: str,
    ) -> None:
        self.baits = baits
        self.probed = probed
        """By row, the id of the span inside which its bare probe ran."""
        self.raw = raw
        """All that left, by the place where it arrived."""
        self.asked = asked
        """What the app itself told the model: baits belong there."""
        self._readings = {place: baited(content) for place, content in raw.items()}

    def hits(self, row: str) -> list[str]:
        found = []
        for bait in self.baits:
            for place, texts in self._readings.items() if bait.row == row else ():
                hits = [text for text in texts if bait.is_in([text])]
                found += [f"{bait.kind} probe, in {place}: {text!r}" for text in hits[:MAX_SHOWN]]
        return found


@pytest.fixture(scope="session")
def hunt(tmp_path_factory: pytest.TempPathFactory) -> Hunt:
    folder = tmp_path_factory.mktemp("hunt")
    bare_baits, backend_baits = bare_probe.baits(), backend_probe.baits()
    probed: dict[str, bytes] = {}
    with TellingGemini() as gemini, SpoolsKept(folder / "spools", folder / "kept spools") as spools:
        with view_running(folder) as view:
            with guarded(view.url, spools.spools) as (bare, raw):
                for row, probe in bare_probe.by_row.items():
                    with bare.tracer.start_as_current_span("probe") as span:
                        probed[row] = span.get_span_context().span_id.to_bytes(8, "big")
                        probe(bare, bare_baits[row])
                spools.look()
            _play(folder, view.url, gemini, backend_baits, spools.spools)
            raw["wire"], raw["pages and API"] = view.wire(), view.answers()
            raw["store files, while open"] = view.files()
        raw["store files"], raw["live stream"] = view.files(), view.live_stream()
    raw["spool files"] = spools.content()
    raw["headers to the model"] = "\n".join(gemini.headers).encode()
    raw["own log lines of the backend"] = own_lines(folder / "backend.out").encode()
    raw["output of the view"] = (folder / "view.out").read_bytes()
    baits = (*bare_baits.values(), *backend_baits.values())
    return Hunt(baits, probed, raw, "\n".join(gemini.asked))


def _play(
    folder: Path, endpoint: str, gemini: TellingGemini, baits: dict[str, Bait], spools: Path
) -> None:
    """Send everything down one backend, and end it, which delivers what it recorded."""
    words, variables = words_and_variables(baits)
    database = folder / "renovation.sqlite3"
    variables |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_LOG_LEVEL": "debug",
        "TURNTRACE_SPOOL_DIR": str(spools),
        "GEMINI_BASE_URL": f"{gemini.url}{gemini_path(baits)}",
        "RENOVATION_DATABASE": str(database),
        "RENOVATION_MESSAGES_PER_MINUTE": "1000",
    }
    with backend_running(folder, words, variables) as url:
        prepare(gemini, database, baits)
        asyncio.run(_talk(url, baits))


async def _talk(url: str, baits: dict[str, Bait]) -> None:
    for row, probe in backend_probe.by_row.items():
        user = User(url)
        await user.arrive()
        try:
            await probe(user, baits[row])  # type: ignore[misc] # each is a coroutine function
        except BaseException as error:
            error.add_note(f"in the probe of {row!r}; heard: {user.heard[-3:]}")
            raise
        finally:
            await user.leave()
