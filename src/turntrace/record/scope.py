"""What every scope of a span can do beside ``with``: decorate functions, sync and async."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.trace import Span

    F = TypeVar("F", bound=Callable[..., Any])


class SpanScope(ABC):
    """A context manager that starts a span, and a decorator that does so for each call.

    A class, not a generator: it costs less, may be entered again, and a coroutine that
    it decorates stays inside until it has finished.
    """

    __slots__ = ()

    @abstractmethod
    def __enter__(self) -> Span:
        """Start the span and make it current."""

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span; what was raised goes on."""

    @abstractmethod
    def _again(self) -> Self:
        """Return a scope of its own for one call of a decorated function."""

    def __call__(self, function: F) -> F:
        """Decorate ``function``: each call gets a span of its own."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_span(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def in_span(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return in_span  # type: ignore[return-value] # wraps keeps the signature
