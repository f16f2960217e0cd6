"""What the docs say exists, exists; what exists is in the docs."""

from __future__ import annotations

import ast
import dataclasses
import re
import tomllib
from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as sdk_variables

from turntrace import attributes as keys
from turntrace.attributes import KEYS
from turntrace.call_sites import Origin
from turntrace.cli.attributes_table import NEVER, PARTS, attributes_page
from turntrace.cli.settings_table import environment_page, short_row
from turntrace.guard.exceptions import is_safe_stack
from turntrace.guard.schema import Schema
from turntrace.guard.stage import GuardStage
from turntrace.guard.withheld import Withheld
from turntrace.settings import Settings, load
from turntrace.shapes import DECLARABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


FIELDS = dataclasses.fields(Settings)
VARIABLES = {name for field in FIELDS for name in field.metadata["env"]}
PAGE = ROOT / "docs" / "reference" / "environment.md"
ATTRIBUTES = ROOT / "docs" / "reference" / "attributes.md"
PRIVACY = (ROOT / "docs" / "guide" / "privacy.md").read_text()

SOURCE = ROOT / "src" / "turntrace"
CONSTANTS = {name: key for name, key in vars(keys).items() if isinstance(key, str) and key in KEYS}
WHERE = {
    "instrument/langchain": "langgraph",
    "instrument/": "",
    "socket_": "socketio",
}
"""Which part a file belongs to, by how its path begins; else its folder, or its name."""
READERS = ("cli", "export", "logs", "store", "testing", "view")
"""What only reads attributes."""


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


def test_the_layers_of_the_architecture_are_those_that_are_enforced() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = [c["layers"] for c in project["tool"]["importlinter"]["contracts"] if "layers" in c]
    drawn = "\n".join(layer.strip("()") for layer in layers)  # in parentheses: may be missing
    assert f"```\n{drawn}\n```" in (ROOT / "ARCHITECTURE.md").read_text()


def test_no_text_names_a_registry_host_or_a_path_of_a_machine() -> None:
    forbidden = re.compile(r"/[w]ork/|/[r]oot/|pypi\.[o]rg|[p]ythonhosted|registry\.[n]pmjs")
    pages = [*ROOT.glob("*.md"), *ROOT.glob("requirements/*"), *ROOT.glob("docs/**/*.md")]
    for page in filter(Path.is_file, pages):
        assert forbidden.search(page.read_text()) is None, page


# -- attributes -----------------------------------------------------------------------------------


def test_the_page_of_attributes_is_what_the_keys_and_shapes_say() -> None:
    assert ATTRIBUTES.read_text() == attributes_page(), "stale: run `make docs`"


def test_every_key_is_on_its_page_with_a_link_to_its_shape() -> None:
    page = ATTRIBUTES.read_text()
    shapes: dict[str, object] = dict(DECLARABLE)
    for key in KEYS.values():
        assert shapes.setdefault(key.shape.name, key.shape) is key.shape, "two of one name"
        row = rf"^\| `{re.escape(key.name)}` \| [a-z ]+ \| \[.+?\]\(#(shape-[^)]+)\) \|"
        (anchor,) = re.findall(row, page, re.MULTILINE)
        assert page.count(f'<a id="{anchor}"></a>{key.shape.name} |') == 1


def part_of(path: str) -> str:
    """Return the part of turntrace that a file belongs to, as the table calls it."""
    for beginning, part in WHERE.items():
        if path.startswith(beginning):
            return part or path.removeprefix(beginning).split("/")[0].removesuffix(".py")
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def set_in(path: Path) -> Iterator[str]:
    """Yield the constants of ``attributes`` that a file uses otherwise than to look something up.

    Reading is: what is compared, an argument of ``get`` or ``pop``, a subscript that is loaded.
    """
    tree = ast.parse(path.read_text())
    constants = {
        node.asname or node.name: node.name
        for statement in ast.walk(tree)
        if isinstance(statement, ast.ImportFrom) and statement.module == "turntrace.attributes"
        for node in statement.names
    }
    read: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            read.update([node.left, *node.comparators])
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            read.add(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            read.update(node.args if node.func.attr in {"get", "pop"} else ())
    for node in ast.walk(tree):
        if node in read:
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "keys" and node.attr in CONSTANTS:
                yield node.attr
        elif isinstance(node, ast.Name) and constants.get(node.id) in CONSTANTS:
            yield constants[node.id]


def test_every_key_is_set_by_the_parts_that_its_row_names_and_by_no_others() -> None:
    parts: dict[str, set[str]] = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        part = part_of(path.relative_to(SOURCE).as_posix())
        if part not in (*READERS, "attributes"):
            for constant in set_in(path):
                parts[CONSTANTS[constant]].add(part)
    said = {key.name: set(key.where.split(", ")) - {"app"} for key in KEYS.values()}
    assert {key: found for key, found in said.items() if found != parts[key]} == {}


def test_no_key_is_set_by_a_part_that_the_page_does_not_explain() -> None:
    used = {part for key in KEYS.values() for part in key.where.split(", ")}
    assert used == set(PARTS)


@pytest.mark.parametrize("name", [name for names in NEVER for name in names.split(", ")])
def test_no_text_leaves_under_a_key_of_which_the_page_says_so(name: str) -> None:
    key, text = name.replace("*", "any"), "typed"
    origin = Origin(is_constant=True, place="app.py:1", is_app=True)
    kept, dropped = GuardStage(Schema(), lambda _: None).filtered({key: text}, {key: origin})
    assert dropped == 1
    assert text not in kept.values()
    if name.startswith("process."):
        assert not Schema(resource_keys=[name]).has_resource_key(name)


# -- privacy --------------------------------------------------------------------------------------


def shown(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```", PRIVACY, re.DOTALL | re.MULTILINE)


def test_the_log_line_in_the_guide_is_the_one_that_is_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (line,) = [text for text in shown("text") if "was withheld" in text]
    (key,) = re.findall(r'attribute "([^"]+)"', line)
    (place,) = re.findall(r"\((\w+\.py:\d+)\)", line)
    Withheld().text(key, Origin(is_constant=True, place=place, is_app=True))
    assert " ".join(line.split()) == caplog.messages[-1]


def test_the_stacks_in_the_guide_are_such_as_leave() -> None:
    stacks = [text for text in shown("text") if " in " in text and "withheld" not in text]
    assert stacks
    assert all(map(is_safe_stack, stacks))


def test_the_variable_of_attributes_in_the_guide_can_be_used() -> None:
    (value,) = re.findall(r"^```\nTURNTRACE_ATTRIBUTES=(.*)\n```", PRIVACY, re.MULTILINE)
    settings, warnings = load(environ={"TURNTRACE_ATTRIBUTES": value})
    assert warnings == []
    assert set(settings.attributes) == {"order.id", "order.kind", "app.*"}


def test_every_shape_that_an_app_may_declare_is_in_the_guide() -> None:
    rows = set(re.findall(r'^\| `"(\w+)"` \|', PRIVACY, re.MULTILINE))
    assert rows == set(DECLARABLE)
