"""One trace per chat turn: HTTP, Socket.IO, AI, database.

import turntrace

turntrace.configure(service_name="my-backend")
turntrace.instrument()
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
