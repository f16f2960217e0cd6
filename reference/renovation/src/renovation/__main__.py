"""`python -m renovation`: serve the backend.

Exit code: 0 after SIGTERM, SIGINT or SIGQUIT, during the start too, if everything that was open
was closed in time, which is what Kubernetes calls completed and systemd and `docker --restart
on-failure` leave alone; 1 if something was not, because it could not be or a second signal cut it
short (one that comes after the last close ends the process as it ends any); 2 for arguments it
does not know; 3 if it could not start. Plain `uvicorn renovation.app:app` keeps uvicorn's own: it
dies of SIGTERM once everything is closed, and ends with 1 only if it does not stop itself.
"""

import argparse
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn

from renovation.app import REQUESTS_SECONDS, create_app, create_shutdown
from renovation.logs import configure_logging
from renovation.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; return the exit code."""
    settings = Settings.from_environment()
    parser = argparse.ArgumentParser(
        prog="python -m renovation",
        description="Serve the renovation assistant: HTTP and Socket.IO on one port.",
        epilog="Example: python -m renovation --port 8000",
    )
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.port)
    options = parser.parse_args(arguments)
    configure_logging(settings.log_level)
    shutdown = create_shutdown(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, shutdown=shutdown),
            host=options.host,
            port=options.port,
            workers=1,
            log_config=None,  # renovation.logs decides
            log_level=settings.log_level.lower(),
            timeout_graceful_shutdown=math.ceil(REQUESTS_SECONDS),
        )
    )
    with _signals_end(server):
        server.run()
    return 0 if shutdown.is_clean else 1


@contextmanager
def _signals_end(server: uvicorn.Server) -> Iterator[None]:
    """Let the exit code be ours: uvicorn raises the signal once more when it has stopped."""

    def end(number: int, _frame: FrameType | None) -> None:
        if not server.started:
            raise SystemExit(128 + number)

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
