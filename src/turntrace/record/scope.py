"""What every scope of a span can do beside ``with``: decorate functions, sync and async."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from opentelemetry.trace import INVALID_SPAN, Span

from turntrace.failsafe import Guarded
from turntrace.record.context import attach, detach, get_current

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from opentelemetry.context import Context

    F = TypeVar("F", bound=Callable[..., Any])

State = TypeVar("State")


class Decorates(ABC):
    """A context manager of a span that is a decorator as well: each call gets one of its own.

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
    def _again(self) -> Self:
        """Return a scope of its own for one call of a decorated function."""

    def _scopes(self, function: Callable[..., Any]) -> Callable[..., Self]:  # noqa: ARG002 - some look at it
        """Return what makes the scope of one call of ``function`` from the call's arguments."""
        return lambda *_, **__: self._again()

    def _returned(self, result: object) -> None:  # noqa: B027 - most have no use for it
        """Look at what a decorated function returned, before the span ends. May raise."""

    def __call__(self, function: F) -> F:
        """Decorate ``function``: each call gets a span of its own.

        What returns a coroutine or a future is inside until that is done.

        Raises:
            TypeError: it is a generator, which runs while others run: the span would not be
                current between two items. Or it is no function, as a classmethod is none.
        """
        self._refuse(function)
        scope_of = self._scopes(function)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_span(*args: Any, **kwargs: Any) -> Any:
                with (scope := scope_of(*args, **kwargs)):
                    result = await function(*args, **kwargs)
                    scope._look_at(result)  # noqa: SLF001 - its own class
                    return result
        else:

            @functools.wraps(function)
            def in_span(*args: Any, **kwargs: Any) -> Any:
                outer = get_current()
                scope = scope_of(*args, **kwargs)
                scope.__enter__()
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:
                    scope.__exit__(type(error), error, error.__traceback__)
                    raise
                if inspect.iscoroutine(result) or isinstance(result, asyncio.Future):
                    return scope._while_it_runs(result, outer)  # noqa: SLF001 - its own class
                scope._look_at(result)  # noqa: SLF001 - its own class
                scope.__exit__(None, None, None)
                return result

        return in_span  # type: ignore[return-value] # wraps keeps the signature

    def _refuse(self, function: object) -> None:
        name = getattr(function, "__qualname__", repr(function))
        if not callable(function):
            raise TypeError(f"{name} is no function: decorate the function itself, one line below")
        is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        if is_generator and not self.takes_generators:
            raise TypeError(
                f"{name} is a generator, which this cannot decorate:"
                " use `with` around what makes one item, or turntrace.start_ai_stream_span"
            )

    def _look_at(self, result: object) -> None:
        with Guarded("what a traced function returned"):
            self._returned(result)

    def _while_it_runs(self, work: Any, outer: Context) -> Any:
        """Give the caller its context back and stay open until ``work`` is done."""
        inner = get_current()
        is_future = isinstance(work, asyncio.Future)
        if is_future:
            work.add_done_callback(self._done)  # in the context of now, the inner one
        attach(outer)
        return work if is_future else self._awaited(work, inner)

    def _done(self, future: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._look_at(future.result())
        self.__exit__(type(error) if error else None, error, None)

    async def _awaited(self, work: Coroutine[Any, Any, Any], inner: Context) -> Any:
        token = attach(inner)
        try:
            result = await work
            self._look_at(result)
        except BaseException as error:
            detach(token)
            self.__exit__(type(error), error, error.__traceback__)
            raise
        detach(token)
        self.__exit__(None, None, None)
        return result


class SpanScope(Decorates, Generic[State]):
    """A scope for apps: whatever goes wrong with the span, the app never hears of it.

    One object may be entered again, by several tasks and threads at once: each leaves its own.
    """

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        self._entered: list[tuple[object, State | None]] = []

    @abstractmethod
    def _start(self) -> tuple[Span, State]:
        """Start and attach; return the span, and what ``_stop`` needs. May raise."""

    @abstractmethod
    def _stop(self, state: State, error: BaseException | None) -> None:
        """Detach and end. May raise."""

    def __enter__(self) -> Span:
        """Start the span and make it current."""
        span: Span = INVALID_SPAN
        state: State | None = None
        with Guarded("the start of a traced scope"):
            span, state = self._start()
        self._entered.append((_who(), state))
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span; what was raised goes on."""
        with Guarded("the end of a traced scope"):
            state = self._leave()
            if state is not None:
                self._stop(state, error)

    def _leave(self) -> State | None:
        """Return what the one who leaves entered last."""
        entered = self._entered
        who = _who() if len(entered) > 1 else None
        for index in range(len(entered) - 1, -1, -1):
            if who is None or entered[index][0] == who:
                return entered.pop(index)[1]
        return entered.pop()[1] if entered else None


def _who() -> object:
    """Return who is running: a task, or a thread that has none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident() if task is None else task
