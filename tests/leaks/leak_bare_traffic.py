"""Bare probes: what comes in and goes out over HTTP, sockets, queues and caches."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
from leak_bare_rig import remote
from leak_rows import bare_probe
from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from leak_bare_rig import Bare
    from leak_rows import Bait


@bare_probe("inbound: query string")
def _query(bare: Bare, bait: Bait) -> None:
    for q in (bait.word, bait.phrase):
        url = f"http://localhost:8000/search?q={q}"
        bare.tracer.start_span(
            "work",
            attributes={
                "http.url": url,
                "http.target": f"/search?q={q}",
                "url.full": url,
                "url.query": f"q={q}",
            },
        ).end()


@bare_probe("inbound: path parameter")
def _path(bare: Bare, bait: Bait) -> None:
    for part in (bait.word, bait.phrase):
        path = f"/notes/{part}"
        bare.tracer.start_span(
            "work",
            attributes={
                "url.path": path,
                "http.target": path,
                "http.route": path if " " in part else "/notes",
            },
        ).end()
        bare.tracer.start_span(f"GET {path}", kind=SpanKind.SERVER).end()


@bare_probe("inbound: 404 path")
def _unknown_path(bare: Bare, bait: Bait) -> None:
    for part in (bait.word, bait.phrase):
        span = bare.tracer.start_span(
            f"GET /{part}",
            kind=SpanKind.SERVER,
            attributes={"http.target": f"/{part}", "url.path": f"/{part}", "http.status_code": 404},
        )
        span.update_name(f"/{part}")
        span.end()


@bare_probe("inbound: Host")
def _host(bare: Bare, bait: Bait) -> None:
    for host in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work", attributes={"http.host": host, "http.server_name": host, "net.host.name": host}
        ).end()
        span = bare.tracer.start_span("work", kind=SpanKind.SERVER)
        span.set_attribute("server.address", host)
        span.set_attribute("http.request.header.host", [host])
        span.end()


@bare_probe("inbound: user-agent and other headers")
def _headers(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "user_agent.original": value,
                "http.user_agent": value,
                "http.request.header.x_note": (value,),
                "http.request.header.referer": [value],
                "http.response.header.location": [value],
                "client.address": value,
            },
        ).end()


@bare_probe("inbound: tracestate")
def _tracestate(bare: Bare, bait: Bait) -> None:
    for state in (f"vendor={bait.word}", f"vendor={bait.phrase}", f"ot=th:8;x:{bait.word}"):
        bare.tracer.start_span("work", context=remote(state)).end()


@bare_probe("inbound: baggage")
def _baggage(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        received = baggage.set_baggage("note", value, baggage.set_baggage(bait.word, "1"))
        span = bare.tracer.start_span("work", context=received)
        for key, entry in baggage.get_all(received).items():  # as a baggage span processor does
            span.set_attribute(key, str(entry))
            span.set_attribute(f"baggage.{key}", str(entry))
        span.end()


@bare_probe("outbound: baggage and tracestate to a stranger")
def _sent_along(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        with bare.tracer.start_as_current_span("work", context=remote(f"vendor={value}")):
            token = context.attach(baggage.set_baggage("note", value))
            bare.call()
            context.detach(token)


def _get(bare: Bare, url: str, headers: dict[str, str] | None = None) -> None:
    """Ask a server that is not there, through the instrumented client."""
    work = bare.tracer.start_as_current_span("work")
    with suppress(httpx.ConnectError), work, httpx.Client() as client:
        client.get(url, headers=headers)


@bare_probe("outbound: query string and path")
def _asked(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        url = f"http://localhost:9/{value}?q={value}"
        span = bare.tracer.start_span(f"GET {url}", kind=SpanKind.CLIENT)
        span.set_attributes({"http.url": url, "url.full": url, "url.path": f"/{value}"})
        span.end()
        _get(bare, url)


@bare_probe("outbound: ?api_key= and URL user info")
def _secrets_in_urls(bare: Bare, bait: Bait) -> None:
    url = f"http://{bait.word}:{bait.word}@localhost:9/v1?api_key={bait.word}"
    _get(bare, url)
    bare.tracer.start_span(
        "work",
        attributes={"http.url": url, "url.full": url, "peer.service": url, "server.address": url},
    ).end()


@bare_probe("outbound: Authorization and cookies")
def _credentials(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        _get(bare, "http://localhost:9/", {"authorization": f"Bearer {value}", "cookie": value})
        bare.tracer.start_span(
            "work",
            attributes={
                "http.request.header.authorization": [f"Bearer {value}"],
                "http.request.header.cookie": [f"session={value}"],
                "http.response.header.set_cookie": [f"session={value}"],
                "http.request.headers": repr({"authorization": value}),
            },
        ).end()


@bare_probe("resource and process arguments")
def _process(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "process.command_args": ["app", value],
                "process.command_line": f"app --say {value}",
                "process.command": value,
            },
        ).end()
    provider: Any = trace.get_tracer_provider()
    provider.resource.attributes["process.command_args"] = (bait.word, bait.phrase)
    provider.resource.attributes[bait.word] = bait.phrase
    bare.tracer.start_span("work").end()


@bare_probe("socket: event name, room name, namespace")
def _socket_names(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(f"socket.io {value}").end()
        bare.tracer.start_span(
            "work",
            attributes={
                "socket.io.event": value,
                "socket.io.room": value,
                "socket.io.namespace": value,
            },
        ).end()
    bare.tracer.start_span(
        "work",
        attributes={
            "socket.event": bait.phrase,
            "socket.room": bait.phrase,
            "messaging.destination.name": f"/{bait.phrase}",
        },
    ).end()


@bare_probe("socket: auth payload, event payload, ack payload, binary payload")
def _socket_payloads(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "socket.auth": json.dumps({"token": value}),
                "messaging.message.body": json.dumps({"content": value}),
                "socket.ack": [value],
                "socket.binary": value.encode(),
                "socket.payload": {"content": value},
            },
        ).end()


@bare_probe("socket: disconnect reason, refusal message")
def _socket_reasons(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work", attributes={"socket.disconnect_reason": value, "socket.refusal": value}
        ).end()
        bare.fail(ConnectionRefusedError(value))


@bare_probe("job arguments and results")
def _jobs(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "job.args": json.dumps([value]),
                "job.kwargs": json.dumps({"note": value}),
                "job.result": value,
                "job.status": value,
                "celery.args": [value],
            },
        ).end()
        bare.tracer.start_span(f"run summarise({value!r})", kind=SpanKind.CONSUMER).end()
    bare.tracer.start_span(
        "work", attributes={"job.queue": bait.phrase, "job.payload.session_id": bait.phrase}
    ).end()


@bare_probe("cache keys and values")
def _cache(bare: Bare, bait: Bait) -> None:
    for value in (bait.word, bait.phrase):
        bare.tracer.start_span(
            "work",
            attributes={
                "cache.value": value,
                "db.redis.args": ["SET", f"answer:{value}", value],
                "db.system": "redis",
                "db.statement": f"SET answer:{value} '{value}'",
                "db.query.text": f"GET answer:{value}",
            },
        ).end()
        bare.tracer.start_span(f"GET answer:{value}").end()
    bare.tracer.start_span("work", attributes={"cache.key": f"answer:{bait.phrase}"}).end()
