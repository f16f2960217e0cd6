"""The demo's user: the scripted client, traced as a browser would be, in a process of its own."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from opentelemetry import trace

import turntrace
from renovation.client import DEFAULT_MESSAGE, ChatClient, Transport, TurnResult


class User:
    """Says something to the backend; each user action is a trace that the backend continues."""

    def __init__(self, backend_url: str, endpoint: str, *, transport: Transport) -> None:
        self._backend_url = backend_url
        self._transport: Transport = transport
        self._telemetry = turntrace.configure(
            service_name="renovation-client", endpoint=endpoint, schedule_delay_seconds=0.2
        )
        turntrace.instrument("httpx", "socketio")

    async def say(self, message: str) -> tuple[str, TurnResult]:
        """Start a session and send its first message; return the trace id and what came back.

        Raises:
            ConnectionError: the user's own spans could not be delivered.
        """
        async with ChatClient(self._backend_url, transport=self._transport) as client:
            with turntrace.turn("first message"):
                context = trace.get_current_span().get_span_context()
                result = await client.first_message(message)
        if not await asyncio.to_thread(self._telemetry.force_flush, 5.0):
            raise ConnectionError("the client's own spans could not be delivered")
        return f"{context.trace_id:032x}", result


def main(arguments: Sequence[str] | None = None) -> int:
    """Say one thing and print trace id and answer as one line of JSON, for each user."""
    parser = argparse.ArgumentParser(
        prog="python -m renovation.demo_user",
        description="Send one traced first message to a running backend.",
        epilog="Example: python -m renovation.demo_user --transport polling",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--endpoint", default="http://127.0.0.1:4318", help="where traces go")
    parser.add_argument("--transport", choices=("websocket", "polling"), default="websocket")
    parser.add_argument("--message", default=DEFAULT_MESSAGE)
    parser.add_argument("--users", type=int, default=1, help="how many say it at once")
    options = parser.parse_args(arguments)
    user = User(options.url, options.endpoint, transport=options.transport)
    for trace_id, result in asyncio.run(_all_say(user, options.message, options.users)):
        json.dump({"traceId": trace_id, "answer": result.answer}, sys.stdout)
        sys.stdout.write("\n")
    return 0


async def _all_say(user: User, message: str, users: int) -> list[tuple[str, TurnResult]]:
    return await asyncio.gather(*(user.say(message) for _ in range(users)))


if __name__ == "__main__":
    sys.exit(main())
