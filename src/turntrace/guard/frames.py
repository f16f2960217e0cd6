"""Says of a traceback's frames which code they ran, in names of files and functions, no text."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from typing import TYPE_CHECKING, NamedTuple

from turntrace.literals import is_loaded_from
from turntrace.type_names import WITHHELD

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

PATH = r"(?:[\w+-][\w.+-]{0,63}/){0,15}[\w+-][\w.+-]{0,63}\.pyw?"
_STEP = r"(?:[A-Za-z_]\w{0,63}|<(?:locals|lambda|module|listcomp|dictcomp|setcomp|genexpr)>)"
FUNCTION = rf"{_STEP}(?:\.{_STEP}){{0,7}}"

MAX_WALKED = 20_000
"""Frames of one traceback that are looked at; what is deeper is only counted."""

_MAX_FILES = 4_096
_MAX_OUTERMOST = 16
_MAX_INNERMOST = 16
_MAX_FOREIGN = 8
_PACKAGES = re.compile(r".*/(?:site|dist)-packages/", re.DOTALL)
_PATH = re.compile(PATH, re.ASCII)
_FUNCTION = re.compile(FUNCTION, re.ASCII)
# Below these a path begins with somebody's name.
_NO_ROOTS = frozenset({"", "/home", "/Users", "C:", "C:/Users"})


class _File(NamedTuple):
    """What is known of a source file by its name alone."""

    is_app: bool
    path: str
    """Relative to where its code is imported from, or ``WITHHELD``."""


_NO_FILE = _File(is_app=True, path=WITHHELD)


class FrameLines:
    """Writes tracebacks as ``path:line in function``, the innermost frame first.

    Frames of the app count, and the one in which it ended. What lies in the standard library or
    in site-packages is no app, unless its top-level package is one of ``app_packages``.
    """

    def __init__(self, app_packages: Iterable[str] = ()) -> None:
        self._app_packages = frozenset(app_packages)
        self._files: dict[str, _File] = {}
        paths = sysconfig.get_paths()
        self._library = {f"{_slashes(paths[kind])}/" for kind in ("stdlib", "platstdlib")}
        # Ours, which a checkout has elsewhere than in site-packages.
        self._own = _slashes(__file__).removesuffix("turntrace/guard/frames.py")

    def of(self, traceback: TracebackType | None) -> list[str]:
        """Return at most 33 lines for the frames, and such as count those that are left out.

        A traceback without a frame of the app gives the innermost 8 there are.
        """
        outermost: list[TracebackType] = []
        innermost: list[TracebackType] = []
        foreign: list[TracebackType] = []
        between = walked = 0
        while traceback is not None and walked < MAX_WALKED:
            walked += 1
            if self._file(traceback).is_app:
                foreign.clear()
                if len(outermost) < _MAX_OUTERMOST:
                    outermost.append(traceback)
                else:
                    innermost.append(traceback)
            elif not innermost and not outermost:
                foreign.append(traceback)
            else:
                foreign = [traceback]
            if len(innermost) > _MAX_INNERMOST:
                del innermost[0]
                between += 1
            if len(foreign) > _MAX_FOREIGN:
                del foreign[0]
            traceback = traceback.tb_next
        deeper = 0
        while traceback is not None:
            deeper += 1
            traceback = traceback.tb_next
        lines = [f"... {deeper} more frames"] if deeper else []
        lines += [self._line(frame) for frame in reversed([*innermost, *foreign])]
        if between:
            lines.append(f"... {between} more frames")
        lines += [self._line(frame) for frame in reversed(outermost)]
        return lines

    def _line(self, traceback: TracebackType) -> str:
        path = self._file(traceback).path
        frame = traceback.tb_frame
        code = frame.f_code
        # The name of a function counts only where its file is one: an app may run a user's code.
        if path is WITHHELD or not is_loaded_from(code.co_filename, frame.f_globals):
            return f"{WITHHELD}:{traceback.tb_lineno or 0} in {WITHHELD}"
        function = code.co_qualname
        if type(function) is not str or _FUNCTION.fullmatch(function) is None:
            function = WITHHELD
        return f"{path}:{traceback.tb_lineno or 0} in {function}"

    def _file(self, traceback: TracebackType) -> _File:
        name = traceback.tb_frame.f_code.co_filename
        if type(name) is not str:  # a str of its own class may run code when it is compared
            return _NO_FILE
        found = self._files.get(name)
        if found is None:
            found = self._judged(_slashes(name))
            if len(self._files) >= _MAX_FILES:
                self._files.clear()
            self._files[name] = found
        return found

    def _judged(self, path: str) -> _File:
        if path.startswith("<frozen "):
            return _File(is_app=False, path=WITHHELD)
        inside = _PACKAGES.match(path)
        if inside is not None:
            relative = path[inside.end() :]
            is_app = re.split(r"[/.]", relative, maxsplit=1)[0] in self._app_packages
            return _File(is_app, _shaped(relative))
        if path.startswith(f"{self._own}turntrace/"):
            return _File(is_app=False, path=_shaped(path[len(self._own) :]))
        for folder in self._library:
            if path.startswith(folder):
                return _File(is_app=False, path=_shaped(path[len(folder) :]))
        if not os.path.isabs(path):  # noqa: PTH117 - Path costs more
            return _File(is_app=True, path=_shaped(path.removeprefix("./")))
        return _File(is_app=True, path=_shaped(_below_a_root(path)))


def _below_a_root(path: str) -> str:
    """Return a path below the longest of the import path's folders that it lies in."""
    roots = {_slashes(entry) for entry in list(sys.path) if type(entry) is str}
    try:
        roots.add(_slashes(os.getcwd()))  # noqa: PTH109 - Path would cost its construction
    except OSError:
        roots.discard("")  # the directory was deleted
    matching = [root for root in roots - _NO_ROOTS if path.startswith(f"{root}/")]
    if not matching:
        return path.rpartition("/")[2]
    return path[len(max(matching, key=len)) + 1 :]


def _shaped(relative: str) -> str:
    if len(relative) > 256:  # noqa: PLR2004 - what a reader can take in
        relative = relative.rpartition("/")[2]
    return relative if _PATH.fullmatch(relative) else WITHHELD


def _slashes(path: str) -> str:
    return path.replace("\\", "/").rstrip("/")
