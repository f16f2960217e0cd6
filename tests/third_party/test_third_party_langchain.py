"""Three instrumentations of LangChain by others: what is said stays, what is useful leaves."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import talking_agent
from opentelemetry.trace import SpanKind, StatusCode
from talking_agent import INPUT_TOKENS, MODEL, OUTPUT_TOKENS, SAID
from wrapt import FunctionWrapper

import turntrace
from turntrace import attributes as keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from two_sides import TwoSides

TURN = "turn of somebody else"
CONVERSED = {"system", "history", "prompt", "arguments", "result", "completion"}
ERRORS = {"model_error", "tool_error"}
CAPTURE_ALL = {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
    "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """One instrumentation of LangChain, as one set of settings makes it."""

    module: str
    instrumentor: str = "LangChainInstrumentor"
    captures: frozenset[str]
    """The places of ``SAID`` that it puts on spans, over all the scenes."""
    tree: tuple[str, ...]
    """The names it gives in the scene in which the agent answers."""
    leaving: frozenset[str] = frozenset()
    """Those of its names that are an operation and what it is about."""
    settings: dict[str, str] = field(default_factory=dict)


_OFFICIAL = "opentelemetry.instrumentation.genai.langchain"
_OFFICIAL_TREE = (
    TURN,
    "  invoke_workflow helper",
    f"    chat {MODEL}",
    "    execute_tool look_up",
    f"    chat {MODEL}",
)
_OFFICIAL_NAMES = frozenset({f"chat {MODEL}", "execute_tool look_up"})
_TRACELOOP_NAMES = frozenset({"invoke_agent helper", "execute_tool look_up"})
_TRACELOOP_TREE = (
    TURN,
    "  invoke_agent helper",
    "    helper.workflow",
    "      execute_task agent",
    "        ScriptedModel.chat",
    "        execute_task decide",
    "      execute_task tools",
    "        execute_tool look_up",
    "      execute_task agent",
    "        ScriptedModel.chat",
    "        execute_task decide",
)
_OPENINFERENCE_TREE = (
    TURN,
    "  helper",
    "    agent",
    "      ScriptedModel",
    "      decide",
    "    tools",
    "      look_up",
    "    agent",
    "      ScriptedModel",
    "      decide",
)

FOREIGN = {
    "official": Foreign(
        module=_OFFICIAL, captures=frozenset(ERRORS), tree=_OFFICIAL_TREE, leaving=_OFFICIAL_NAMES
    ),
    "official, all it can": Foreign(
        module=_OFFICIAL,
        captures=frozenset(CONVERSED | ERRORS),
        tree=_OFFICIAL_TREE,
        leaving=_OFFICIAL_NAMES,
        settings=CAPTURE_ALL,
    ),
    "Traceloop": Foreign(
        module="opentelemetry.instrumentation.langchain",
        instrumentor="LangchainInstrumentor",
        captures=frozenset(SAID),
        tree=_TRACELOOP_TREE,
        leaving=_TRACELOOP_NAMES,
    ),
    "Traceloop, all it can": Foreign(
        module="opentelemetry.instrumentation.langchain",
        instrumentor="LangchainInstrumentor",
        captures=frozenset(SAID),
        tree=_TRACELOOP_TREE,
        leaving=_TRACELOOP_NAMES,
        settings={**CAPTURE_ALL, "TRACELOOP_TRACE_CONTENT": "true"},
    ),
    "OpenInference": Foreign(
        module="openinference.instrumentation.langchain",
        captures=frozenset(SAID),
        tree=_OPENINFERENCE_TREE,
    ),
}
WITH_GEN_AI_KEYS = [name for name in FOREIGN if name != "OpenInference"]
SCENES = {
    scene.__name__: scene
    for scene in (
        talking_agent.answered,
        talking_agent.streamed,
        talking_agent.failing_tool,
        talking_agent.failing_model,
    )
}
PATCHED = (
    ("langchain_core.callbacks.base", "BaseCallbackManager", "__init__"),
    ("langgraph.pregel", "Pregel", "stream"),
    ("langgraph.pregel", "Pregel", "astream"),
    ("langgraph.types", "Command", "__init__"),
)


def patched() -> list[Any]:
    """Return what the instrumentations replace, as it is now."""
    return [
        vars(getattr(importlib.import_module(module), owner)).get(name)
        for module, owner, name in PATCHED
    ]


@pytest.fixture
def foreign(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, both_sides: TwoSides
) -> Iterator[Foreign]:
    """Switch one on, and everything it patched back: Traceloop's leaves its hooks in place."""
    chosen = FOREIGN[request.param]
    for name, value in chosen.settings.items():
        monkeypatch.setenv(name, value)
    for (module, owner, name), original in zip(PATCHED, patched(), strict=True):
        kind = getattr(importlib.import_module(module), owner)
        monkeypatch.setattr(kind, name, original)
    made = getattr(importlib.import_module(chosen.module), chosen.instrumentor)()
    # Its check asks for the package langchain; it hooks langchain-core alone.
    made.instrument(tracer_provider=both_sides.provider, skip_dep_check=True)
    yield chosen
    if made.is_instrumented_by_opentelemetry:
        made.uninstrument()


def each(*names: str) -> Any:
    return pytest.mark.parametrize("foreign", names or list(FOREIGN), indirect=True)


async def play(*scenes: str) -> None:
    """Play scenes, each in a turn of its own."""
    for scene in scenes:
        with turntrace.turn("turn of somebody else"):  # only a constant leaves as a name
            await SCENES[scene]()


@each()
@pytest.mark.parametrize("scene", SCENES)
async def test_nothing_that_was_said_leaves(
    foreign: Foreign, scene: str, both_sides: TwoSides
) -> None:
    await play(scene)
    assert both_sides.leaked() == []


@each()
async def test_without_the_guard_all_that_it_captures_would_leave(
    foreign: Foreign, both_sides: TwoSides
) -> None:
    """If it no longer captured these, the claim above would be about nothing."""
    await play(*SCENES)
    assert both_sides.captured(SAID) == foreign.captures


@each()
@pytest.mark.parametrize("scene", ["answered", "streamed"])
async def test_every_span_leaves_below_the_turn_in_the_tree_it_was_recorded_in(
    foreign: Foreign, scene: str, both_sides: TwoSides
) -> None:
    await play(scene)
    assert [span.span_id for span in both_sides.left] == [
        span.span_id for span in both_sides.unguarded
    ]
    assert tuple(both_sides.tree_as_recorded()) == foreign.tree


@each(*WITH_GEN_AI_KEYS)
@pytest.mark.parametrize("scene", ["answered", "streamed"])
async def test_model_calls_leave_with_their_model_and_usage(
    foreign: Foreign, scene: str, both_sides: TwoSides
) -> None:
    await play(scene)
    calls = both_sides.having(keys.GEN_AI_OPERATION_NAME, "chat")
    assert [call.kind for call in calls] == [SpanKind.CLIENT.value] * 2
    for call in calls:
        assert call.attributes[keys.GEN_AI_USAGE_INPUT_TOKENS] == INPUT_TOKENS
        assert call.attributes[keys.GEN_AI_USAGE_OUTPUT_TOKENS] == OUTPUT_TOKENS
        assert call.attributes[keys.GEN_AI_REQUEST_MODEL] == MODEL
        assert call.attributes[keys.GEN_AI_REQUEST_TEMPERATURE] == 0.7


@each(*WITH_GEN_AI_KEYS)
@pytest.mark.parametrize("scene", ["answered", "streamed"])
async def test_its_names_leave(foreign: Foreign, scene: str, both_sides: TwoSides) -> None:
    await play(scene)
    assert foreign.leaving <= {span.name for span in both_sides.left}


@each(*WITH_GEN_AI_KEYS)
async def test_tools_leave_with_their_name(foreign: Foreign, both_sides: TwoSides) -> None:
    await play("answered")
    (tool,) = both_sides.having(keys.GEN_AI_TOOL_NAME, "look_up")
    assert tool.attributes[keys.GEN_AI_OPERATION_NAME] == "execute_tool"
    assert tool.kind == SpanKind.INTERNAL.value


@each()
@pytest.mark.parametrize("scene", ["failing_tool", "failing_model"])
async def test_an_error_leaves_as_a_status_without_its_text(
    foreign: Foreign, scene: str, both_sides: TwoSides
) -> None:
    await play(scene)
    failed = [span for span in both_sides.left if span.status_code == StatusCode.ERROR.value]
    assert failed
    assert all(span.status_description == "" for span in failed)


@each("official", "OpenInference")
async def test_switched_off_its_hooks_are_gone(foreign: Foreign, both_sides: TwoSides) -> None:
    made = getattr(importlib.import_module(foreign.module), foreign.instrumentor)()
    assert any(isinstance(hook, FunctionWrapper) for hook in patched())
    made.uninstrument()
    assert not any(isinstance(hook, FunctionWrapper) for hook in patched())
    await play("answered")
    assert both_sides.tree_as_recorded() == [TURN]


@each(*WITH_GEN_AI_KEYS)
async def test_beside_our_own_hooks_nothing_more_leaves(
    foreign: Foreign, both_sides: TwoSides
) -> None:
    turntrace.instrument("langgraph")
    try:
        await play(*SCENES)
    finally:
        turntrace.uninstrument()
    assert both_sides.leaked() == []
    assert both_sides.captured(SAID) == foreign.captures
