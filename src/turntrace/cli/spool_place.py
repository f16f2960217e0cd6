"""Which spool a command is about: the directory, and the service and account in it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from turntrace.attributes import SERVICE_NAME
from turntrace.cli.cleaning import clean
from turntrace.errors import ConfigurationError
from turntrace.export.assembly import build_shipper
from turntrace.export.spool.place import spool_key
from turntrace.settings import load

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from turntrace.export.shipper import Shipper
    from turntrace.settings import Settings

ADOPT_SECONDS = 1.0
"""How often what dead processes have left is looked for."""


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings of the environment, with the command's options; say what is wrong."""
    given: dict[str, object] = {
        name: value
        for name, value in (
            ("service_name", getattr(arguments, "service_name", None)),
            ("endpoint", getattr(arguments, "endpoint", None)),
            ("spool_dir", arguments.dir and str(arguments.dir.absolute())),
        )
        if value is not None
    }
    settings, warnings = load({**given, "shipper": "thread"})  # this process is who sends
    for warning in warnings:
        sys.stderr.write(f"turntrace spool: {clean(warning)}\n")
    return settings


def root_of(settings: Settings) -> Path:
    """Return where the spools lie.

    Raises:
        ConfigurationError: Nowhere.
    """
    root = settings.spool_root
    if root is None:
        raise ConfigurationError(
            "there is no spool: TURNTRACE_SPOOL_DIR is off, or there is no home directory; name"
            " the spool's directory with --dir"
        )
    return root


def key_of(settings: Settings) -> str:
    """Return the name of what is meant for this service, endpoint and account.

    Raises:
        SpoolError: The root cannot be used.
    """
    return spool_key(
        root_of(settings),
        service=settings.service_name,
        endpoint=settings.traces_url,
        headers=settings.headers,
    )


class LastWarning(logging.Handler):
    """Remembers what was warned of last, for whoever has a line for it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it without what it begins and ends with as a line of a log."""
        text = record.getMessage().removesuffix(" (said at most once a minute)")
        self.text = clean(text.removeprefix("turntrace export: ").removeprefix("turntrace: "))

    @classmethod
    def listening(cls) -> LastWarning:
        """Return one that hears all that turntrace says, and keeps it from the terminal."""
        handler, logger = cls(), logging.getLogger("turntrace")
        logger.addHandler(handler)
        logger.propagate = False
        return handler


def open_shipper(settings: Settings, heard: LastWarning) -> Shipper:
    """Return a shipper that sends what dead processes of this service and account have left.

    Raises:
        ConfigurationError: There can be no spool, or the way to the collector cannot be used.
    """
    shipper = build_shipper(
        settings, {SERVICE_NAME: settings.service_name}, adopt_seconds=ADOPT_SECONDS
    )
    if shipper.spool is None:
        raise ConfigurationError(heard.text or f"the spool {str(root_of(settings))!r} is unusable")
    return shipper
