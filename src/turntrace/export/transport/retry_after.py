"""Reads how long a collector asks to be left alone: the ``Retry-After`` header (RFC 9110)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_SECONDS: Final = 300.0
"""However long a collector asks for, it is asked again after this."""

_MAX_TEXT: Final = 64


def read_retry_after(value: str | None, date: str | None, now_seconds: float) -> float | None:
    """Return the wait that ``Retry-After`` asks for, from 0 to 300 seconds; None: for none.

    Args:
        value: The header: seconds, or an HTTP date.
        date: The reply's own ``Date``, which an HTTP date is measured by, so that a clock that is
            wrong stretches no wait.
        now_seconds: The time of day in seconds since 1970, for a reply without a ``Date``.

    Example:
        >>> read_retry_after("7", None, 0.0)
        7.0
    """
    if value is None or len(value) > _MAX_TEXT:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    until = _read_date(value)
    if until is None:
        return None
    since = _read_date(date or "")
    return min(max(0.0, until - (now_seconds if since is None else since)), MAX_RETRY_AFTER_SECONDS)


def _read_date(text: str) -> float | None:
    if len(text) > _MAX_TEXT:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else _as_utc(moment)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _as_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
