"""Writes ``docs/reference/environment.md`` from the settings themselves, so that it cannot lie.

``make docs``, which is ``python -m turntrace.cli.settings_table > docs/reference/environment.md``.
What the last column says comes from reading a value that is unusable for every kind.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, Final

from turntrace.cli.markdown import code, row, table
from turntrace.settings import Settings, load
from turntrace.standard_variables import IGNORED, NO_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNUSABLE: Final = "a\nb"

_HEAD: Final = """\
# Environment variables

<!-- Written by `make docs` from src/turntrace/settings.py; change it there. -->

Explicit arguments of `configure()` win over the environment; each setting is one, by the name in
the last table. An empty variable counts as unset. Where a row names two variables, the first one
that can be used wins.

A value that cannot be used never stops the app: it is one warning on the logger `turntrace` that
names the variable, the value (headers, and whatever else may hold a secret, as `(hidden)`) and
what is used instead. The same value given to `configure()` raises `ConfigurationError`.

## Settings
"""

_NOT_READ: Final = """
## Standard variables that turntrace does not read

Setting one of these is one warning:
"""

_IGNORED: Final = """
These change nothing, and nothing is said, because another library of the process may read them:
"""

_ARGUMENTS: Final = """
## In code

`configure()` takes the same settings as arguments. Times are in seconds there:
"""


def environment_page() -> str:
    """Return the whole page."""
    return "".join(
        [
            _HEAD,
            *table(
                ("variable", "default", "takes", "meaning", "instead of a bad value"), _settings()
            ),
            _NOT_READ,
            *table(("variable", "what holds", "why"), _no_settings()),
            _IGNORED,
            *table(("variable", "why"), ((code(name), why) for name, why in IGNORED.items())),
            _ARGUMENTS,
            *table(("argument", "takes", "variable"), _arguments()),
        ]
    )


def short_row(field: dataclasses.Field[Any]) -> str:
    """Return a setting as the README shows it: variable, default, meaning."""
    return row((_variables(field), _default(field), field.metadata["doc"]))


def _settings() -> Iterator[tuple[str, ...]]:
    for field in dataclasses.fields(Settings):
        facts = field.metadata
        yield _variables(field), _default(field), facts["kind"].reads, facts["doc"], _instead(field)


def _no_settings() -> Iterator[tuple[str, ...]]:
    for name, fate in NO_SETTINGS.items():
        yield code(name), fate.instead, fate.reason


def _arguments() -> Iterator[tuple[str, ...]]:
    for field in dataclasses.fields(Settings):
        yield code(field.name), field.metadata["kind"].takes, _variables(field)


def _variables(field: dataclasses.Field[Any]) -> str:
    return code(", ".join(field.metadata["env"]))


def _default(field: dataclasses.Field[Any]) -> str:
    """Return the default as one would write it into the variable; nothing if there is none."""
    value = getattr(Settings(), field.name)
    if value is None or value in ("", {}):
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return code(f"{value * 1000:g}" if field.name.endswith("_seconds") else str(value))


def _instead(field: dataclasses.Field[Any]) -> str:
    """Return what is used if nothing but an unusable value is there."""
    (warning,) = load(environ={field.metadata["env"][0]: _UNUSABLE})[1]
    used = warning.rpartition("; using ")[2]
    return f"`{used.strip(chr(39))}`" if used.startswith("'") else used


if __name__ == "__main__":
    sys.stdout.write(environment_page())
