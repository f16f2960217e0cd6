"""Waits, in every Python below `turntrace run`, until a library that can be traced is imported.

That Python may be without turntrace, or a helper in which there is nothing to trace. So this file
needs the standard library only, and a process that imports no such library never imports turntrace.
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

API = "api"
OWN = "turntrace"

FAMILIES = {
    API: (OWN, "opentelemetry"),
    "asgi": ("starlette", "fastapi"),
    "socketio": ("socketio",),
    "langgraph": ("langchain_core", "langgraph"),
    "sqlalchemy": ("sqlalchemy",),
    "httpx": ("httpx",),
    "aiohttp": ("aiohttp",),
}
"""The packages to wait for, by instrumentation; a library that imports another is one family."""
FAMILY_OF = {package: name for name, packages in FAMILIES.items() for package in packages}


class _Family:
    """Packages that import each other, of which none may be half imported when hooks are put on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.under_way: list[str] = []
        """The modules that some thread is executing."""

    def is_complete(self) -> bool:
        """Tell whether there is something of it, and nothing of it is being imported any more."""
        if self.under_way or sys.modules.keys().isdisjoint(FAMILIES[self.name]):
            return False
        return self.name != API or "opentelemetry.trace" in sys.modules


class _Loader:
    """Stands in for a module's loader, as which it passes, until the module is executed."""

    def __init__(self, loader: Any, family: _Family, finder: _Finder) -> None:
        self._loader = loader
        self._family = family
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    @property  # type: ignore[misc] # of a class that may be assigned to
    def __class__(self) -> Any:
        """For isinstance(), which asks for it."""
        return type(self._loader)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module as if this loader had never been there, then see what is complete."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        name, under_way = module.__name__, self._family.under_way
        under_way.append(name)
        try:
            self._loader.exec_module(module)
        finally:
            under_way.remove(name)  # not the last one: that may be another thread's
        self._finder.report_complete()


class _Finder:
    """Stands first among the finders; it finds nothing itself, it only sees what is looked for."""

    def __init__(self, report: Callable[[str], bool]) -> None:
        self.report = report
        """Called with the name of a complete family; False: it is to be called again, later."""
        self._families: dict[str, _Family] = {}
        self._reporting = _thread.allocate_lock()
        self._looked_for: set[tuple[int, str]] = set()

    def wait_for(self, name: str) -> None:
        """Wait for one family; report it at once if it has been imported already."""
        if name not in self._families:
            self._families[name] = _Family(name)
        self.report_complete()

    def forget(self, name: str) -> None:
        """Wait no more for one family."""
        self._families.pop(name, None)

    def report_complete(self) -> None:
        """Report what is complete, one thread at a time and none while turntrace is imported.

        The one that is at it looks again before it ends, and so does the import of turntrace. To
        wait for either could be forever: this thread still holds the lock of what it imports.
        """
        tried: set[str] = set()
        while (family := self._next_complete(tried)) and self._reporting.acquire(blocking=False):
            try:
                tried.add(family.name)
                if self._families.get(family.name) is family and self.report(family.name):
                    self.forget(family.name)
            finally:
                self._reporting.release()

    def _next_complete(self, tried: set[str]) -> _Family | None:
        families = list(self._families.values())
        api = self._families.get(API)
        if api and any(name.partition(".")[0] == OWN for name in list(api.under_way)):
            return None
        untried = (family for family in families if family.name not in tried)
        return next((family for family in untried if family.is_complete()), None)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders find, so that the end of its import is seen."""
        family = self._family_of(name.partition(".")[0])
        looked_for = (_thread.get_ident(), name)
        if family is None or looked_for in self._looked_for:
            return None
        self._looked_for.add(looked_for)
        try:
            return self._found(family, name, path, target)
        finally:
            self._looked_for.discard(looked_for)

    def _family_of(self, package: str) -> _Family | None:
        name = FAMILY_OF.get(package)
        return None if name is None else self._families.get(name)

    def _found(self, family: _Family, name: str, path: Any, target: Any) -> ModuleSpec | None:
        following = list(sys.meta_path)
        # Where somebody wrapped all finders it does not stand itself, and asks all of them.
        here = next((place for place, one in enumerate(following) if one is self), -1)
        del following[: here + 1]
        for finder in following:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, family, self)  # type: ignore[assignment] # duck
                return spec
        return None


def wait_for(families: Iterable[str]) -> None:
    """Put hooks on each of these families as soon as the app has imported it."""
    if not _finders:
        _finders.append(_Finder(_put_on_hooks))
        sys.meta_path.insert(0, _finders[0])
    for name in families:
        _finders[0].wait_for(name)


_finders: list[_Finder] = []


def _put_on_hooks(name: str) -> bool:
    """Put the hooks of one family on; False if other threads' imports do not let us now."""
    try:
        # First alone: below its own modules' locks, two threads could wait for each other.
        import turntrace  # noqa: F401
        from turntrace.bootstrap.start import imported
    except Exception as error:  # noqa: BLE001 - whatever it is, the app goes on
        if type(error).__name__ == "_DeadlockError":
            return False
        for family in FAMILIES:
            _finders[0].forget(family)
        is_missing = getattr(error, "name", None) == OWN
        reason = (
            f"turntrace is not installed for {sys.executable}; install it there"
            if is_missing
            else f"turntrace cannot be imported ({type(error).__name__})"
        )
        sys.stderr.write(f"turntrace run: {reason}. The app runs, untraced.\n")
        return True
    return imported(name)


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
