"""How much a message looks like an attempt to instruct the model past its prompt."""

import re
from enum import StrEnum


class Risk(StrEnum):
    """What to do with a message: refuse it, warn and go on, or go on."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


_HIGH = (
    r"\b(ignore|disregard|forget|override)\b.{0,60}\b(instructions?|rules?|prompts?|guidelines)\b",
    r"\b(reveal|show|print|repeat)\b.{0,40}\b(system|hidden|initial) (prompt|instructions?)\b",
    r"<\|?(im_start|im_end|system|endoftext)\|?>",
    r"\b(developer|dan|jailbreak) mode\b",
)
_MEDIUM = (
    r"\byou are (now|no longer)\b",
    r"\b(pretend|act as if|roleplay)\b.{0,40}\byou\b",
    r"\b(system prompt|prompt injection|jailbreak)\b",
    r"^\s*(system|assistant)\s*:",
)
_LEVELS = (
    (Risk.HIGH, re.compile("|".join(_HIGH), re.IGNORECASE | re.DOTALL)),
    (Risk.MEDIUM, re.compile("|".join(_MEDIUM), re.IGNORECASE | re.DOTALL | re.MULTILINE)),
)


def classify(text: str) -> Risk:
    """Return the risk of a message; patterns only, so it costs microseconds and explains itself."""
    for risk, pattern in _LEVELS:
        if pattern.search(text):
            return risk
    return Risk.LOW
