"""Which turntrace this is."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Return the installed version of turntrace."""
    try:
        return version("turntrace")
    except PackageNotFoundError:
        return f"unknown (python {platform.python_version()})"
