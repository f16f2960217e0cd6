"""What every instrumentation is: a thing that can be switched on and off again."""

from __future__ import annotations

from typing import Protocol


class Instrumentation(Protocol):
    """One library's hooks. Owned by ``turntrace.instrument``; switched from one thread."""

    def instrument(self) -> None:
        """Put the hooks on; works on instances that exist already and on those made later."""
        ...

    def uninstrument(self) -> None:
        """Take them off; the library is then exactly as it was."""
        ...
