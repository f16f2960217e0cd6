"""The real langchain-google-genai client works against the local Gemini."""

import gc
from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest
from langchain_core.exceptions import ModelError
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI

from renovation.gemini import chat_model
from renovation.settings import Settings

# langchain-core calls `response.json()` of an aiohttp response without awaiting it.
not_awaited = pytest.mark.filterwarnings(
    "ignore:coroutine 'ClientResponse.json' was never awaited:RuntimeWarning"
)


@tool
def get_style_examples(styles: list[str]) -> str:
    """Look up styles."""
    return ", ".join(styles)


@pytest.fixture
async def model(gemini_url: str) -> AsyncIterator[ChatGoogleGenerativeAI]:
    made = chat_model(Settings(), gemini_url)
    yield made
    await made.aclose()


async def failure(model: ChatGoogleGenerativeAI, text: str) -> Exception | None:
    try:
        await model.ainvoke(text)
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        return error.with_traceback(None)
    return None


async def test_async_streaming_yields_the_text_in_60_chunks(model: ChatGoogleGenerativeAI) -> None:
    texts = [chunk.text async for chunk in model.astream("hello")]
    assert len([text for text in texts if text]) == 60
    assert "".join(texts).startswith("Happy to help")


def test_sync_calls_and_streams_go_to_base_url_too(gemini_url: str) -> None:
    model = chat_model(Settings(), gemini_url)
    try:
        assert model.disable_streaming is False
        assert model.invoke("hello").text == "".join(c.text for c in model.stream("hello"))
    finally:
        model.client.close()


async def test_not_streaming_gives_the_same_message(
    gemini_url: str, model: ChatGoogleGenerativeAI
) -> None:
    plain = model.model_copy(update={"streaming": False})
    whole, streamed = await plain.ainvoke("hello"), await model.ainvoke("hello")
    assert (whole.text, whole.usage_metadata) == (streamed.text, streamed.usage_metadata)


async def test_deltas_of_usage_add_up_to_the_cumulative_usage(
    model: ChatGoogleGenerativeAI,
) -> None:
    answer = await model.ainvoke("x" * 400)
    assert answer.usage_metadata == {
        "input_tokens": 100,
        "output_tokens": 77,
        "total_tokens": 177,
        "input_token_details": {"cache_read": 0},
        "output_token_details": {"reasoning": 17},
    }


async def test_a_tool_call_and_its_result_make_the_round_trip(
    model: ChatGoogleGenerativeAI,
) -> None:
    with_tools = model.bind_tools([get_style_examples])
    question = HumanMessage("Japandi, please")
    asked = await with_tools.ainvoke([question])
    (call,) = asked.tool_calls
    assert (call["name"], call["args"]) == ("get_style_examples", {"styles": ["japandi"]})
    result = ToolMessage('{"styles": []}', tool_call_id=call["id"])
    answer = await with_tools.ainvoke([question, asked, result])
    assert answer.tool_calls == []
    assert answer.text


@not_awaited
@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_an_error_is_raised_once_and_typed(
    model: ChatGoogleGenerativeAI, status: int
) -> None:
    error = await failure(model, f"hi [[err:{status}]]")
    assert isinstance(error, ModelError)
    assert str(status) in str(error)
    del error
    gc.collect()


@not_awaited
async def test_an_error_frame_in_the_stream_is_raised(model: ChatGoogleGenerativeAI) -> None:
    error = await failure(model, "hi [[inerr]]")
    assert isinstance(error, ModelError)
    del error
    gc.collect()


async def test_a_dropped_stream_is_raised(model: ChatGoogleGenerativeAI) -> None:
    error = await failure(model, "hi [[drop:5]]")
    assert isinstance(error, (aiohttp.ClientError, httpx.HTTPError))


async def test_the_key_in_the_settings_is_the_key_that_is_sent() -> None:
    model = chat_model(Settings(google_api_key="secret"), None)
    assert model.google_api_key.get_secret_value() == "secret"
    await model.aclose()
