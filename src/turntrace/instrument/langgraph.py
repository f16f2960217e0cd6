"""LangGraph and LangChain: agent, node, model call and tool spans, nested right under asyncio.

Two halves. An inline callback handler sees every run start and end, in the task that runs it.
Scope guards around the methods that run things restore the context afterwards: a handler may
attach on start, but ends are reported in another task and must never detach.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from turntrace.ai.prices import load_prices_soon
from turntrace.instrument.langchain_handler import (
    GRAPH_KEY,
    GUARDED_KEY,
    Scope,
    TurntraceHandler,
)
from turntrace.instrument.patch import Patches
from turntrace.record.context import attach, detach, get_current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

_NODE_RUNNERS = ("langgraph._internal._runnable", "langgraph.utils.runnable")


def _guarded(scope: Scope, graph: Any = None) -> Context:
    """Return the current context, marked as one whose changes are undone afterwards."""
    values = {**get_current(), GUARDED_KEY: scope}
    if graph is not None:
        values[GRAPH_KEY] = graph
    return Context(values)


async def _call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    scope = Scope()
    token = attach(_guarded(scope))
    try:
        return await wrapped(*args, **kwargs)
    finally:
        detach(token)
        scope.close()


def _sync_call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    scope = Scope()
    token = attach(_guarded(scope))
    try:
        return wrapped(*args, **kwargs)
    finally:
        detach(token)
        scope.close()


def _astream(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    return _async_scope(wrapped(*args, **kwargs))


def _stream(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    return _scope(wrapped(*args, **kwargs))


def _graph_astream(wrapped: Any, graph: Any, args: Any, kwargs: Any) -> Any:
    return _async_scope(wrapped(*args, **kwargs), graph)


def _graph_stream(wrapped: Any, graph: Any, args: Any, kwargs: Any) -> Any:
    return _scope(wrapped(*args, **kwargs), graph)


async def _async_scope(
    generator: AsyncGenerator[Any, Any], graph: Any = None
) -> AsyncGenerator[Any, Any]:
    """Run every step of ``generator`` in a context of its own.

    A generator runs in the context of whoever asks for its next item. What its body attaches
    would stay there between two items; here it is kept aside and put back for the next step.
    """
    scope = Scope()
    context = _guarded(scope, graph)
    # The loop closes what it has seen begin, all at once. Let it see this generator and not the
    # one inside: closed by both, that one would say so ("already running") in the app's log.
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        step: Any = generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)
    try:
        while True:
            token = attach(context)
            try:
                item = await step
            except StopAsyncIteration:
                return
            finally:
                context = get_current()
                detach(token)
            try:
                sent = yield item
            except GeneratorExit:
                token = attach(context)
                try:
                    await generator.aclose()
                finally:
                    detach(token)
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the caller, passed on
                step = generator.athrow(error)
            else:
                step = generator.__anext__() if sent is None else generator.asend(sent)
    finally:
        scope.close()


def _scope(generator: Generator[Any, Any, Any], graph: Any = None) -> Generator[Any, Any, Any]:
    """Run every step of a plain ``generator`` in a context of its own."""
    scope = Scope()
    context = _guarded(scope, graph)
    step: Any = generator.__next__
    try:
        while True:
            token = attach(context)
            try:
                item = step()
            except StopIteration as stop:
                return stop.value
            finally:
                context = get_current()
                detach(token)
            try:
                sent = yield item
            except GeneratorExit:
                token = attach(context)
                try:
                    generator.close()
                finally:
                    detach(token)
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the caller, passed on
                step = partial(generator.throw, error)
            else:
                step = generator.__next__ if sent is None else partial(generator.send, sent)
    finally:
        scope.close()


class _LanggraphInstrumentation:
    """Registers the handler with every callback manager and puts the guards on."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._hook: tuple[Any, ...] | None = None
        self._handler: ContextVar[TurntraceHandler | None] | None = None

    def instrument(self) -> None:
        from langchain_core.language_models.chat_models import BaseChatModel
        from langchain_core.tools import BaseTool
        from langchain_core.tracers import context as tracers

        handler = TurntraceHandler()
        self._handler = ContextVar("turntrace_handler", default=handler)
        tracers.register_configure_hook(self._handler, inheritable=True)
        self._hook = tracers._configure_hooks[-1]  # noqa: SLF001 - there is no way to unregister
        wrap = self._patches.wrap
        wrap(BaseChatModel, "agenerate", _call)
        wrap(BaseChatModel, "generate", _sync_call)
        wrap(BaseChatModel, "astream", _astream)
        wrap(BaseChatModel, "stream", _stream)
        wrap(BaseTool, "arun", _call)
        wrap(BaseTool, "run", _sync_call)
        self._guard_graphs()
        load_prices_soon()

    def _guard_graphs(self) -> None:
        try:
            from langgraph.pregel import Pregel
        except ImportError:
            return  # LangChain alone: models and tools are traced all the same
        self._patches.wrap(Pregel, "astream", _graph_astream)
        self._patches.wrap(Pregel, "stream", _graph_stream)
        for name in _NODE_RUNNERS:
            try:
                runner = import_module(name).RunnableSeq
            except (ImportError, AttributeError):
                continue
            self._patches.wrap(runner, "ainvoke", _call)
            self._patches.wrap(runner, "invoke", _sync_call)
            self._patches.wrap(runner, "astream", _astream)  # what astream_events runs nodes with
            self._patches.wrap(runner, "stream", _stream)
            return

    def uninstrument(self) -> None:
        from langchain_core.tracers import context as tracers

        self._patches.undo()
        if self._hook in tracers._configure_hooks:  # noqa: SLF001 - there is no way to unregister
            tracers._configure_hooks.remove(self._hook)  # noqa: SLF001 - the same
        self._hook = self._handler = None


INSTRUMENTATION = _LanggraphInstrumentation()
