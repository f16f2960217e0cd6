"""What the docs say exists, exists; what exists is in the docs."""

from __future__ import annotations

import dataclasses
import re
from fnmatch import fnmatchcase
from pathlib import Path

from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as sdk_variables

from turntrace.cli.settings_table import environment_page, short_row
from turntrace.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


FIELDS = dataclasses.fields(Settings)
VARIABLES = {name for field in FIELDS for name in field.metadata["env"]}
PAGE = ROOT / "docs" / "reference" / "environment.md"


def test_the_page_of_the_environment_is_what_the_settings_say() -> None:
    assert PAGE.read_text() == environment_page(), "stale: run `make docs`"


def test_every_setting_is_on_its_page_with_what_becomes_of_a_bad_value() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    for field in FIELDS:
        names = ", ".join(f"`{name}`" for name in field.metadata["env"])
        (row,) = [row for row in rows if row[0] == f"| {names}"]
        assert row[3] == field.metadata["doc"]
        assert row[4].strip(" |"), names


def test_every_standard_variable_is_on_the_page_of_the_environment_if_only_as_not_read() -> None:
    named = re.findall(r"[A-Z][A-Z_]+\*?", PAGE.read_text())
    standard = {
        value
        for module in (environment_variables, sdk_variables)
        for name, value in vars(module).items()
        if name.startswith("OTEL_") and isinstance(value, str)
    }
    assert len(standard) > 50
    for variable in sorted(standard):
        assert any(fnmatchcase(variable, pattern) for pattern in named), variable


def test_every_row_of_settings_in_the_readme_is_true_and_the_whole_table_is_linked() -> None:
    true = {short_row(field) for field in FIELDS}
    rows = [line for line in README.splitlines() if re.match(r"\| `(OTEL|TURNTRACE)_", line)]
    assert rows
    for row in rows:
        assert row in true
    assert "(docs/reference/environment.md)" in README


def test_the_readme_names_no_variable_that_does_not_exist() -> None:
    assert set(re.findall(r"`((?:OTEL|TURNTRACE)_[A-Z_]+)`", README)) <= VARIABLES


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
    pages = [*ROOT.glob("*.md"), *ROOT.glob("requirements/*"), *ROOT.glob("docs/**/*.md")]
    for page in filter(Path.is_file, pages):
        assert forbidden.search(page.read_text()) is None, page
