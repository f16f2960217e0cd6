"""Token usage of the providers' responses, as objects and as JSON."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from google.genai import types as genai
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult

from turntrace import TokenUsage, extract_token_usage

EXPECTED = TokenUsage(input_tokens=100, output_tokens=30, cached_tokens=40, reasoning_tokens=10)

GEMINI_JSON = {
    "candidates": [],
    "usageMetadata": {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 10,
        "cachedContentTokenCount": 40,
        "totalTokenCount": 130,
    },
}
LANGCHAIN_USAGE: Any = {
    "input_tokens": 100,
    "output_tokens": 30,
    "total_tokens": 130,
    "input_token_details": {"cache_read": 40},
    "output_token_details": {"reasoning": 10},
}
MESSAGE = AIMessage("s3cret", usage_metadata=LANGCHAIN_USAGE)
OPENAI_CHAT = {
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 10},
    }
}
OPENAI_RESPONSES = {
    "usage": {
        "input_tokens": 100,
        "output_tokens": 30,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens_details": {"reasoning_tokens": 10},
    }
}


def as_object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_object(item) for key, item in value.items()})
    return value


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(EXPECTED, id="a TokenUsage"),
        pytest.param(MESSAGE, id="a LangChain message"),
        pytest.param(AIMessageChunk("", usage_metadata=LANGCHAIN_USAGE), id="a LangChain chunk"),
        pytest.param(ChatGeneration(message=MESSAGE), id="a LangChain generation"),
        pytest.param(ChatResult(generations=[ChatGeneration(message=MESSAGE)]), id="a ChatResult"),
        pytest.param(LLMResult(generations=[[ChatGeneration(message=MESSAGE)]]), id="an LLMResult"),
        pytest.param(GEMINI_JSON, id="Gemini's JSON"),
        pytest.param(
            genai.GenerateContentResponse.model_validate(GEMINI_JSON), id="a google-genai response"
        ),
        pytest.param(OPENAI_CHAT, id="OpenAI's chat JSON"),
        pytest.param(as_object(OPENAI_CHAT), id="an OpenAI chat object"),
        pytest.param(OPENAI_RESPONSES, id="OpenAI's responses JSON"),
        pytest.param(as_object(OPENAI_RESPONSES), id="an OpenAI responses object"),
    ],
)
def test_usage_is_found_in(response: object) -> None:
    assert extract_token_usage(response) == EXPECTED


def test_what_anthropic_counts_beside_the_input_belongs_to_it() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 30,
        "cache_read_input_tokens": 40,
        "cache_creation_input_tokens": 50,
    }
    found = extract_token_usage({"usage": usage})
    assert found == TokenUsage(input_tokens=100, output_tokens=30, cached_tokens=40)
    assert extract_token_usage({"message": {"usage": usage}}) == found


def test_several_prompts_of_one_result_are_added_up() -> None:
    result = LLMResult(generations=[[ChatGeneration(message=MESSAGE)] * 2] * 3)
    assert extract_token_usage(result).input_tokens == 300


def test_what_nobody_said_is_unknown_and_not_zero() -> None:
    found = extract_token_usage({"usage": {"prompt_tokens": 9, "completion_tokens": None}})
    assert found == TokenUsage(input_tokens=9)
    assert not extract_token_usage({"usage": {}})
    assert not extract_token_usage(AIMessage("no usage"))


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "response",
    [
        None,
        3,
        "s3cret",
        b"",
        [],
        pytest.param(Hostile(), id="an object that raises"),
        {"usage": "s3cret"},
        {"usage": {"input_tokens": -1}},
        {"usage": {"input_tokens": True, "output_tokens": 1.5}},
        {"generations": [[]]},
    ],
)
def test_whatever_has_no_usage_has_none(response: object) -> None:
    assert extract_token_usage(response) == TokenUsage()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "usage",
                    "message",
                    "usageMetadata",
                    "generations",
                    "input_tokens",
                    "prompt_tokens",
                    "promptTokenCount",
                    "input_token_details",
                    "cached_tokens",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json)
def test_any_json_gives_counts_or_nothing(response: object) -> None:
    found = extract_token_usage(response)
    assert all(isinstance(value, int) and value >= 0 for value in found.attributes().values())


_counts = st.none() | st.integers(min_value=0, max_value=10**9)
_usages = st.builds(
    TokenUsage,
    input_tokens=_counts,
    output_tokens=_counts,
    cached_tokens=_counts,
    reasoning_tokens=_counts,
)


@given(_usages, _usages, _usages)
def test_adding_up_knows_no_order(one: TokenUsage, two: TokenUsage, three: TokenUsage) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert one + TokenUsage() == one
