"""One trace per chat turn: HTTP, Socket.IO, AI, database.

Example:
    >>> import turntrace
    >>> telemetry = turntrace.configure(service_name="my-backend")  # doctest: +SKIP
    >>> turntrace.instrument()  # doctest: +SKIP
    ('asgi', 'socketio', 'langgraph', 'sqlalchemy', 'httpx', 'aiohttp')
"""

from turntrace.conversation import bind, turn
from turntrace.errors import ConfigurationError, MissingLibraryError, TurntraceError
from turntrace.instrument import instrument, uninstrument
from turntrace.pipeline import Telemetry, configure
from turntrace.sample.rules import SamplingPolicy

__all__ = [
    "ConfigurationError",
    "MissingLibraryError",
    "SamplingPolicy",
    "Telemetry",
    "TurntraceError",
    "bind",
    "configure",
    "instrument",
    "turn",
    "uninstrument",
]
