"""Starts turntrace in an app without a line of it: `turntrace run`, `opentelemetry-instrument`."""

from pathlib import Path

STARTUP_FOLDER = str(Path(__file__).parent / "startup")
"""What `turntrace run` puts on PYTHONPATH: nothing is in there but a ``sitecustomize``."""
