"""A Gemini on loopback that calls tools, answers and fails with what the hunt gives it to say."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from renovation.gemini_local import Reply
from renovation.gemini_script import Directives, Plan, Usage

APPS_OWN = frozenset({"x-goog-api-key"})
"""Headers that the app itself writes, with its own secret in it."""

FAIL, LONG_ARGUMENTS = "please fail", "please ask for too much"
_USAGE = Usage(prompt=10, cached=0)


class TellingGemini:
    """Records every request; its texts may be set before it is asked."""

    def __init__(self) -> None:
        self.headers: list[str] = []
        """Of all requests, those the app wrote itself aside."""
        self.asked: list[str] = []
        """Paths and bodies."""
        self.answer = "Hello."
        self.arguments = "shelf"
        self.error = "Failed."
        gemini = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                gemini.asked.append(f"{self.path} {body.decode()}")
                gemini.headers += [
                    f"{name}: {value}"
                    for name, value in self.headers.items()
                    if name.lower() not in APPS_OWN
                ]
                status, kind, content = gemini.reply(json.loads(body))
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply(self, request: dict[str, Any]) -> tuple[int, str, bytes]:
        contents = request["contents"]
        question = str(contents[-1])
        if FAIL in question:
            error = {"code": 400, "message": self.error, "status": "INVALID_ARGUMENT"}
            return 400, "application/json", json.dumps({"error": error}).encode()
        if "functionResponse" in question:
            chunks = [f"{word} " for word in self.answer.split()]
            plan = Plan(usage=_USAGE, directives=Directives(), chunks=chunks)
        else:
            query = self.arguments * 20 if LONG_ARGUMENTS in question else self.arguments
            call = {"name": "search_products", "args": {"query": query}}
            plan = Plan(usage=_USAGE, directives=Directives(), calls=[call])
        frames = Reply(plan=plan, model="gemini-2.5-flash", response_id="r1").frames()
        lines = [f"data: {json.dumps(frame)}\r\n\r\n" for frame in frames]
        return 200, "text/event-stream", "".join(lines).encode()
