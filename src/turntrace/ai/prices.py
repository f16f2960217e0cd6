"""What a model call costs, by the price table of genai-prices."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from turntrace.ai.providers import price_list_of
from turntrace.ai.usage import TokenUsage
from turntrace.failsafe import logger, swallowed

_MILLION = 1_000_000
_SLOT_SECONDS = 1800
"""How long a price is remembered: some providers are cheaper at night, from a half hour on."""

_is_loading = False


def estimate_cost(model: str, usage: TokenUsage, *, provider: str = "") -> float | None:
    """Estimate the US dollars of one model call; None if the model or the usage is unknown.

    Prices come from the package ``genai-prices`` (``pip install 'turntrace[prices]'``); the first
    call loads it.

    Args:
        model: The model's name; a ``models/`` prefix is ignored.
        usage: Its tokens; cached ones are priced as cached.
        provider: What LangChain, the conventions, the original or genai-prices call it; found by
            the model's name if empty.

    Example:
        >>> from turntrace import TokenUsage
        >>> usage = TokenUsage(input_tokens=1_000_000, output_tokens=0)
        >>> estimate_cost("gemini-2.5-flash", usage, provider="google")  # doctest: +SKIP
        0.3
    """
    if model.__class__ is not str or usage.__class__ is not TokenUsage:
        return None
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    prices = _prices(
        model.rpartition("/")[2], price_list_of(provider), int(time.time() // _SLOT_SECONDS)
    )
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

    global _is_loading  # noqa: PLW0603 - one table per process
    if not _is_loading:
        _is_loading = True
        threading.Thread(target=load, name="turntrace-prices", daemon=True).start()
