"""Configures from the environment and puts hooks on one library, once the app has imported it."""

from __future__ import annotations

import logging
import sys

from turntrace import pipeline
from turntrace.bootstrap.second_provider import say_if_another_provider_is_set
from turntrace.bootstrap.servers import flush_when_uvicorn_stops
from turntrace.errors import TurntraceError
from turntrace.failsafe import swallowed
from turntrace.instrument import BUILTIN, instrument

logger = logging.getLogger("turntrace")

_has_failed = False


def imported(name: str) -> bool:
    """Trace one library of `turntrace.instrument.BUILTIN` (any other name only configures).

    Never raises, and does nothing in turntrace's own commands: a view does not trace itself.
    Returns False only if it is to be called again: another thread is importing the same.
    """
    if "turntrace.cli" in sys.modules or not configured():
        return True
    if name in BUILTIN:
        try:
            instrument(name)
        except Exception as error:  # noqa: BLE001 - telemetry never breaks the app
            if type(error).__name__ == "_DeadlockError":
                return False
            swallowed(f"turntrace.instrument({name!r})", error)
    return True


def configured() -> bool:
    """Configure if nobody has; False, after one warning, if that is impossible."""
    global _has_failed  # noqa: PLW0603 - said once per process
    if _has_failed:
        return False
    try:
        telemetry = pipeline.configure_for_now()
        if telemetry is not None and telemetry.settings.enabled:
            flush_when_uvicorn_stops()
            say_if_another_provider_is_set()
            instrument("logging")  # no library to wait for: every Python has imported it
    except TurntraceError as error:
        _has_failed = True
        logger.warning("turntrace: %s. The app runs, untraced.", error)
    except Exception as error:  # noqa: BLE001 - telemetry never breaks the app
        _has_failed = True
        swallowed("the start of turntrace", error)
    return not _has_failed
