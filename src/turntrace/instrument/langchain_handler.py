"""The inline callback handler: turns LangChain's run events into spans, in the running task."""

# ruff: noqa: ARG002 - the arguments are those of LangChain's callbacks, needed here or not

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from turntrace import attributes as keys
from turntrace.ai.call import (
    CALL_KEY,
    RUN_KEY,
    ModelCall,
    add_conversation,
    identifier,
    model_name,
    open_call,
    start_model_call,
)
from turntrace.ai.chunks import has_text
from turntrace.ai.providers import provider_of_langchain
from turntrace.ai.usage import usage_of_langchain
from turntrace.failsafe import Guarded
from turntrace.instrument.langchain_run import (
    AGENT,
    CHAT,
    NODE,
    TOOL,
    Run,
)
from turntrace.record.context import SPAN_KEY, attach, get_current, with_span
from turntrace.record.turn_summary import OK

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.outputs import LLMResult

SCOPE = "turntrace.langgraph"

GRAPH_KEY = otel_context.create_key("turntrace-graph")
"""In the context of a graph's own task until its run has started: the graph."""
GUARDED_KEY = otel_context.create_key("turntrace-guarded")
"""In a context whose changes a guard undoes, the only one a start may attach in: its Scope."""

_STEP_TAG = "graph:step:"


class Scope:
    """The runs that were started under one guard; what is still open when it is left, ends then.

    A cancelled model call or tool reports no end of its own.
    """

    __slots__ = ("_started",)

    def __init__(self) -> None:
        self._started: list[tuple[TurntraceHandler, UUID]] = []

    def add(self, handler: TurntraceHandler, run_id: UUID) -> None:
        """Take note of a run that has started."""
        self._started.append((handler, run_id))

    def close(self) -> None:
        """End what has not ended."""
        for handler, run_id in self._started:
            handler.end_orphan(run_id)


class TurntraceHandler(BaseCallbackHandler):
    """Sees the starts and ends of all runs; does nothing per token but count.

    Inline (``run_inline``): LangChain would otherwise give each event of each token to another
    thread. A cancelled run reports no end: it ends with its
    ``Scope``, or with the run it is part of if that one failed or was cancelled.
    """

    run_inline = True
    raise_error = False
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self) -> None:
        self._runs: dict[UUID, Run] = {}

    # -- starts: in the task that runs the thing, so attaching is right ------------------------

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a graph or of one of its nodes; other chains have none."""
        with Guarded("the start of a LangGraph span"):
            context = get_current()
            graph: Any = context.get(GRAPH_KEY)
            if graph is not None:
                self._start_agent(run_id, parent_run_id, identifier(graph.get_name()))
            elif tags and name and not name.startswith("__"):
                node = (metadata or {}).get("langgraph_node")
                if node == name and any(tag.startswith(_STEP_TAG) for tag in tags):
                    self._start(
                        NODE,
                        run_id,
                        parent_run_id,
                        f"node {identifier(name)}".rstrip(),
                        SpanKind.INTERNAL,
                        {},
                    )

    def _start_agent(self, run_id: UUID, parent_run_id: UUID | None, name: str) -> None:
        values: dict[str, Any] = {keys.GEN_AI_OPERATION_NAME: "invoke_agent"}
        if name:
            values[keys.GEN_AI_AGENT_NAME] = name
        self._start(
            AGENT, run_id, parent_run_id, f"invoke_agent {name}".rstrip(), SpanKind.INTERNAL, values
        )

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a model call."""
        with Guarded("the start of a model call's span"):
            facts = metadata or {}
            values: dict[str, Any] = {
                keys.AI_PROMPT_HISTORY_SIZE: sum(len(batch) for batch in messages)
            }
            self._add_parameters(values, facts, kwargs.get("invocation_params") or {})
            outer = self._outer(CHAT, parent_run_id)
            call = open_call(outer)
            is_joined = call is not None
            if call is None:
                call = start_model_call(
                    model_name(facts.get("ls_model_name")),
                    provider_of_langchain(facts.get("ls_provider")),
                    outer,
                    scope=SCOPE,
                    parameters=values,
                )
            run = self._begin(CHAT, run_id, call.span, outer, call)
            run.is_joined = is_joined
            if run.agent is not None:
                run.agent.iterations += 1
                if run.turn is not None:
                    run.turn.iterations += 1

    @staticmethod
    def _add_parameters(
        values: dict[str, Any], facts: dict[str, Any], params: dict[str, Any]
    ) -> None:
        temperature = facts.get("ls_temperature")
        if isinstance(temperature, (int, float)):
            values[keys.GEN_AI_REQUEST_TEMPERATURE] = float(temperature)
            values[keys.AI_TEMPERATURE] = float(temperature)
        numbers = {
            keys.GEN_AI_REQUEST_MAX_TOKENS: facts.get("ls_max_tokens"),
            keys.GEN_AI_REQUEST_TOP_P: params.get("top_p"),
            keys.GEN_AI_REQUEST_TOP_K: params.get("top_k"),
        }
        values.update({k: v for k, v in numbers.items() if isinstance(v, (int, float))})

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a tool."""
        with Guarded("the start of a tool's span"):
            name = identifier((serialized or {}).get("name")) or "unknown"
            values: dict[str, Any] = {
                keys.GEN_AI_OPERATION_NAME: "execute_tool",
                keys.GEN_AI_TOOL_NAME: name,
                keys.AI_TOOL_NAME: name,
                keys.GEN_AI_TOOL_TYPE: "function",
            }
            call_id = identifier(kwargs.get("tool_call_id"))
            if call_id:
                values[keys.GEN_AI_TOOL_CALL_ID] = call_id
            run = self._start(
                TOOL, run_id, parent_run_id, f"execute_tool {name}", SpanKind.INTERNAL, values
            )
            if run.agent is not None:
                run.agent.tool_calls += 1
            if run.turn is not None:
                run.turn.tool_calls += 1

    def _start(  # noqa: PLR0917 - all of them, every time
        self,
        kind: str,
        run_id: UUID,
        parent_run_id: UUID | None,
        name: str,
        span_kind: SpanKind,
        values: dict[str, Any],
    ) -> Run:
        outer = self._outer(kind, parent_run_id)
        if kind != NODE:
            add_conversation(values, outer, is_model_call=False)
        span = trace.get_tracer(SCOPE).start_span(name, outer, span_kind, values)
        return self._begin(kind, run_id, span, outer)

    def _begin(
        self,
        kind: str,
        run_id: UUID,
        span: trace.Span,
        outer: Context,
        call: ModelCall | None = None,
    ) -> Run:
        """Make a started span the run's, and the current one where a guard undoes that."""
        run = self._runs[run_id] = Run(kind, run_id, span, outer)
        run.call = call
        if run.parent is not None:
            run.parent.children[run_id] = run
        scope = get_current().get(GUARDED_KEY)
        if isinstance(scope, Scope):
            scope.add(self, run_id)
            inner = dict(with_span(span, outer))
            inner[RUN_KEY] = run
            if call is not None:
                inner[CALL_KEY] = call
            inner.pop(GRAPH_KEY, None)
            attach(Context(inner))
        return run

    def _outer(self, kind: str, parent_run_id: UUID | None) -> Context:
        """Return the context the run belongs in.

        The current one, so that an app's own span between a node and its model call is kept;
        LangChain's parent run only where the context was lost on the way (a bare thread).
        """
        context = get_current()
        inside = context.get(RUN_KEY)
        if kind == CHAT and isinstance(inside, Run) and inside.kind == CHAT:
            # A batch: several calls start one after the other before the first one runs.
            return inside.outer
        if context.get(SPAN_KEY) is None and parent_run_id is not None:
            parent = self._runs.get(parent_run_id)
            if parent is not None:
                return Context({**with_span(parent.span, parent.outer), RUN_KEY: parent})
        return context

    # -- while it runs -------------------------------------------------------------------------

    def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        """Time the first chunk and the first chunk with text."""
        run = self._runs.get(run_id)
        if run is None or run.call is None or run.call.first_text is not None:
            return
        with Guarded("a model's chunk"):
            run.call.chunk_came(with_text=has_text(token))

    # -- ends: in another task, so nothing is detached -----------------------------------------

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a graph or node."""
        self._finish(run_id, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a graph or node that failed, was interrupted or cancelled."""
        self._finish(run_id, error)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a tool."""
        self._finish(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a tool that failed."""
        self._finish(run_id, error)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a model call with its usage and cost."""
        with Guarded("the answer of a model call"):
            self._add_response(run_id, response)
        self._finish(run_id, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a model call that failed; what it had answered is billed all the same."""
        with Guarded("the answer of a failed model call"):
            response = kwargs.get("response")
            if response is not None:
                self._add_response(run_id, response)
        self._finish(run_id, error)

    def _add_response(self, run_id: UUID, response: LLMResult) -> None:
        run = self._runs.get(run_id)
        if run is None or run.call is None:
            return
        generation = next((batch[0] for batch in response.generations if batch), None)
        message = getattr(generation, "message", None)
        facts = getattr(message, "response_metadata", None) or {}
        usage = usage_of_langchain(getattr(message, "usage_metadata", None))
        values = run.call.hooked(usage)
        model = identifier(facts.get("model_name") or facts.get("model"))
        if model:
            values[keys.GEN_AI_RESPONSE_MODEL] = model.rpartition("models/")[2]
        reason = identifier(facts.get("finish_reason") or facts.get("stop_reason"))
        if reason:
            values[keys.GEN_AI_RESPONSE_FINISH_REASONS] = (reason,)
        run.span.set_attributes(values)

    def _finish(self, run_id: UUID, error: BaseException | None) -> None:
        with Guarded("the end of an AI span"):
            run = self._runs.pop(run_id, None)
            if run is None:
                return
            if run.parent is not None:
                run.parent.children.pop(run_id, None)
            self._end(run, error)

    def end_orphan(self, run_id: UUID) -> None:
        """End a run that was left without an end; do nothing if it has had one."""
        if run_id in self._runs:
            self._finish(run_id, None)

    def _end(self, run: Run, error: BaseException | None) -> None:
        if error is not None:
            self._end_children(run)
        span = run.span
        if run.kind == AGENT:
            span.set_attributes(
                {
                    keys.AI_REACT_LOOP_ITERATIONS: run.iterations,
                    keys.AI_TOOL_CALLS_COUNT: run.tool_calls,
                }
            )
        if error is not None:
            run.note_error(error)
        elif run.speaks_for_turn is not None:
            run.speaks_for_turn.agent_ended(OK)
        if run.call is None:
            span.end()
        elif not run.is_joined:
            run.call.end()

    def _end_children(self, run: Run) -> None:
        """End what is open below a run that broke off; after a good end it is work that goes on."""
        for child in list(run.children.values()):
            self._runs.pop(child.run_id, None)
            self._end_children(child)
            self._end(child, None)
