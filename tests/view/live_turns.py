"""Turns for the tests of the pages: into a store, over /v1/traces, and out of a live stream."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3
from otlp_requests import PROTOBUF, attribute, make_request, make_span, make_trace_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

HTTP = urllib3.PoolManager()
WAIT_SECONDS = 20
CONSUMER = 5


def make_turn(outcome: str = "ok", *, duration_ms: float = 50, **overrides: Any) -> Span:
    """Return the root of a turn that started just now."""
    attributes = {
        "turntrace.turn.outcome": outcome,
        "socket.event": "chat:user_message",
        "session.id": "5f1c9e2a",
        **overrides.pop("attributes", {}),
    }
    start_ns = overrides.pop("start_ns", time.time_ns())
    fields: dict[str, Any] = {
        "name": "socket.io chat:user_message",
        "kind": CONSUMER,
        "start_time_unix_nano": start_ns,
        "end_time_unix_nano": start_ns + int(duration_ms * 1_000_000),
        "attributes": [attribute(key, value) for key, value in attributes.items()],
    }
    trace_id = overrides.pop("trace_id", None) or make_trace_id()
    return make_span(trace_id, **fields | overrides)


def post(url: str, *spans: Span, service: str = "demo", **headers: str) -> None:
    """Send spans as an app would."""
    body = make_request(spans, service=service).SerializeToString()
    response = HTTP.request("POST", f"{url}/v1/traces", body=body, headers=PROTOBUF | headers)
    assert response.status == 200, response.data


class Stream:
    """The events of an open stream, one after the other."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response

    def read(self) -> tuple[str, dict[str, Any], str]:
        """Return the next event: its name, its document, its id."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        if "event" not in fields:
            raise EOFError
        return fields["event"], json.loads(fields["data"]), fields["id"]

    def until(self, name: str) -> dict[str, Any]:
        """Return the document of the next event of a name."""
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            found, document, _ = self.read()
            if found == name:
                return document
        raise TimeoutError(name)


@contextmanager
def watching(url: str, query: str = "", headers: dict[str, str] | None = None) -> Iterator[Stream]:
    """Open a live stream; it is open when the block begins."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=WAIT_SECONDS)
    try:
        connection.request("GET", f"/api/live?{query}", headers=headers or {})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        yield Stream(response)
    finally:
        connection.close()
