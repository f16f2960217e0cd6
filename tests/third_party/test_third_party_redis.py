"""OpenTelemetry's own hooks for Redis: that a server was asked leaves, no key and no value."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis
import redis.asyncio
import redis.backoff
import redis.exceptions
import redis.retry
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.trace import SpanKind, StatusCode
from two_sides import CANARY

import turntrace
from turntrace import attributes as keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from two_sides import TwoSides

    Talk = Callable[[str], Awaitable[None]]

START_SECONDS = 10.0
SCOPE = "opentelemetry.instrumentation.redis"
SPOKEN = {
    place: f"{CANARY}-{place.replace('_', '-')}" for place in ("key", "value", "field", "verb")
}
EVERYTHING = {"OTEL_SEMCONV_STABILITY_OPT_IN": "database/dup,http/dup"}
COMMANDS: list[tuple[str, ...]] = [
    ("SET", SPOKEN["key"], SPOKEN["value"]),
    ("GET", SPOKEN["key"]),
    ("HSET", "h", SPOKEN["field"], SPOKEN["value"]),
    # Fails, and so do the next two: of the wrong type, unknown, and with a text that names it.
    ("LPUSH", SPOKEN["key"], SPOKEN["value"]),
    (SPOKEN["verb"], SPOKEN["value"]),
    ("EVAL", f"return redis.error_reply('{SPOKEN['value']}')", "0"),
]


class Served(NamedTuple):
    """Where the server listens."""

    path: str
    port: int


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a real server for this file, with a folder of its own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is missing: `apt-get install redis-server`, as .ci/run does")
    folder: Path = tmp_path_factory.mktemp("redis")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at = Served(str(folder / "s"), listener.getsockname()[1])
    options = {
        "bind": "127.0.0.1",
        "port": str(at.port),
        "unixsocket": at.path,
        "save": "",
        "appendonly": "no",
        "dir": str(folder),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    try:
        # The client tries until the server listens.
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), int(START_SECONDS / 0.02))
        refused = [redis.exceptions.ConnectionError]
        with redis.Redis(unix_socket_path=at.path, retry=retry, retry_on_error=refused) as client:
            client.ping()
        yield at
    finally:
        process.terminate()
        process.wait(START_SECONDS)


async def sync(path: str) -> None:
    with redis.Redis(unix_socket_path=path) as client:
        for command in COMMANDS:
            with contextlib.suppress(redis.exceptions.ResponseError):
                client.execute_command(*command)


async def asynchronous(path: str) -> None:
    async with redis.asyncio.Redis(unix_socket_path=path) as client:
        for command in COMMANDS:
            with contextlib.suppress(redis.exceptions.ResponseError):
                await client.execute_command(*command)


async def pipelined(path: str) -> None:
    with (
        redis.Redis(unix_socket_path=path) as client,
        client.pipeline(transaction=False) as pipeline,
    ):
        for command in COMMANDS:
            pipeline.execute_command(*command)
        pipeline.execute(raise_on_error=False)


@pytest.fixture(params=[sync, asynchronous, pipelined], ids=lambda talk: talk.__name__)
def talk(request: pytest.FixtureRequest) -> Talk:
    return request.param


def copy_request(span: Any, instance: Any, arguments: Any, options: Any) -> None:
    """Put everything on the span, as an app's own hook might."""
    words = [str(word) for word in arguments]
    span.update_name(" ".join(words))
    span.set_attribute("db.statement", " ".join(words))
    span.set_attribute("db.query.text", " ".join(words))
    span.set_attribute("db.operation.parameter.0", words[-1])
    span.set_attribute(words[-1], True)
    span.add_event(words[-1], {"key": words[1]})


def copy_response(span: Any, instance: Any, response: Any) -> None:
    span.set_attribute("db.response.returned", str(response))
    span.set_status(StatusCode.ERROR, str(response))


HOOKS = {"request_hook": copy_request, "response_hook": copy_response}
AS: dict[str, tuple[dict[str, str], dict[str, Any], set[str]]] = {
    "by default": ({}, {}, {"verb"}),
    "in both conventions": (EVERYTHING, {}, {"verb"}),
    "with hooks that copy everything": (EVERYTHING, HOOKS, set(SPOKEN)),
}


@pytest.fixture
def switched_on(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, both_sides: TwoSides
) -> Iterator[set[str]]:
    """Switch the instrumentation on; the value is what it captures."""
    settings, hooks, captures = AS[request.param]
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    RedisInstrumentor().instrument(tracer_provider=both_sides.provider, **hooks)
    yield captures
    if RedisInstrumentor().is_instrumented_by_opentelemetry:
        RedisInstrumentor().uninstrument()


def each(*names: str) -> Any:
    return pytest.mark.parametrize("switched_on", names or list(AS), indirect=True)


@each()
async def test_no_key_value_or_error_leaves(
    switched_on: set[str], talk: Talk, served: Served, both_sides: TwoSides
) -> None:
    with turntrace.turn("cache"):
        await talk(served.path)
    assert both_sides.leaked() == []


@each()
async def test_without_the_guard_all_that_it_captures_would_leave(
    switched_on: set[str], talk: Talk, served: Served, both_sides: TwoSides
) -> None:
    await talk(served.path)
    # No hook is shown the commands of a pipeline, only what came back.
    unseen = {"key", "field"} if talk is pipelined else set()
    assert both_sides.captured(SPOKEN) == switched_on - unseen


@each()
async def test_that_redis_was_asked_leaves_below_the_turn(
    switched_on: set[str], talk: Talk, served: Served, both_sides: TwoSides
) -> None:
    with turntrace.turn("cache"):
        await talk(served.path)
    (turn,) = both_sides.of("turntrace.conversation")
    calls = both_sides.of(SCOPE)
    assert len(calls) == (1 if talk is pipelined else len(COMMANDS))
    for call in calls:
        assert both_sides.parent(call) == turn
        assert call.kind == SpanKind.CLIENT.value
        assert call.attributes[keys.DB_SYSTEM] == "redis"
        assert call.status_description == ""


@each("by default", "in both conventions")
@pytest.mark.parametrize("talk", [sync, asynchronous], indirect=True)
async def test_its_names_leave(
    switched_on: set[str], talk: Talk, served: Served, both_sides: TwoSides
) -> None:
    await talk(served.path)
    assert {"SET", "GET"} <= {span.name for span in both_sides.of(SCOPE)}


@each("in both conventions")
async def test_of_today_s_conventions_the_system_leaves(
    switched_on: set[str], talk: Talk, served: Served, both_sides: TwoSides
) -> None:
    await talk(served.path)
    for call in both_sides.of(SCOPE):
        assert call.attributes[keys.DB_SYSTEM_NAME] == "redis"


@each("in both conventions")
def test_of_today_s_conventions_the_server_leaves(
    switched_on: set[str], served: Served, both_sides: TwoSides
) -> None:
    with redis.Redis("127.0.0.1", served.port) as client:
        client.get(SPOKEN["key"])
    (call,) = both_sides.of(SCOPE)
    assert call.attributes[keys.SERVER_ADDRESS] == "127.0.0.1"
    assert call.attributes[keys.SERVER_PORT] == served.port


@each("by default")
async def test_a_command_that_failed_is_an_error_of_its_type(
    switched_on: set[str], served: Served, both_sides: TwoSides
) -> None:
    await sync(served.path)
    failed = [call for call in both_sides.of(SCOPE) if call.status_code == StatusCode.ERROR.value]
    assert [call.attributes[keys.ERROR_TYPE] for call in failed] == [
        "redis.exceptions.ResponseError"
    ] * 3


@each("by default")
async def test_switched_off_it_makes_no_spans(
    switched_on: set[str], talk: Talk, served: Served, both_sides: TwoSides
) -> None:
    RedisInstrumentor().uninstrument()
    await talk(served.path)
    assert both_sides.unguarded == []
