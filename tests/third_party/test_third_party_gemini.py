"""A model call through the real client of Gemini, traced by two instrumentations of others."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import SpanKind
from two_sides import CANARY

import turntrace
from renovation.gemini_local import create_server
from turntrace import attributes as keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from two_sides import TwoSides

MODEL = "gemini-2.5-flash"
JOIN_SECONDS = 10.0
SETTINGS = {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental,http/dup",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": ".*",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE": ".*",
}
SAID = {"system": f"{CANARY}-system", "prompt": f"{CANARY}-prompt", "key": f"{CANARY}-key"}

# google-genai derives a class from aiohttp's, each time it opens a session.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)


@pytest.fixture(scope="module")
def gemini_url() -> Iterator[str]:
    """Serve the reference's local Gemini on a thread."""
    app = create_server(chunk_seconds=0.0005)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, log_level="critical", lifespan="off")
    )
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(JOIN_SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def switched_on(monkeypatch: pytest.MonkeyPatch, both_sides: TwoSides) -> Iterator[None]:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    both = (LangChainInstrumentor(), HTTPXClientInstrumentor())
    for instrumentor in both:
        instrumentor.instrument(tracer_provider=both_sides.provider, skip_dep_check=True)
    yield
    for instrumentor in both:
        instrumentor.uninstrument()


@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_request_leaves_below_the_model_call_and_no_word_of_either(
    gemini_url: str, switched_on: None, both_sides: TwoSides, *, is_streamed: bool
) -> None:
    model = ChatGoogleGenerativeAI(
        model=MODEL, base_url=gemini_url, api_key=SAID["key"], vertexai=False, max_retries=1
    )
    asked = [SystemMessage(SAID["system"]), HumanMessage(SAID["prompt"])]
    with turntrace.turn("gemini"):
        if is_streamed:
            answer = "".join([str(piece.text) for piece in model.stream(asked)])
        else:
            answer = str(model.invoke(asked).text)

    chat, *others = both_sides.having(keys.GEN_AI_OPERATION_NAME, "chat")
    assert not others
    assert chat.kind == SpanKind.CLIENT.value
    assert chat.attributes[keys.GEN_AI_REQUEST_MODEL] == MODEL
    assert chat.attributes[keys.GEN_AI_USAGE_INPUT_TOKENS] > 0
    assert chat.attributes[keys.GEN_AI_USAGE_OUTPUT_TOKENS] > 0
    (request,) = both_sides.having(keys.HTTP_REQUEST_METHOD, "POST")
    assert request.attributes[keys.HTTP_RESPONSE_STATUS_CODE] == 200
    assert both_sides.parent(request) == chat
    assert len(both_sides.left) == 3

    assert both_sides.leaked() == []
    assert len(answer) > 40
    assert answer[:40].encode() not in both_sides.bytes_that_leave()
    assert both_sides.captured({**SAID, "answer": answer[:40]}) == {*SAID, "answer"}
