"""For the tests of apps: what was recorded, times and ids that tests decide, and no content in it.

Needs no test framework.

Example:
    >>> import turntrace
    >>> with capture() as captured, turntrace.turn("nightly summary"):
    ...     turntrace.bind(session_id="0d9f6a4e")
    >>> captured.one("nightly summary").attributes["session.id"]
    '0d9f6a4e'
    >>> assert_no_content("what the user wrote")
"""

from turntrace.testing.captured import CapturedSpan
from turntrace.testing.capturing import Capture, assert_no_content, capture
from turntrace.testing.determinism import ManualClock, SequentialIds

__all__ = [
    "Capture",
    "CapturedSpan",
    "ManualClock",
    "SequentialIds",
    "assert_no_content",
    "capture",
]
