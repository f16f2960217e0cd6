"""Writes ``docs/reference/attributes.md`` from the keys themselves, so that it cannot lie.

``make docs``, which is ``python -m turntrace.cli.attributes_table > docs/reference/attributes.md``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from turntrace.attributes import KEYS, NEVER, Key, Vocabulary
from turntrace.cli.markdown import code, table
from turntrace.shapes import DECLARABLE, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS: Final = {
    "app": "the app itself, or an instrumentation by others",
    "ai": "`turntrace.trace_ai_call` and what the hooks of model calls share",
    "asgi": "the hook for FastAPI, Starlette and any ASGI app",
    "conversation": "`turntrace.turn`, `bind` and the helpers beside them",
    "guard": "the guard, when a span has ended",
    "http_client": "the hooks for httpx and aiohttp",
    "langgraph": "the hooks for LangGraph and LangChain",
    "pipeline": "`configure()`",
    "record": "spans and turns themselves",
    "socketio": "the hooks for python-socketio, and `turntrace.trace_socket_event`",
    "sqlalchemy": "the hook for SQLAlchemy",
}
"""The words of the column "set by"."""

_VOCABULARIES: Final = {
    Vocabulary.BOTH: "both",
    Vocabulary.SEMCONV: "semantic convention",
    Vocabulary.ORIGINAL: "original",
}

_HEADINGS: Final = {"ai": "AI", "http": "HTTP", "socket.io": "Socket.IO"}

_HEAD: Final = """\
# Attributes

<!-- Written by `make docs` from src/turntrace/attributes.py and shapes.py; change it there. -->

Every attribute key that turntrace writes or lets through. A value leaves only in the
[shape](#shapes) of its key, unchanged; any other value of that key is withheld, counted, and said
once. Keys that are not here are the app's own: [what leaves of them](../guide/privacy.md).

*Vocabulary*: the names of the original system and those of OpenTelemetry's semantic conventions
stand side by side. `TURNTRACE_VOCABULARY=semconv` or `original` leaves the others out; what is
`both` is always there.

*Set by*:
"""

_SHAPES: Final = """
## Shapes

What a value may look like. Those with a tick an app may declare for keys of its own, with
`turntrace.register_attributes` or `TURNTRACE_ATTRIBUTES`; beside them a list of words, or an
`Enum` class: those words and no others. None with a tick has room for white space.
"""

_NEVER: Final = """
## What is not let out

No text leaves under these keys, whoever sets them: they have no shape here. Its length may leave,
as `<key>.length`, where the key stands in the code that sets it. They cannot be registered.
"""

_MORE: Final = """
Nor do status descriptions, trace state, baggage and attributes of instrumentation scopes leave.
A statement (`db.query.text`, `db.statement`) leaves without its literals, and not from a span that
failed. On a server's span the keys for whom a client called (`server.address`, `network.peer.*`,
`net.peer.*`) are withheld: the client writes them.
"""

_RESOURCE: Final = """
The process, once for all its spans. What `OTEL_RESOURCE_ATTRIBUTES` sets leaves as well, whatever
it is, but for the command line.
"""


def attributes_page() -> str:
    """Return the whole page."""
    layers = dict.fromkeys(key.layer for key in KEYS.values())
    parts = ((f"`{part}`", meaning) for part, meaning in PARTS.items())
    return "".join(
        [
            _HEAD,
            *table(("part", "what it is"), parts),
            *(text for layer in layers for text in _layer(layer)),
            _SHAPES,
            *table(("shape", "an app may declare it", "what leaves"), map(_shape_row, _shapes())),
            _NEVER,
            *table(("key", "why"), ((code(names), why) for names, why in NEVER.items())),
            _MORE,
        ]
    )


def _layer(layer: str) -> Iterator[str]:
    yield f"\n## {_HEADINGS.get(layer) or layer.capitalize()}\n"
    if layer == "resource":
        yield _RESOURCE
    yield from table(
        ("key", "vocabulary", "shape", "meaning", "set by"),
        (_key_row(key) for key in KEYS.values() if key.layer == layer),
    )


def _key_row(key: Key) -> tuple[str, ...]:
    shape = f"[{key.shape.name}](#{_anchor(key.shape)})"
    return f"`{key.name}`", _VOCABULARIES[key.vocabulary], shape, key.meaning, key.where


def _shapes() -> list[Shape]:
    """Return every shape once: those that an app may declare first, then in the keys' order."""
    of_keys = (key.shape for key in KEYS.values())
    return list({shape.name: shape for shape in (*DECLARABLE.values(), *of_keys)}.values())


def _shape_row(shape: Shape) -> tuple[str, ...]:
    is_declarable = DECLARABLE.get(shape.name) is shape
    name = f'<a id="{_anchor(shape)}"></a>{shape.name}'
    return name, "✓" if is_declarable else "", shape.meaning


def _anchor(shape: Shape) -> str:
    return f"shape-{shape.name.replace(' ', '-')}"


if __name__ == "__main__":
    sys.stdout.write(attributes_page())
