"""The claims of `test_sqlalchemy.py`, made of the other supported line of SQLAlchemy too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OTHER = Path(sys.prefix) / "sqlalchemy20"
CLAIMS = Path(__file__).with_name("test_sqlalchemy.py")


def test_claims_hold_for_sqlalchemy_20() -> None:
    if not (OTHER / "sqlalchemy").is_dir():
        pytest.skip("SQLAlchemy 2.0 is not installed: run `make setup-dev`")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", str(CLAIMS)],
        cwd=CLAIMS.parents[2],
        env={
            **os.environ,
            "PYTHONPATH": str(OTHER),
            "TURNTRACE_TEST_SQLALCHEMY": "2.0.",
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
