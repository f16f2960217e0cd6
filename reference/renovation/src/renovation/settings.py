"""Every setting of the backend, read from the environment once."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

DEFAULT_DATABASE = "var/renovation.sqlite3"
DEFAULT_VIEW_URL = "http://127.0.0.1:4318"

_Number = TypeVar("_Number", int, float)

_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}


class SettingError(ValueError):
    """A variable of the environment has a value that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the backend can be told; the defaults need no account and no service."""

    database_url: str = field(default=f"sqlite+aiosqlite:///{DEFAULT_DATABASE}", repr=False)
    """`DATABASE_URL`, or a SQLite file at `RENOVATION_DATABASE`."""

    google_api_key: str | None = field(default=None, repr=False)
    """`GOOGLE_API_KEY`: the real Gemini is used as soon as it is set."""

    gemini_base_url: str | None = None
    """`GEMINI_BASE_URL`: where the Gemini API is; without it and a key a local one is started."""

    chat_model: str = "gemini-2.5-flash"
    """`RENOVATION_CHAT_MODEL`."""

    model_attempts: int = 1
    """`RENOVATION_MODEL_ATTEMPTS`: requests per model call, the first one included."""

    local_gemini_chunk_seconds: float = 0.002
    """`RENOVATION_GEMINI_CHUNK_SECONDS`: pause of the local Gemini before each chunk."""

    messages_per_minute: int = 10
    """`RENOVATION_MESSAGES_PER_MINUTE`: chat messages a socket may send."""

    history_messages: int = 20
    """`RENOVATION_HISTORY_MESSAGES`: earlier messages the model is shown."""

    agent_iterations: int = 10
    """`RENOVATION_AGENT_ITERATIONS`: model calls a turn may take."""

    shutdown_seconds: float = 5.0
    """`RENOVATION_SHUTDOWN_SECONDS`: how long running turns may take to finish at shutdown."""

    shutdown_limit_seconds: float = 7.0
    """`RENOVATION_SHUTDOWN_LIMIT_SECONDS`: how long everything may take to close, the delivery of
    the last spans aside; by default 2 s more than the turns."""

    view_url: str = DEFAULT_VIEW_URL
    """`RENOVATION_VIEW_URL`: where `turntrace view` is; the chat page links turns to it."""

    host: str = "127.0.0.1"
    """`RENOVATION_HOST`."""

    port: int = 8000
    """`RENOVATION_PORT`."""

    log_level: str = "INFO"
    """`RENOVATION_LOG_LEVEL`."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings; an empty variable counts as absent.

        Raises:
            SettingError: a number is no number or not in its bounds, an address is none.
        """
        source = os.environ if environment is None else environment
        given = {name: value.strip() for name, value in source.items() if value.strip()}
        default = cls()
        shutdown_seconds = _number(
            given, "RENOVATION_SHUTDOWN_SECONDS", default.shutdown_seconds, float
        )
        return cls(
            database_url=_database_url(given),
            google_api_key=given.get("GOOGLE_API_KEY"),
            gemini_base_url=given.get("GEMINI_BASE_URL"),
            chat_model=given.get("RENOVATION_CHAT_MODEL", default.chat_model),
            model_attempts=_number(
                given, "RENOVATION_MODEL_ATTEMPTS", default.model_attempts, int, at_least=1
            ),
            local_gemini_chunk_seconds=_number(
                given, "RENOVATION_GEMINI_CHUNK_SECONDS", default.local_gemini_chunk_seconds, float
            ),
            messages_per_minute=_number(
                given,
                "RENOVATION_MESSAGES_PER_MINUTE",
                default.messages_per_minute,
                int,
                at_least=1,
            ),
            history_messages=_number(
                given, "RENOVATION_HISTORY_MESSAGES", default.history_messages, int
            ),
            agent_iterations=_number(
                given, "RENOVATION_AGENT_ITERATIONS", default.agent_iterations, int, at_least=1
            ),
            shutdown_seconds=shutdown_seconds,
            shutdown_limit_seconds=_number(
                given, "RENOVATION_SHUTDOWN_LIMIT_SECONDS", shutdown_seconds + 2.0, float
            ),
            view_url=_web_url(given, "RENOVATION_VIEW_URL", default.view_url),
            host=given.get("RENOVATION_HOST", default.host),
            port=_number(given, "RENOVATION_PORT", default.port, int),
            log_level=given.get("RENOVATION_LOG_LEVEL", default.log_level).upper(),
        )


def _database_url(given: Mapping[str, str]) -> str:
    url = given.get("DATABASE_URL")
    if url is None:
        return f"sqlite+aiosqlite:///{given.get('RENOVATION_DATABASE', DEFAULT_DATABASE)}"
    scheme, separator, rest = url.partition("://")
    return f"{_ASYNC_DRIVERS.get(scheme, scheme)}{separator}{rest}"


def _web_url(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SettingError(f"{name}={text!r} is not an http(s) address; unset it or use {default}")
    return text.rstrip("/")


def _number(
    given: Mapping[str, str],
    name: str,
    default: _Number,
    convert: Callable[[str], _Number],
    at_least: int = 0,
) -> _Number:
    text = given.get(name)
    if text is None:
        return default
    try:
        value = convert(text)
    except ValueError:
        raise SettingError(f"{name}={text!r} is not a number; unset it or use {default}") from None
    if not at_least <= value < math.inf:
        raise SettingError(f"{name}={text!r} must be at least {at_least}")
    return value
