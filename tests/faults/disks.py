"""Disks that are too small, or take nothing: mounted for one test, where that is allowed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def may_mount(folder: Path) -> bool:
    """Tell whether this user may mount something."""
    try:
        with mounted(folder / "probe", "size=64k"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs at ``place`` for a while.

    Raises:
        OSError: There is no ``mount``.
        subprocess.CalledProcessError: It is not allowed.
    """
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    subprocess.run(words, check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)  # noqa: S607 - as above


def is_superuser() -> bool:
    """Tell whether this process may become another user."""
    return os.geteuid() == 0
