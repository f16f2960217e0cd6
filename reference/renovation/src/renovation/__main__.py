"""`python -m renovation`: serve the backend."""

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import suppress

import uvicorn

from renovation.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    settings = Settings.from_environment()
    parser = argparse.ArgumentParser(
        prog="python -m renovation",
        description="Serve the renovation assistant: HTTP and Socket.IO on one port.",
        epilog="Example: python -m renovation --port 8000",
    )
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.port)
    options = parser.parse_args(arguments)
    # Ctrl-C has done its work by then: uvicorn raises it once more when everything is closed.
    with suppress(KeyboardInterrupt):
        uvicorn.run(
            "renovation.app:app",
            host=options.host,
            port=options.port,
            log_config=None,  # renovation.logs decides
            log_level=settings.log_level.lower(),
            timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
