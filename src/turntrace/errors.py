"""The exceptions turntrace raises, all from explicit calls of the app, never from a traced call.

TurntraceError
├── ConfigurationError    configure() was given something it cannot use
├── MissingLibraryError   something was asked for by name, and its package is not installed
├── SpoolError            the spool's directory cannot be used; spans are kept in memory instead
├── StoreError            the store of the view cannot be opened or read
└── ReceiveError          a request to the view's receiver is malformed
"""


class TurntraceError(Exception):
    """Base of every exception that turntrace raises."""


class ConfigurationError(TurntraceError):
    """An explicit argument cannot be used; environment values only ever warn."""


class MissingLibraryError(TurntraceError, ImportError):
    """A library was asked for by name but is not installed; the text holds the install line."""


class SpoolError(TurntraceError):
    """The spool cannot be on this disk; the text says why, and what to set."""


class StoreError(TurntraceError):
    """The store cannot be opened, read or written."""


class ReceiveError(TurntraceError):
    """A telemetry request is malformed; nothing of it was stored."""
