"""What the local Gemini says: a planner that reads a request and writes the reply to it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ANSWER_CHUNKS = 60
"""Chunks, and so tokens, of every answer."""

THOUGHT_TOKENS = 17
"""Tokens the model is said to have thought, in every reply."""

STYLE_WORDS = (
    "modern",
    "scandinavian",
    "japandi",
    "industrial",
    "bohemian",
    "farmhouse",
    "coastal",
    "minimalist",
    "mediterranean",
    "art deco",
)
PRODUCT_WORDS = (
    "sofa",
    "lamp",
    "table",
    "chair",
    "rug",
    "tile",
    "bed",
    "shelf",
    "mirror",
    "faucet",
    "curtain",
    "paint",
)

_DIRECTIVE = re.compile(r"\[\[(err|drop|inerr|slow|loop)(?::([0-9.]+))?\]\]")
_ADVICE = (
    "Measure twice before you order anything, doors and stairs included.",
    "Keep a tenth of the budget for what the walls will tell you once they are open.",
    "Start with what makes dust and end with what must not get dusty.",
    "Light from two sides makes a small room feel calm and a large one feel warm.",
    "Tell me the rooms you have in mind and what you would like to spend on them.",
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """What a test asks for in the text of the last message of the user."""

    error_status: int | None = None
    """`[[err:429]]`: answer with this HTTP status."""

    drop_after_chunks: int | None = None
    """`[[drop:5]]`: cut the connection after so many chunks of an answer."""

    has_stream_error: bool = False
    """`[[inerr]]`: send an error frame in the middle of an answer."""

    delay_seconds: float = 0.0
    """`[[slow:2]]`: wait before the first byte of every reply."""

    is_endless: bool = False
    """`[[loop]]`: ask for a tool every time, never answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a request that are known before the reply."""

    prompt: int
    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A reply before it is put on the wire."""

    usage: Usage
    directives: Directives
    calls: Sequence[Json] = ()
    """Function calls, all in one chunk; without any the reply is `chunks`."""

    chunks: Sequence[str] = field(default=())
    """The answer, cut into pieces that give the text when joined."""


def plan_reply(request: Mapping[str, Any]) -> Plan:
    """Decide what to answer; a pure function of the request's body."""
    contents: list[Json] = request.get("contents") or []
    question, results = _current_turn(contents)
    directives = read_directives(question)
    calls = [call for call in _wanted_calls(question) if call["name"] in _declared(request)]
    if calls and (directives.is_endless or not results):
        return Plan(usage=count_usage(contents), directives=directives, calls=calls)
    return Plan(
        usage=count_usage(contents), directives=directives, chunks=cut(_written_answer(results))
    )


def read_directives(text: str) -> Directives:
    """Find the `[[...]]` of a text."""
    found = dict(_DIRECTIVE.findall(text))
    return Directives(
        error_status=int(found["err"]) if found.get("err") else None,
        drop_after_chunks=int(found["drop"]) if found.get("drop") else None,
        has_stream_error="inerr" in found,
        delay_seconds=float(found.get("slow") or 0),
        is_endless="loop" in found,
    )


def count_usage(contents: Sequence[Json]) -> Usage:
    """Count a token for four characters, a third of them cached from the second turn on."""
    characters = turns = 0
    for content in contents:
        texts = [part["text"] for part in content.get("parts", ()) if "text" in part]
        turns += content.get("role") == "user" and bool(texts)
        characters += sum(map(len, texts))
        for part in content.get("parts", ()):
            payload = part.get("functionCall") or part.get("functionResponse")
            characters += len(json.dumps(payload)) if payload else 0
    prompt = max(1, characters // 4)
    return Usage(prompt=prompt, cached=prompt // 3 if turns > 1 else 0)


def cut(text: str) -> list[str]:
    """Cut a text of at least `ANSWER_CHUNKS` words between words into that many pieces."""
    words = text.split()
    ends = [len(words) * (index + 1) // ANSWER_CHUNKS for index in range(ANSWER_CHUNKS)]
    pieces = [" ".join(words[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    return [*(f"{piece} " for piece in pieces[:-1]), pieces[-1]]


def _current_turn(contents: Sequence[Json]) -> tuple[str, list[Json]]:
    """Return the last text of the user and the results of the tools called since."""
    results: list[Json] = []
    for content in reversed(contents):
        parts = content.get("parts", [])
        results[:0] = [p["functionResponse"] for p in parts if "functionResponse" in p]
        texts = [part["text"] for part in parts if "text" in part]
        if content.get("role") == "user" and texts:
            return " ".join(texts), results
    return "", results


def _declared(request: Mapping[str, Any]) -> set[str]:
    return {
        function["name"]
        for tool in request.get("tools") or ()
        for function in tool.get("functionDeclarations", ())
    }


def _wanted_calls(question: str) -> Iterator[Json]:
    styles = _mentioned(STYLE_WORDS, question)
    if styles:
        yield {"name": "get_style_examples", "args": {"styles": styles}}
    products = _mentioned(PRODUCT_WORDS, question)
    if products:
        yield {"name": "search_products", "args": {"query": products[0]}}


def _mentioned(words: Sequence[str], text: str) -> list[str]:
    plain = re.sub(r"[^a-z]+", " ", _DIRECTIVE.sub(" ", text).lower())
    return [word for word in words if re.search(rf"\b{word}(?:s|es)?\b", plain)]


def _written_answer(results: Sequence[Json]) -> str:
    """Say what the tools found, and add advice until it is long enough to be cut."""
    sentences = list(_findings(results)) or ["Happy to help you plan this."]
    for advice in _ADVICE:
        if sum(len(sentence.split()) for sentence in sentences) < ANSWER_CHUNKS:
            sentences.append(advice)
    return " ".join(sentences)


def _findings(results: Sequence[Json]) -> Iterator[str]:
    for response in (result.get("response", {}) for result in results):
        for style in response.get("styles", ()):
            colours, materials = _list(style["palette"]), _list(style["materials"])
            yield f"{style['name']} suits you. {style['description']}"
            yield f"Its colours are {colours}, its materials {materials}."
            yield f"Picture this: {style['example']}"
        for product in response.get("products", ()):
            yield (
                f"The {product['name']} in {product['material']} is {product['priceUsd']} dollars."
            )


def _list(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
