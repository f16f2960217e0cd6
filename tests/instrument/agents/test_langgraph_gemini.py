"""The whole path with the real client of Gemini, down to its HTTP requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph_agents import encoded, react, styles_engine, unleaked
from langgraph_gemini import MODEL, gemini, served_gemini

import turntrace
from turntrace import attributes as keys
from turntrace.ai import TokenUsage, estimate_cost
from turntrace.instrument import langgraph as instrumentation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Recorded

# google-genai derives a class from aiohttp's, each time it opens a session.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)
ASKED = "canary-word about a scandinavian room"


@pytest.fixture(scope="module")
def gemini_url() -> Iterator[str]:
    with served_gemini() as url:
        yield url


@pytest.fixture(autouse=True)
def switched_on() -> Iterator[None]:
    turntrace.instrument("langgraph", "httpx", "aiohttp", "sqlalchemy")
    yield
    turntrace.uninstrument()


def style_tool() -> Any:
    from langchain_core.tools import StructuredTool
    from langgraph_agents import look_up

    def get_style_examples(styles: list[str]) -> str:
        """Look styles up."""
        return look_up(engine, styles[0])

    engine = styles_engine()
    return StructuredTool.from_function(get_style_examples)


async def test_turn_with_the_real_client_is_one_tree(gemini_url: str, recorded: Recorded) -> None:
    assert instrumentation.INSTRUMENTATION is not None
    model = gemini(gemini_url)
    tool = style_tool()
    recorded.spans.clear()
    graph = react(model.bind_tools([tool]), [tool])
    with unleaked():
        stream = graph.astream({"messages": [HumanMessage(ASKED)]}, stream_mode="messages")
        answer = "".join([str(message.text) async for message, _ in stream])
    await model.aclose()
    assert len(answer) > 100
    assert recorded.tree() == [
        "invoke_agent helper",
        "  node agent",
        f"    chat {MODEL}",
        "      POST 127.0.0.1",
        "  node tools",
        "    execute_tool get_style_examples",
        "      SELECT styles",
        "  node agent",
        f"    chat {MODEL}",
        "      POST 127.0.0.1",
    ]
    chats = [span.attributes for span in recorded.spans if span.name == f"chat {MODEL}"]
    for values in chats:
        assert values[keys.GEN_AI_PROVIDER_NAME] == "gcp.gemini"
        assert values[keys.GEN_AI_RESPONSE_MODEL] == MODEL
        assert values[keys.GEN_AI_RESPONSE_FINISH_REASONS] == ("STOP",)
        assert values[keys.GEN_AI_USAGE_REASONING] == 17
        usage = TokenUsage(
            input_tokens=values[keys.GEN_AI_USAGE_INPUT_TOKENS],
            output_tokens=values[keys.GEN_AI_USAGE_OUTPUT_TOKENS],
            cached_tokens=values.get(keys.GEN_AI_USAGE_CACHE_READ),
        )
        assert values[keys.AI_COST_ESTIMATED_USD] == estimate_cost(MODEL, usage)
    calling, answering = chats
    assert keys.AI_STREAM_FIRST_TOKEN_MS not in calling
    assert answering[keys.GEN_AI_USAGE_OUTPUT_TOKENS] == 60 + 17
    assert (
        0
        < answering[keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] * 1000
        <= answering[keys.AI_STREAM_FIRST_TOKEN_MS] + 0.001
        <= answering[keys.AI_STREAM_TOTAL_MS] + 0.002
    )
    sent = encoded(recorded.spans)
    for secret in (b"canary", answer[:40].encode(), b"scandinavian"):
        assert secret not in sent


async def test_plain_turn_with_the_real_client_is_one_tree(
    gemini_url: str, recorded: Recorded
) -> None:
    model = gemini(gemini_url)
    tool = style_tool()
    recorded.spans.clear()
    react(model.bind_tools([tool]), [tool]).invoke({"messages": [HumanMessage(ASKED)]})
    await model.aclose()
    assert [line.strip() for line in recorded.tree()].count("POST 127.0.0.1") == 2
    assert recorded.tree()[3] == "      POST 127.0.0.1"


@pytest.mark.parametrize("directive", ["[[err:429]]", "[[inerr]]", "[[drop:5]]"])
async def test_failure_of_the_real_client_is_an_error_without_its_text(
    gemini_url: str, recorded: Recorded, directive: str
) -> None:
    model = gemini(gemini_url)
    graph = react(model, [])
    with unleaked(), pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the client raises
        await graph.ainvoke({"messages": [HumanMessage(f"canary-word {directive}")]})
    await model.aclose()
    kind = type(caught.value)
    for name in (f"chat {MODEL}", "node agent", "invoke_agent helper"):
        span = recorded.one(name)
        assert span.attributes[keys.ERROR_TYPE] == f"{kind.__module__}.{kind.__qualname__}"
    sent = encoded(recorded.spans)
    for secret in (b"canary", b"exhausted", b"RESOURCE", b"overloaded"):
        assert secret not in sent
