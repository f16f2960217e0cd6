"""The local Gemini speaks the wire format of the real one."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

MODEL = "/v1beta/models/gemini-2.5-flash"
STREAM = f"{MODEL}:streamGenerateContent?alt=sse"
WHOLE = f"{MODEL}:generateContent"
TOOLS = [
    {"functionDeclarations": [{"name": "get_style_examples"}, {"name": "search_products"}]},
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}


def model(text: str) -> dict[str, Any]:
    return {"role": "model", "parts": [{"text": text}]}


def frames(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in response.text.splitlines() if line]


def parts(frame: dict[str, Any]) -> list[dict[str, Any]]:
    return frame["candidates"][0]["content"]["parts"]


@pytest.fixture
async def api(gemini_url: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-goog-api-key": "any"}
    async with httpx.AsyncClient(base_url=gemini_url, headers=headers) as client:
        yield client


async def test_every_frame_is_data_and_one_line_of_json_and_two_line_ends(
    api: httpx.AsyncClient,
) -> None:
    response = await api.post(STREAM, json={"contents": [user("hello")]})
    assert response.headers["content-type"] == "text/event-stream"
    pieces = response.content.split(b"\r\n\r\n")
    assert pieces.pop() == b""
    assert len(pieces) == 60
    assert all(piece.startswith(b"data: {") and b"\n" not in piece for piece in pieces)


async def test_a_frame_has_the_fields_of_the_real_api(api: httpx.AsyncClient) -> None:
    first, *_, last = frames(await api.post(STREAM, json={"contents": [user("hello there")]}))
    assert first["candidates"] == [
        {"content": {"parts": [{"text": "Happy "}], "role": "model"}, "index": 0}
    ]
    assert first["modelVersion"] == "gemini-2.5-flash"
    assert first["responseId"] == last["responseId"] != ""
    assert last["candidates"][0]["finishReason"] == "STOP"


async def test_usage_is_cumulative_one_token_a_chunk_and_17_thoughts(
    api: httpx.AsyncClient,
) -> None:
    sent = {"contents": [user("x" * 400)]}
    usages = [frame["usageMetadata"] for frame in frames(await api.post(STREAM, json=sent))]
    assert [usage["candidatesTokenCount"] for usage in usages] == list(range(1, 61))
    assert {usage["promptTokenCount"] for usage in usages} == {100}
    assert {usage["thoughtsTokenCount"] for usage in usages} == {17}
    assert usages[-1]["totalTokenCount"] == 100 + 60 + 17
    assert "cachedContentTokenCount" not in usages[-1]


async def test_a_third_of_the_prompt_is_cached_from_the_second_turn_on(
    api: httpx.AsyncClient,
) -> None:
    contents = [user("x" * 200), model("y" * 100), user("z" * 100)]
    usage = (await api.post(WHOLE, json={"contents": contents})).json()["usageMetadata"]
    assert (usage["promptTokenCount"], usage["cachedContentTokenCount"]) == (100, 33)


async def test_generate_content_gives_the_same_text_and_usage_in_one_piece(
    api: httpx.AsyncClient,
) -> None:
    sent = {"contents": [user("hello")]}
    streamed = frames(await api.post(STREAM, json=sent))
    whole = (await api.post(WHOLE, json=sent)).json()
    assert parts(whole)[0]["text"] == "".join(parts(frame)[0]["text"] for frame in streamed)
    assert whole["usageMetadata"] == streamed[-1]["usageMetadata"]


async def test_streaming_without_sse_is_one_json_array(api: httpx.AsyncClient) -> None:
    response = await api.post(f"{MODEL}:streamGenerateContent", json={"contents": [user("hi")]})
    assert len(response.json()) == 60


async def test_a_style_is_one_signed_call_in_one_frame(api: httpx.AsyncClient) -> None:
    sent = {"contents": [user("Japandi, please")], "tools": TOOLS}
    (frame,) = frames(await api.post(STREAM, json=sent))
    (part,) = parts(frame)
    assert part["functionCall"] == {"name": "get_style_examples", "args": {"styles": ["japandi"]}}
    assert base64.b64decode(part["thoughtSignature"])
    assert frame["candidates"][0]["finishReason"] == "STOP"
    assert frame["usageMetadata"]["candidatesTokenCount"] == 1


async def test_style_and_product_are_two_parallel_calls_of_which_the_first_is_signed(
    api: httpx.AsyncClient,
) -> None:
    sent = {"contents": [user("A modern home with new lamps")], "tools": TOOLS}
    first, second = parts((await api.post(WHOLE, json=sent)).json())
    assert first["functionCall"]["name"] == "get_style_examples"
    assert second == {"functionCall": {"name": "search_products", "args": {"query": "lamp"}}}


async def test_no_call_is_made_to_a_tool_that_was_not_declared(api: httpx.AsyncClient) -> None:
    whole = (await api.post(WHOLE, json={"contents": [user("Japandi lamps")]})).json()
    assert "text" in parts(whole)[0]


async def test_a_result_of_the_same_turn_is_answered_in_60_chunks_from_it(
    api: httpx.AsyncClient,
) -> None:
    style = {
        "name": "Zen",
        "description": "Very quiet.",
        "palette": ["stone"],
        "materials": ["moss", "sand"],
        "example": "A garden.",
    }
    result = {"name": "get_style_examples", "response": {"styles": [style]}}
    contents = [
        user("Japandi"),
        {"role": "model", "parts": [{"functionCall": {"name": "get_style_examples"}}]},
        {"role": "user", "parts": [{"functionResponse": result}]},
    ]
    answer = frames(await api.post(STREAM, json={"contents": contents, "tools": TOOLS}))
    text = "".join(parts(frame)[0]["text"] for frame in answer)
    assert len(answer) == 60
    assert text.startswith("Zen suits you. Very quiet. Its colours are stone, its materials moss")


async def test_a_style_of_an_earlier_turn_is_not_looked_up_again(api: httpx.AsyncClient) -> None:
    contents = [user("Japandi"), model("Fine."), user("Thank you")]
    whole = (await api.post(WHOLE, json={"contents": contents, "tools": TOOLS})).json()
    assert "text" in parts(whole)[0]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
    ],
)
async def test_an_error_directive_gives_googles_error_body(
    api: httpx.AsyncClient, status: int, name: str
) -> None:
    response = await api.post(STREAM, json={"contents": [user(f"hi [[err:{status}]]")]})
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["status"]) == (status, name)
    assert error["message"]


async def test_a_directive_in_an_earlier_message_does_nothing(api: httpx.AsyncClient) -> None:
    contents = [user("hi [[err:429]]"), model("Sorry."), user("again")]
    assert (await api.post(WHOLE, json={"contents": contents})).status_code == 200


async def test_drop_cuts_the_connection_after_so_many_chunks(api: httpx.AsyncClient) -> None:
    heard = []
    sent = {"contents": [user("hi [[drop:5]]")]}
    with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - the stream fails as it is read
        async with api.stream("POST", STREAM, json=sent) as response:
            async for line in response.aiter_lines():
                heard += [line] if line else []
    assert len(heard) == 5


async def test_inerr_sends_an_error_frame_in_the_middle_of_the_answer(
    api: httpx.AsyncClient,
) -> None:
    *before, last = frames(await api.post(STREAM, json={"contents": [user("hi [[inerr]]")]}))
    assert len(before) == 5
    assert last["error"]["code"] == 503


async def test_slow_delays_the_first_byte(api: httpx.AsyncClient) -> None:
    response = await api.post(WHOLE, json={"contents": [user("hi [[slow:0.2]]")]})
    assert response.elapsed.total_seconds() >= 0.2


async def test_a_request_without_a_key_is_refused(gemini_url: str) -> None:
    async with httpx.AsyncClient(base_url=gemini_url) as nobody:
        response = await nobody.post(WHOLE, json={"contents": [user("hi")]})
    assert response.status_code == 403
    assert response.json()["error"]["status"] == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    "body", [b"no json", b"[]", b"{}", b'{"contents": []}', b'{"contents": 3}']
)
async def test_a_body_that_is_no_request_is_refused_with_400(
    api: httpx.AsyncClient, body: bytes
) -> None:
    assert (await api.post(WHOLE, content=body)).status_code == 400


@pytest.mark.parametrize("call", ["gpt-4:generateContent", "gemini-2.5-flash:embedContent"])
async def test_an_unknown_model_or_method_is_not_found(api: httpx.AsyncClient, call: str) -> None:
    response = await api.post(f"/v1beta/models/{call}", json={"contents": [user("hi")]})
    assert response.status_code == 404
