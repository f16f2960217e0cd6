"""Every setting once: name, environment variable, default, meaning. Sole reader of the environment.

A value of the environment that cannot be used never stops the app: it becomes one warning that
names the variable, the value and what is used instead. Explicit arguments are the app's own
code, so they fail loudly (`ConfigurationError`).
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from turntrace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Parser = Callable[[str], Any]

N = TypeVar("N", int, float)


DEFAULT_TOKEN_EVENTS = ("*token*", "*chunk*", "*delta*")


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("is neither true nor false")


def _text(text: str) -> str:
    if any(character in text for character in "\r\n\0"):
        raise ValueError("holds a line break")
    return text.strip()


def _whole(low: int, high: int) -> Parser:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text.strip(), re.ASCII):
            raise ValueError("is not a whole number")
        return in_range(int(text), low, high)

    return parse


def _ratio(text: str) -> float:
    return in_range(float(text), 0.0, 1.0)


def in_range(value: N, low: N, high: N) -> N:
    """Return ``value`` if it lies within the bounds."""
    if math.isnan(value) or not low <= value <= high:
        raise ValueError(f"is not between {low} and {high}")
    return value


def _milliseconds(low: int, high: int) -> Parser:
    parse = _whole(low, high)
    return lambda text: parse(text) / 1000


def _endpoint(text: str) -> str:
    url = _text(text).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not a URL like http://localhost:4318")
    _ = parts.port  # raises ValueError for a port that is none
    if parts.username or parts.password:
        raise ValueError("holds a user name or password; put credentials into headers")
    return url


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in _text(text).split(","):
        if not part.strip():
            continue
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            raise ValueError("is not a list like key=value,key=value")
        pairs[key.strip()] = unquote(value.strip(), errors="strict")
    return pairs


def _choice(*words: str) -> Parser:
    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return word

    return parse


def _setting(default: Any, env: str, parse: Parser, doc: str, *, is_secret: bool = False) -> Any:
    facts = {"env": env.split(), "parse": parse, "doc": doc, "is_secret": is_secret}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Times are in seconds, sizes in what their name says."""

    enabled: bool = _setting(True, "OTEL_ENABLED", _flag, "false: nothing is patched or started")
    service_name: str = _setting(
        "unknown_service:python", "OTEL_SERVICE_NAME", _text, "name of this service"
    )
    environment: str = _setting(
        "development",
        "TURNTRACE_ENVIRONMENT",
        _text,
        "deployment environment; development keeps every trace",
    )
    resource_attributes: dict[str, str] = _setting(
        {}, "OTEL_RESOURCE_ATTRIBUTES", _pairs, "key=value pairs on every span's resource"
    )
    endpoint: str = _setting(
        "http://localhost:4318",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        _endpoint,
        "base URL of the OTLP/HTTP receiver; /v1/traces is added",
    )
    traces_endpoint: str = _setting(
        "",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        _endpoint,
        "full URL for traces; wins over the base URL",
    )
    headers: dict[str, str] = _setting(
        {},
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS OTEL_EXPORTER_OTLP_HEADERS",
        _pairs,
        "key=value pairs sent as headers; never logged",
        is_secret=True,
    )
    timeout_seconds: float = _setting(
        10.0,
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT OTEL_EXPORTER_OTLP_TIMEOUT",
        _milliseconds(1, 600_000),
        "milliseconds one export request may take in all",
    )
    compression: str = _setting(
        "gzip",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION OTEL_EXPORTER_OTLP_COMPRESSION",
        _choice("gzip", "none"),
        "gzip or none",
    )
    max_queue_size: int = _setting(
        2048, "OTEL_BSP_MAX_QUEUE_SIZE", _whole(1, 1_000_000), "finished spans that may wait"
    )
    max_batch_size: int = _setting(
        512, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _whole(1, 100_000), "spans in one request"
    )
    schedule_delay_seconds: float = _setting(
        5.0,
        "OTEL_BSP_SCHEDULE_DELAY",
        _milliseconds(1, 3_600_000),
        "milliseconds a finished span waits for company at most",
    )
    vocabulary: str = _setting(
        "both",
        "TURNTRACE_VOCABULARY",
        _choice("both", "semconv", "original"),
        "both, semconv or original attribute names",
    )
    baseline: float | None = _setting(
        None,
        "OTEL_TRACES_SAMPLER_ARG",
        _ratio,
        "share of traces kept where no rule holds; default 1.0 in development, else 0.1",
    )
    token_events: tuple[str, ...] = _setting(
        DEFAULT_TOKEN_EVENTS,
        "TURNTRACE_TOKEN_EVENTS",
        lambda text: tuple(part.strip() for part in _text(text).split(",") if part.strip()),
        "patterns of emitted Socket.IO events that are counted on the turn, not spanned",
    )

    @property
    def traces_url(self) -> str:
        """Where finished spans go."""
        return self.traces_endpoint or f"{self.endpoint}/v1/traces"

    @property
    def sampling_baseline(self) -> float:
        """The share of traces kept where no rule holds."""
        if self.baseline is not None:
            return self.baseline
        return 1.0 if self.environment == "development" else 0.1


def load(
    overrides: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """Return the settings and one warning for each environment value that cannot be used.

    Args:
        overrides: Explicit arguments by field name; they win over the environment.
        environ: The environment; the process's own by default.

    Raises:
        ConfigurationError: An override has an unknown name or an unusable value.
    """
    environ = os.environ if environ is None else environ
    overrides = overrides or {}
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    unknown = sorted(set(overrides) - set(fields))
    if unknown:
        raise ConfigurationError(
            f"configure() knows no setting {', '.join(unknown)}; it knows {', '.join(fields)}"
        )
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for name, field in fields.items():
        if name in overrides:
            values[name] = _explicit(field, overrides[name])
            continue
        for variable in field.metadata["env"]:
            text = environ.get(variable, "")
            if not text.strip():
                continue
            try:
                values[name] = field.metadata["parse"](text)
            except (ValueError, OverflowError) as error:
                warnings.append(_warning(field, variable, text, error))
                continue
            break
    settings = Settings(**values)
    if settings.max_batch_size > settings.max_queue_size:
        warnings.append(
            f"the batch size {settings.max_batch_size} (OTEL_BSP_MAX_EXPORT_BATCH_SIZE) is over"
            f" the queue size {settings.max_queue_size}; {settings.max_queue_size} is used"
        )
        settings = dataclasses.replace(settings, max_batch_size=settings.max_queue_size)
    return settings, warnings


def _default_of(field: dataclasses.Field[Any]) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    assert field.default_factory is not dataclasses.MISSING  # noqa: S101 - every field has a default
    return field.default_factory()


def _explicit(field: dataclasses.Field[Any], value: object) -> object:
    """Check an explicit argument by the rules of its environment variable."""
    try:
        if isinstance(value, str):
            parse = field.metadata["parse"]
            return value if parse is _text and _text(value) == value else parse(value)
        if isinstance(value, (int, float)) and not isinstance(_default_of(field), bool):
            is_seconds = field.name.endswith("_seconds") and not isinstance(value, bool)
            field.metadata["parse"](str(math.ceil(value * 1000)) if is_seconds else repr(value))
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"configure({field.name}={_shown(field, value)}) cannot be used: the value {error}"
        ) from error
    return value


def _warning(field: dataclasses.Field[Any], variable: str, text: str, error: Exception) -> str:
    reason = str(error)
    if not reason.startswith(("is ", "holds ")):
        reason = "cannot be read"  # texts of other libraries may quote a secret
    return (
        f"{variable}={_shown(field, text)} {reason};"
        f" using {_shown(field, _default_of(field), is_default=True)}"
    )


def _shown(field: dataclasses.Field[Any], value: object, *, is_default: bool = False) -> str:
    if is_default:
        return "no value" if value in ("", {}, None) else repr(value)
    if field.metadata["is_secret"]:
        return "(hidden)"
    text = value if isinstance(value, str) else repr(value)
    text = re.sub(r"//[^/@\s]*@", "//(hidden)@", text)
    return repr(text if len(text) <= 100 else text[:97] + "...")  # noqa: PLR2004 - one log line
