"""Waits, in every Python below `turntrace run`, until a library that can be traced is imported.

That Python may be without turntrace, or a helper in which there is nothing to trace. So this file
needs the standard library only, and a process that imports no such library never imports turntrace.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

API = "api"

FAMILIES = {
    API: ("turntrace", "opentelemetry"),
    "asgi": ("starlette", "fastapi"),
    "socketio": ("socketio",),
    "langgraph": ("langchain_core", "langgraph"),
    "sqlalchemy": ("sqlalchemy",),
    "httpx": ("httpx",),
    "aiohttp": ("aiohttp",),
}
"""The packages to wait for, by instrumentation; a library that imports another is one family."""


class _Family:
    """Packages that import each other, of which none may be half imported when hooks are put on."""

    def __init__(self, name: str, finder: _Finder) -> None:
        self.name = name
        self.finder = finder
        self.under_way: list[str] = []

    def imported(self) -> None:
        """Report the family if nothing of it is being imported any more."""
        if self.under_way or not self.finder.waits_for(self.name):
            return
        if self.name == API and "opentelemetry.trace" not in sys.modules:
            return
        self.finder.forget(self.name)
        self.finder.report(self.name)


class _Loader:
    """Stands in for a module's loader until the module is executed."""

    def __init__(self, loader: Any, family: _Family) -> None:
        self._loader = loader
        self._family = family

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create: Callable[[ModuleSpec], ModuleType | None] = self._loader.create_module
        return create(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module as if this loader had never been there, then see what is complete."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        under_way = self._family.under_way
        under_way.append(module.__name__)
        try:
            self._loader.exec_module(module)
        finally:
            under_way.pop()
        self._family.imported()


class _Finder:
    """Stands first among the finders; it finds nothing itself, it only sees what is looked for."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self._families: dict[str, _Family] = {}

    def wait_for(self, name: str) -> None:
        """Wait for one family; report it at once if it has been imported already."""
        family = _Family(name, self)
        self._families.update(dict.fromkeys(FAMILIES[name], family))
        if not sys.modules.keys().isdisjoint(FAMILIES[name]):
            family.imported()

    def waits_for(self, name: str) -> bool:
        return FAMILIES[name][0] in self._families

    def forget(self, name: str) -> None:
        """Wait no more for one family."""
        for package in FAMILIES[name]:
            self._families.pop(package, None)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders find, so that the end of its import is seen."""
        family = self._families.get(name.partition(".")[0])
        if family is None:
            return None
        following = sys.meta_path[sys.meta_path.index(self) + 1 :]
        for finder in following:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, family)  # type: ignore[assignment] # duck
                return spec
        return None


def wait_for(families: Iterable[str]) -> None:
    """Put hooks on each of these families as soon as the app has imported it."""
    finder = next((one for one in sys.meta_path if isinstance(one, _Finder)), None)
    if finder is None:
        finder = _Finder(_put_on_hooks)
        sys.meta_path.insert(0, finder)
    for name in families:
        finder.wait_for(name)


def _put_on_hooks(name: str) -> None:
    try:
        from turntrace.bootstrap.start import imported
    except Exception as error:  # noqa: BLE001 - whatever it is, the app goes on
        for family in FAMILIES:
            _stop_waiting(family)
        is_missing = getattr(error, "name", None) == "turntrace"
        reason = (
            f"turntrace is not installed for {sys.executable}; install it there"
            if is_missing
            else f"turntrace cannot be imported ({type(error).__name__})"
        )
        sys.stderr.write(f"turntrace run: {reason}. The app runs, untraced.\n")
        return
    imported(name)


def _stop_waiting(name: str) -> None:
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            finder.forget(name)


def _run_the_next_sitecustomize() -> None:
    """Run the ``sitecustomize`` that this one hides, and leave no trace of this folder."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is slow to import
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100 - as above
    this = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found] # noqa: F401 - the user's, if any
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", this)


if __name__ == "sitecustomize":
    wait_for(FAMILIES)
    _run_the_next_sitecustomize()
