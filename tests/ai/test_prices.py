"""Tokens and money of a model call."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from turntrace import attributes as keys
from turntrace.ai import TokenUsage, estimate_cost, prices
from turntrace.ai.providers import provider_of_langchain
from turntrace.ai.usage import usage_of_langchain

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = [
    ("gemini-2.5-flash", "google"),
    ("gemini-2.5-flash-lite", "google"),
    ("gemini-2.5-pro", "google"),  # dearer above 200,000 tokens
    ("gpt-4o-mini", "openai"),
    ("claude-sonnet-4-5", "anthropic"),
    ("sonar", "perplexity"),  # costs something for each request, too
    ("deepseek-chat", "deepseek"),
    ("text-embedding-3-small", "openai"),  # no price for output
]
USAGES = [
    (100, 20, None),
    (100, 20, 40),
    (250_000, 1_000, 10_000),
    (150_000, 70_000, 150_000),
    (0, 0, None),
]


@pytest.fixture(autouse=True)
def forgotten_hints() -> Iterator[None]:
    yield
    prices._hint_once.cache_clear()
    prices._prices.cache_clear()


@pytest.mark.parametrize("tokens", USAGES)
@pytest.mark.parametrize(("model", "provider"), MODELS)
def test_cost_is_what_genai_prices_says(
    model: str, provider: str, tokens: tuple[int, int, int | None]
) -> None:
    tokens_in, tokens_out, cached = tokens
    usage = TokenUsage(input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=cached)
    theirs = calc_price(
        Usage(input_tokens=tokens_in, output_tokens=tokens_out, cache_read_tokens=cached),
        model,
        provider_id=provider,
    )
    assert estimate_cost(model, usage, provider=provider) == pytest.approx(
        float(theirs.total_price), rel=1e-9
    )


def test_price_follows_the_time_of_day() -> None:
    _, deepseek = get_snapshot().find_provider_model("deepseek-chat", None, "deepseek", None)
    slots = range(2 * 24 * 365 * 57, 2 * 24 * (365 * 57 + 1))  # the half hours of one day
    theirs = [deepseek.get_prices(datetime.fromtimestamp(slot * 1800, UTC)) for slot in slots]
    assert [prices._prices("deepseek-chat", "deepseek", slot) for slot in slots] == theirs
    assert len({price.input_mtok for price in theirs}) > 1


def test_provider_may_be_left_out() -> None:
    usage = TokenUsage(input_tokens=1_000_000, output_tokens=0)
    with_provider = estimate_cost("gemini-2.5-flash", usage, provider="google")
    assert estimate_cost("gemini-2.5-flash", usage) == with_provider
    assert with_provider is not None


def test_models_prefix_is_ignored() -> None:
    usage = TokenUsage(input_tokens=1000, output_tokens=1000)
    assert estimate_cost("models/gemini-2.5-flash", usage) == estimate_cost(
        "gemini-2.5-flash", usage
    )


def test_more_cached_tokens_than_input_never_cost_less_than_nothing() -> None:
    usage = TokenUsage(input_tokens=10, output_tokens=0, cached_tokens=1000)
    all_cached = TokenUsage(input_tokens=10, output_tokens=0, cached_tokens=10)
    for model in ("gemini-2.5-flash", "gemini-2.5-pro"):
        assert estimate_cost(model, usage) == estimate_cost(model, all_cached)


def test_unknown_model_has_no_cost_and_one_hint_without_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    usage = TokenUsage(input_tokens=10, output_tokens=10)
    with caplog.at_level(logging.INFO, logger="turntrace"):
        for name in ("canary-1", "canary-2", "canary-1"):
            assert estimate_cost(name, usage) is None
            assert estimate_cost(name, usage, provider="google") is None
            assert estimate_cost(name, usage, provider="canary") is None
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    "usage",
    [TokenUsage(), TokenUsage(input_tokens=10), TokenUsage(output_tokens=10)],
)
def test_cost_is_absent_where_the_usage_is(usage: TokenUsage) -> None:
    assert estimate_cost("gemini-2.5-flash", usage) is None


def test_usage_is_written_in_both_vocabularies() -> None:
    usage = TokenUsage(input_tokens=100, output_tokens=20, cached_tokens=40, reasoning_tokens=7)
    assert usage.attributes() == {
        keys.GEN_AI_USAGE_INPUT_TOKENS: 100,
        keys.GEN_AI_USAGE_OUTPUT_TOKENS: 20,
        keys.GEN_AI_USAGE_CACHE_READ: 40,
        keys.GEN_AI_USAGE_REASONING: 7,
        keys.AI_USAGE_PROMPT_TOKENS: 100,
        keys.AI_USAGE_COMPLETION_TOKENS: 20,
        keys.AI_USAGE_TOTAL_TOKENS: 120,
    }


def test_unknown_usage_is_left_out_and_zero_is_not() -> None:
    assert TokenUsage().attributes() == {}
    assert TokenUsage(input_tokens=3).attributes().keys() == {
        keys.GEN_AI_USAGE_INPUT_TOKENS,
        keys.AI_USAGE_PROMPT_TOKENS,
    }
    assert TokenUsage(output_tokens=0).attributes() == {
        keys.GEN_AI_USAGE_OUTPUT_TOKENS: 0,
        keys.AI_USAGE_COMPLETION_TOKENS: 0,
    }


def test_usage_of_langchain_keeps_what_is_unknown_unknown() -> None:
    assert usage_of_langchain(None) == TokenUsage()
    assert usage_of_langchain({"input_tokens": 3, "output_tokens": 4}) == TokenUsage(
        input_tokens=3, output_tokens=4
    )
    details = {
        "input_tokens": 3,
        "output_tokens": 4,
        "input_token_details": {"cache_read": 2},
        "output_token_details": {"reasoning": 1},
    }
    assert usage_of_langchain(details) == TokenUsage(
        input_tokens=3, output_tokens=4, cached_tokens=2, reasoning_tokens=1
    )


def test_provider_has_its_name_in_each_vocabulary() -> None:
    gemini = provider_of_langchain("google_genai")
    assert (gemini.system, gemini.name, gemini.prices) == ("gemini", "gcp.gemini", "google")
    other = provider_of_langchain("acme")
    assert (other.system, other.name, other.prices) == ("acme", "acme", "")
    assert provider_of_langchain(None).name == "unknown"
