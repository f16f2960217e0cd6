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

    takes_generators = False
    """Whether generators may be decorated, although the span covers only their making."""

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
    def _again(self, arguments: tuple[Any, ...]) -> Self:
        """Return a scope of its own for one call of a decorated function with ``arguments``."""

    def _returned(self, result: object) -> None:  # noqa: B027 - most scopes have no use for it
        """Look at what a decorated function returned, before the span ends."""

    def __call__(self, function: F) -> F:
        """Decorate ``function``: each call gets a span of its own.

        Raises:
            TypeError: it is a generator, which runs while others run: the span would not be
                current between two items.
        """
        is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        if is_generator and not self.takes_generators:
            raise TypeError(
                f"{function.__qualname__} is a generator, which this cannot decorate:"
                " use `with` around what makes one item, or turntrace.start_ai_stream_span"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_span(*args: Any, **kwargs: Any) -> Any:
                with (scope := self._again(args)):
                    result = await function(*args, **kwargs)
                    scope._returned(result)  # noqa: SLF001 - its own class
                    return result
        else:

            @functools.wraps(function)
            def in_span(*args: Any, **kwargs: Any) -> Any:
                with (scope := self._again(args)):
                    result = function(*args, **kwargs)
                    scope._returned(result)  # noqa: SLF001 - its own class
                    return result

        return in_span  # type: ignore[return-value] # wraps keeps the signature
