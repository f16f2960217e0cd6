"""The claims of `third_party_sqlalchemy_claims.py`, in a process with the versions they need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# OpenTelemetry's hooks for SQLAlchemy ask for 2.0, and for the API of their own release.
FOLDERS = [Path(sys.prefix) / name for name in ("otel_sqlalchemy", "sqlalchemy20")]
CLAIMS = Path(__file__).with_name("third_party_sqlalchemy_claims.py")


def test_claims_hold_for_opentelemetry_s_hooks_for_sqlalchemy() -> None:
    if not all(folder.is_dir() for folder in FOLDERS):
        pytest.skip("OpenTelemetry's hooks for SQLAlchemy are missing: run `make setup-dev`")
    inherited = os.environ.get("PYTHONPATH")
    path = [*map(str, FOLDERS), *([inherited] if inherited else [])]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CLAIMS)],
        cwd=CLAIMS.parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^\d+ passed", run.stdout, re.MULTILINE), run.stdout
