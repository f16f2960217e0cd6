"""What one provider is called in the vocabularies and in the price table."""

from __future__ import annotations

from dataclasses import dataclass


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
"""By the name LangChain gives them."""

_BY_ANY_NAME = {
    **{name: found for found in _PROVIDERS.values() for name in (found.system, found.name)},
    **_PROVIDERS,
}


def provider_of_langchain(ls_provider: object) -> Provider:
    """Return the provider LangChain calls ``ls_provider``; unknown names stand for themselves."""
    name = ls_provider if isinstance(ls_provider, str) and ls_provider else "unknown"
    return _PROVIDERS.get(name) or Provider(system=name, name=name, prices="")


def provider_named(name: str) -> Provider:
    """Return the provider with that name in any vocabulary; unknown names stand for themselves."""
    return _BY_ANY_NAME.get(name) or Provider(system=name, name=name, prices="")


def price_list_of(name: str) -> str:
    """Return the provider's id in genai-prices; a name nobody knows may be one already."""
    found = _BY_ANY_NAME.get(name)
    return name if found is None else found.prices
