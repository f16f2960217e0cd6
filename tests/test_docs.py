"""What the docs say exists, exists; what exists is in the docs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from turntrace.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_environment_variable_is_in_the_readme_with_its_meaning() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    for field in dataclasses.fields(Settings):
        names = ", ".join(f"`{name}`" for name in field.metadata["env"])
        found = [row for row in rows if row.startswith(f"| {names} |")]
        assert len(found) == 1, names
        assert field.metadata["doc"] in found[0]


def test_the_readme_names_no_variable_that_does_not_exist() -> None:
    known = {name for field in dataclasses.fields(Settings) for name in field.metadata["env"]}
    assert set(re.findall(r"`((?:OTEL|TURNTRACE)_[A-Z_]+)`", README)) == known


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_word_of_make_in_the_documents_exists() -> None:
    words = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ROOT.glob("*.md"):
        for word in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert word in words, f"{page.name}: make {word}"


def test_every_folder_and_module_of_the_architecture_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", text):
        places = [ROOT / name, ROOT / "src" / "turntrace" / name, ROOT / "reference" / name]
        assert any(place.exists() for place in places), name


def test_no_text_names_a_registry_host_or_a_path_of_a_machine() -> None:
    forbidden = re.compile(r"/[w]ork/|/[r]oot/|pypi\.[o]rg|[p]ythonhosted|registry\.[n]pmjs")
    for page in [*ROOT.glob("*.md"), *ROOT.glob("requirements/*"), *ROOT.glob("docs/**/*.md")]:
        assert forbidden.search(page.read_text()) is None, page
