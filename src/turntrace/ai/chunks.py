"""What one chunk of a streamed answer holds: text or not, tokens as a difference or a total."""

from __future__ import annotations

from typing import Any

from turntrace.ai.usage import TokenUsage, extract_token_usage


def has_text(content: Any) -> bool:
    """Tell whether content holds text; tool calls, thoughts and LangChain's last chunk do not."""
    if isinstance(content, str):
        return bool(content)
    if isinstance(content, list):
        return any(
            bool(part)
            if isinstance(part, str)
            else bool(isinstance(part, dict) and part.get("text"))
            for part in content
        )
    return False


def chunk_has_text(chunk: Any) -> bool:
    """Tell whether a provider's chunk, as an object or a dictionary, brings text to read.

    Looks at LangChain's, google-genai's, OpenAI's and Anthropic's; of any other, at its text.
    """
    if isinstance(chunk, (str, list)):
        return has_text(chunk)
    candidates = _get(chunk, "candidates")
    if isinstance(candidates, list):
        # Not the object's own .text: google-genai writes to the log where a part is no text.
        parts = _get(_get(next(iter(candidates), None), "content"), "parts")
        return any(_get(part, "text") and not _get(part, "thought") for part in parts or ())
    choices = _get(chunk, "choices")
    if isinstance(choices, list):
        return has_text(_get(_get(next(iter(choices), None), "delta"), "content"))
    delta = _get(chunk, "delta")
    if delta is not None:
        return has_text(delta) or has_text(_get(delta, "text"))
    content = _get(chunk, "content")
    return has_text(_get(chunk, "text")) if content is None else has_text(content)


class UsageOfChunks:
    """Adds up what the chunks of one answer report."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = TokenUsage()

    def see(self, chunk: Any) -> None:
        """Take a chunk's report: LangChain's are differences, all others say the total so far."""
        said = extract_token_usage(chunk)
        if not said:
            return
        if any(kind.__module__.startswith("langchain") for kind in type(chunk).__mro__):
            self.total += said
            return
        before = self.total
        self.total = TokenUsage(
            input_tokens=_newer(before.input_tokens, said.input_tokens),
            output_tokens=_newer(before.output_tokens, said.output_tokens),
            cached_tokens=_newer(before.cached_tokens, said.cached_tokens),
            reasoning_tokens=_newer(before.reasoning_tokens, said.reasoning_tokens),
        )


def _newer(before: int | None, said: int | None) -> int | None:
    return before if said is None else said


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
