"""Tokens and money of a model call: what the providers report, in one shape."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from turntrace import attributes as keys
from turntrace.failsafe import logger, swallowed

if TYPE_CHECKING:
    from collections.abc import Mapping

_MILLION = 1_000_000
_SLOT_SECONDS = 1800
"""How long a price is remembered: some providers are cheaper at night, from a half hour on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one model call; None where the provider said nothing (never 0 for unknown)."""

    input_tokens: int | None = None
    """Prompt tokens, cached ones included."""
    output_tokens: int | None = None
    """Completion tokens, reasoning included."""
    cached_tokens: int | None = None
    """Of the input, those read from a cache."""
    reasoning_tokens: int | None = None
    """Of the output, those thought and not said."""

    def attributes(self) -> dict[str, int]:
        """Return the usage in both vocabularies; unknown numbers are left out."""
        values: dict[str, int] = {}
        if self.input_tokens is not None:
            values[keys.GEN_AI_USAGE_INPUT_TOKENS] = self.input_tokens
            values[keys.AI_USAGE_PROMPT_TOKENS] = self.input_tokens
        if self.output_tokens is not None:
            values[keys.GEN_AI_USAGE_OUTPUT_TOKENS] = self.output_tokens
            values[keys.AI_USAGE_COMPLETION_TOKENS] = self.output_tokens
        if self.input_tokens is not None and self.output_tokens is not None:
            values[keys.AI_USAGE_TOTAL_TOKENS] = self.input_tokens + self.output_tokens
        if self.cached_tokens is not None:
            values[keys.GEN_AI_USAGE_CACHE_READ] = self.cached_tokens
        if self.reasoning_tokens is not None:
            values[keys.GEN_AI_USAGE_REASONING] = self.reasoning_tokens
        return values


def usage_of_langchain(usage_metadata: Mapping[str, Any] | None) -> TokenUsage:
    """Return the usage in LangChain's ``usage_metadata`` (already summed over its chunks)."""
    if not usage_metadata:
        return TokenUsage()
    details_in = usage_metadata.get("input_token_details") or {}
    details_out = usage_metadata.get("output_token_details") or {}
    return TokenUsage(
        input_tokens=usage_metadata.get("input_tokens"),
        output_tokens=usage_metadata.get("output_tokens"),
        cached_tokens=details_in.get("cache_read"),
        reasoning_tokens=details_out.get("reasoning"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The names one provider has in the vocabularies and the price table."""

    system: str
    """``ai.system``"""
    name: str
    """``gen_ai.provider.name``"""
    prices: str
    """Its id in genai-prices; empty: found by the model's name."""


_PROVIDERS = {
    "google_genai": Provider(system="gemini", name="gcp.gemini", prices="google"),
    "google_vertexai": Provider(system="vertex_ai", name="gcp.vertex_ai", prices="google"),
    "openai": Provider(system="openai", name="openai", prices="openai"),
    "azure": Provider(system="azure_openai", name="azure.ai.openai", prices="azure"),
    "anthropic": Provider(system="anthropic", name="anthropic", prices="anthropic"),
}


def provider_of_langchain(ls_provider: object) -> Provider:
    """Return the provider LangChain calls ``ls_provider``; unknown names stand for themselves."""
    name = ls_provider if isinstance(ls_provider, str) and ls_provider else "unknown"
    return _PROVIDERS.get(name) or Provider(system=name, name=name, prices="")


def estimate_cost(model: str, usage: TokenUsage, *, provider: str = "") -> float | None:
    """Estimate the US dollars of one model call; None if the model or the usage is unknown.

    Prices come from the package ``genai-prices`` (``pip install 'turntrace[prices]'``); the first
    call loads it (about 0.3 s), a later one costs microseconds.

    Args:
        model: The model's name; a ``models/`` prefix is ignored.
        usage: Its tokens; cached ones are priced as cached.
        provider: Its id in genai-prices; found by the model's name if empty.

    Example:
        >>> usage = TokenUsage(input_tokens=1_000_000, output_tokens=0)
        >>> estimate_cost("gemini-2.5-flash", usage, provider="google")  # doctest: +SKIP
        0.3
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    prices = _prices(model.rpartition("/")[2], provider, int(time.time() // _SLOT_SECONDS))
    if prices is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.input_tokens)
    rates = _flat_rates(prices)
    if rates is None:
        return _full_cost(prices, usage.input_tokens, cached, usage.output_tokens)
    rate_in, rate_cached, rate_out = rates
    return (
        (usage.input_tokens - cached) * rate_in
        + cached * rate_cached
        + usage.output_tokens * rate_out
    ) / _MILLION


@lru_cache(maxsize=256)
def _prices(model: str, provider: str, slot: int) -> Any | None:
    """Return the prices of a model in a half hour since the epoch; None, said once, if unknown."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        _hint_once("cost is missing: pip install 'turntrace[prices]' to estimate it")
        return None
    try:
        _, found = get_snapshot().find_provider_model(model, None, provider or None, None)
        return found.get_prices(datetime.fromtimestamp(slot * _SLOT_SECONDS, UTC))
    except LookupError:
        # The name is the app's own setting, but only its shape is checked by the guard: not here.
        _hint_once("no price is known for one of the models in use; its cost is left out")
        return None


@lru_cache(maxsize=16)
def _hint_once(text: str) -> None:
    logger.info("turntrace: %s", text)


def _flat_rates(prices: Any) -> tuple[float, float, float] | None:
    """Return dollars per million tokens (input, cached, output).

    None where that is not all: prices with tiers, or with a fee for each request.
    """
    if getattr(prices, "requests_kcount", None) is not None:
        return None
    try:
        rate_in = float(prices.input_mtok)
        rate_out = float(prices.output_mtok)
        cached = prices.cache_read_mtok
        return rate_in, rate_in if cached is None else float(cached), rate_out
    except (AttributeError, TypeError, ValueError):
        return None


def _full_cost(prices: Any, tokens_in: int, cached: int, tokens_out: int) -> float | None:
    from genai_prices import Usage

    try:
        usage = Usage(input_tokens=tokens_in, cache_read_tokens=cached, output_tokens=tokens_out)
        return float(prices.calc_price(usage)["total_price"])
    except (LookupError, TypeError, ValueError) as error:
        swallowed("the price of a model call", error)
        return None


def load_prices_soon() -> None:
    """Load the price table in the background, so that the first turn does not wait for it."""

    def load() -> None:
        try:
            _prices("gemini-2.5-flash", "google", int(time.time() // _SLOT_SECONDS))
        except Exception as error:  # noqa: BLE001 - telemetry never breaks the app
            swallowed("loading prices", error)

    threading.Thread(target=load, name="turntrace-prices", daemon=True).start()
