"""The local Gemini behind a real socket, and the real client for it."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from langchain_google_genai import ChatGoogleGenerativeAI

from renovation.gemini_local import create_server

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "gemini-2.5-flash"
JOIN_SECONDS = 10.0


@contextmanager
def served_gemini() -> Iterator[str]:
    """Serve it on a thread; the value is its address."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_server(chunk_seconds=0.0005),
            log_config=None,
            log_level="critical",
            lifespan="off",
        )
    )
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(JOIN_SECONDS)
    assert not thread.is_alive()


def gemini(url: str) -> ChatGoogleGenerativeAI:
    """Return the real client; it tries once."""
    return ChatGoogleGenerativeAI(
        model=MODEL,
        base_url=url,
        api_key="canary-key",
        vertexai=False,
        streaming=True,
        temperature=0.7,
        max_retries=1,
    )
