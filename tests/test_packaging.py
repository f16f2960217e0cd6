"""The wheel: it carries what the code reads, and nothing of the reference backend."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"


def test_the_wheel_carries_every_file_of_the_package_and_no_other(tmp_path: Path) -> None:
    uv = Path(sys.prefix) / "bin" / "uv"
    subprocess.run(
        [uv, "build", "--wheel", "--quiet", "--offline", "--out-dir", tmp_path, ROOT], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if ".dist-info/" not in name and not name.endswith("/")
    }
    written = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == written
    assert "turntrace/store/schema/sqlite.sql" in packed
    assert "turntrace/view/templates/turn.html" in packed
    assert "turntrace/view/static/js/turn.js" in packed
    assert "turntrace/py.typed" in packed


def test_the_wheel_carries_what_the_pages_take_from_npm(tmp_path: Path) -> None:
    vendor = SOURCE / "turntrace" / "view" / "static" / "vendor"
    if not vendor.exists():
        pytest.skip("the pages' libraries are not here: install npm, then run `make front-end`")
    uv = Path(sys.prefix) / "bin" / "uv"
    subprocess.run(
        [uv, "build", "--wheel", "--quiet", "--offline", "--out-dir", tmp_path, ROOT], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = zipfile.ZipFile(wheel)
    for name in ("uPlot.esm.js", "uPlot.min.css", "uPlot.LICENSE"):
        assert packed.read(f"turntrace/view/static/vendor/{name}") == (vendor / name).read_bytes()
