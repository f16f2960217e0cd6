"""`turntrace run` among threads that import at once, and beside others who look at imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from started_program import RUN, finished

if TYPE_CHECKING:
    from pathlib import Path

GATE = """
import sys, threading

class Gate:
    \"\"\"Stops the import of one module until it is opened, or 2 s later.\"\"\"
    def __init__(self, name):
        self.name, self.reached, self.open = name, threading.Event(), threading.Event()
    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            self.reached.set()
            self.open.wait(2.0)

def gate(name):
    made = Gate(name)
    sys.meta_path.insert(0, made)
    return made
"""
IS_ON = "print(sorted(sys.modules['turntrace.instrument']._on))\n"


def _said(tmp_path: Path, source: str) -> str:
    """Return what a program below `turntrace run` prints; it must say nothing else."""
    done = finished([*RUN, "python", "-c", GATE + source], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_library_imported_while_another_thread_imports_turntrace_is_traced(
    tmp_path: Path,
) -> None:
    source = """
inside = gate("turntrace.rules")
thread = threading.Thread(target=__import__, args=("turntrace",))
thread.start()
assert inside.reached.wait(20)
import httpx
inside.open.set()
thread.join()
import sqlalchemy
"""
    assert _said(tmp_path, source + IS_ON) == "['httpx', 'logging', 'sqlalchemy']"


def test_a_library_imported_while_another_one_s_hooks_are_put_on_is_traced(tmp_path: Path) -> None:
    source = """
inside = gate("turntrace.instrument.httpx")
thread = threading.Thread(target=__import__, args=("httpx",))
thread.start()
assert inside.reached.wait(20)
import sqlalchemy
inside.open.set()
thread.join()
"""
    assert _said(tmp_path, source + IS_ON) == "['httpx', 'logging', 'sqlalchemy']"


def test_threads_that_import_everything_at_once_trace_everything(tmp_path: Path) -> None:
    source = """
names = ("turntrace", "opentelemetry.trace", "httpx", "fastapi", "sqlalchemy", "socketio")
threads = [threading.Thread(target=__import__, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    all_on = "['aiohttp', 'asgi', 'httpx', 'logging', 'socketio', 'sqlalchemy']"
    assert _said(tmp_path, source + IS_ON) == all_on


def test_what_could_not_be_reported_is_reported_at_the_next_import(tmp_path: Path) -> None:
    source = """
from turntrace.bootstrap.startup.sitecustomize import _Finder
reported = []
def report(name):
    reported.append(name)
    return len(reported) > 1
sys.meta_path.insert(0, finder := _Finder(report))
for name in ("httpx", "aiohttp"): finder.wait_for(name)
import httpx
assert reported == ["httpx"]
import aiohttp
print(reported)
"""
    assert _said(tmp_path, source) == "['httpx', 'httpx', 'aiohttp']"


def test_a_tool_that_wraps_every_finder_breaks_no_import(tmp_path: Path) -> None:
    source = """
class Wrapper:
    def __init__(self, finder): self.finder = finder
    def find_spec(self, *arguments): return self.finder.find_spec(*arguments)
sys.meta_path[:] = [Wrapper(finder) for finder in sys.meta_path]
import httpx
"""
    assert _said(tmp_path, source + IS_ON) == "['httpx', 'logging']"


def test_a_library_s_loader_passes_as_the_one_that_python_has_for_it(tmp_path: Path) -> None:
    source = """
import importlib.abc, importlib.machinery, importlib.util
loader = importlib.util.find_spec("httpx").loader
assert isinstance(loader, importlib.abc.Loader)
assert isinstance(loader, importlib.machinery.SourceFileLoader)
assert loader.path.endswith("__init__.py")
assert loader.get_code("httpx").co_filename == loader.path
print("httpx" in sys.modules)
"""
    assert _said(tmp_path, source) == "False"
