"""The tokens of a model call: what the providers report, in one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turntrace import attributes as keys
from turntrace.failsafe import Guarded

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    def __post_init__(self) -> None:
        """Take for unknown what is no count: negative, a fraction, not a number."""
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not _is_count(value):
                object.__setattr__(self, name, None)

    def __add__(self, other: TokenUsage) -> TokenUsage:
        """Return both together; what neither said stays unknown."""
        return TokenUsage(
            input_tokens=_sum(self.input_tokens, other.input_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            cached_tokens=_sum(self.cached_tokens, other.cached_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )

    def __bool__(self) -> bool:
        """Tell whether the provider said anything."""
        return self != _NOTHING

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


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_NOTHING = TokenUsage()


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def usage_of_langchain(usage_metadata: Mapping[str, Any] | None) -> TokenUsage:
    """Return the usage in LangChain's ``usage_metadata`` (already summed over its chunks)."""
    if not usage_metadata:
        return _NOTHING
    details_in = usage_metadata.get("input_token_details") or {}
    details_out = usage_metadata.get("output_token_details") or {}
    return TokenUsage(
        input_tokens=usage_metadata.get("input_tokens"),
        output_tokens=usage_metadata.get("output_tokens"),
        cached_tokens=details_in.get("cache_read"),
        reasoning_tokens=details_out.get("reasoning"),
    )


def extract_token_usage(response: object) -> TokenUsage:
    """Return the tokens that a provider's response reports; all None where it reports none.

    Knows LangChain messages, chunks and results, google-genai responses and Gemini's REST JSON,
    OpenAI's Chat Completions and Responses, Anthropic's messages; as objects or as dictionaries.
    Reads numbers and nothing else; never raises.

    Example:
        >>> extract_token_usage({"usage": {"prompt_tokens": 9, "completion_tokens": 4}})
        TokenUsage(input_tokens=9, output_tokens=4, cached_tokens=None, reasoning_tokens=None)
    """
    with Guarded("the token usage of a response"):
        return _extracted(response)
    return _NOTHING


def _extracted(response: object) -> TokenUsage:
    if isinstance(response, TokenUsage):
        return response
    generations = _get(response, "generations")
    if isinstance(generations, list):
        return _of_generations(generations)
    for name in ("usage_metadata", "usageMetadata", "usage"):
        found = _get(response, name)
        if found is not None:
            return _of_report(found)
    message = _get(response, "message")  # a LangChain generation, an Anthropic stream's start
    return _NOTHING if message is None else _extracted(message)


def _of_generations(generations: list[Any]) -> TokenUsage:
    """Return the usage of a LangChain result: one answer of each prompt is what was billed."""
    total = _NOTHING
    for batch in generations:
        first = batch[0] if isinstance(batch, list) and batch else batch
        total += _extracted(_get(first, "message"))
    return total


def _of_report(report: object) -> TokenUsage:
    """Return what a provider's usage object says."""
    prompt = _count(report, "prompt_token_count", "promptTokenCount")
    if prompt is not None or _count(report, "total_token_count", "totalTokenCount") is not None:
        return _of_gemini(report, prompt)
    if _get(report, "input_token_details") or _get(report, "output_token_details"):
        details_in, details_out = (
            _get(report, "input_token_details"),
            _get(report, "output_token_details"),
        )
        return TokenUsage(
            input_tokens=_count(report, "input_tokens"),
            output_tokens=_count(report, "output_tokens"),
            cached_tokens=_count(details_in, "cache_read"),
            reasoning_tokens=_count(details_out, "reasoning"),
        )
    details_in = _get(report, "prompt_tokens_details") or _get(report, "input_tokens_details")
    details_out = _get(report, "completion_tokens_details") or _get(report, "output_tokens_details")
    cached = _count(details_in, "cached_tokens")
    input_tokens = _count(report, "prompt_tokens", "input_tokens")
    # Anthropic counts what a cache gave or took beside the input, the others within it.
    beside = _count(report, "cache_read_input_tokens")
    written = _count(report, "cache_creation_input_tokens")
    if beside is not None or written is not None:
        cached = beside
        input_tokens = _sum(_sum(input_tokens, beside), written)
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=_count(report, "completion_tokens", "output_tokens"),
        cached_tokens=cached,
        reasoning_tokens=_count(details_out, "reasoning_tokens"),
    )


def _of_gemini(report: object, prompt: int | None) -> TokenUsage:
    """Return Gemini's counts: thoughts and tool prompts stand beside candidates and prompt."""
    thoughts = _count(report, "thoughts_token_count", "thoughtsTokenCount")
    said = _count(report, "candidates_token_count", "candidatesTokenCount")
    tool_prompt = _count(report, "tool_use_prompt_token_count", "toolUsePromptTokenCount")
    return TokenUsage(
        input_tokens=_sum(prompt, tool_prompt),
        output_tokens=_sum(said, thoughts),
        cached_tokens=_count(report, "cached_content_token_count", "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def _get(holder: object, name: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(name)
    return getattr(holder, name, None)


def _count(holder: object, *names: str) -> int | None:
    """Return the first of the fields that holds a count."""
    if holder is None:
        return None
    for name in names:
        value = _get(holder, name)
        if _is_count(value):
            return int(value)
    return None
