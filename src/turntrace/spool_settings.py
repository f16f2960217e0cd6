"""The settings of the place where finished spans wait until a collector has acknowledged them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from turntrace import setting_kinds as kinds
from turntrace.setting_fields import setting
from turntrace.setting_kinds import Kind, UnusableError

_OFF: Final = "off"


def _directory() -> Kind:
    """Read the absolute path of a directory, which may begin with ``~``, or ``off``."""

    def parse(text: str) -> str:
        path: str = kinds.text().accept(text)
        if path.lower() == _OFF:
            return _OFF
        if path.startswith("~"):
            path = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises without a home
        if not Path(path).is_absolute():
            raise UnusableError("is no absolute path")
        return path

    return Kind(
        takes="an absolute path, or 'off'",
        reads="absolute path, or `off`",
        parse=parse,
        accept=lambda value: parse(str(value) if isinstance(value, Path) else kinds.text_of(value)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """Where finished spans wait, how many bytes of them, and who sends them."""

    spool_dir: str = setting(
        "",
        "TURNTRACE_SPOOL_DIR",
        _directory(),
        "directory on a local disk, for the finished spans that no collector has acknowledged yet;"
        " off: they are kept in memory only. By default turntrace/spool in the user's state"
        " directory",
        instead="the user's state directory",
    )
    spool_max_bytes: int = setting(
        256 * 1024 * 1024,
        "TURNTRACE_SPOOL_MAX_BYTES",
        kinds.whole(4 * 1024 * 1024, 2**50),
        "bytes of finished spans on disk, of all processes that share the directory; the oldest go"
        " first",
    )
    shipper: str = setting(
        "thread",
        "TURNTRACE_SHIPPER",
        kinds.choice("thread", "process"),
        "thread: this process sends its spans; process: it only writes them to disk, and `turntrace"
        " spool ship` sends them",
    )
    state_home: str = setting(
        "",
        "XDG_STATE_HOME LOCALAPPDATA",
        _directory(),
        "the user's state directory, if it is not ~/.local/state",
        instead="the platform's directory",
    )

    @property
    def spool_root(self) -> Path | None:
        """Where the spools of all processes lie; None: nowhere, or there is no home directory."""
        if self.spool_dir:
            return None if self.spool_dir == _OFF else Path(self.spool_dir)
        if self.state_home and self.state_home != _OFF:
            return Path(self.state_home, "turntrace", "spool")
        try:
            home = Path.home()
        except RuntimeError:
            return None
        if sys.platform == "darwin":
            return home / "Library" / "Application Support" / "turntrace" / "spool"
        return home / ".local" / "state" / "turntrace" / "spool"
