"""Every setting once: name, environment variable, default, meaning. Sole reader of the environment.

A value of the environment that cannot be used never stops the app: it becomes one warning that
names the variable, the value and what is used instead. Explicit arguments are the app's own
code, so they fail loudly (`ConfigurationError`).
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from turntrace import attribute_setting
from turntrace import setting_kinds as kinds
from turntrace.collector_settings import CollectorSettings, find_fault_of_client
from turntrace.errors import ConfigurationError
from turntrace.setting_fields import setting
from turntrace.setting_kinds import Kind, UnusableError
from turntrace.standard_variables import NO_SETTINGS, import_propagators

if TYPE_CHECKING:
    from collections.abc import Mapping

import_propagators()  # before any module of ours, or the environment could make that raise

DEFAULT_TOKEN_EVENTS = ("*token*", "*chunk*", "*delta*")

_TRACES_PATH: Final = "/v1/traces"
_GRPC_PORT: Final = "4317"
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
_OUTRANKED: Final = {
    "enabled": ("sdk_disabled", "traces_exporter"),
    "endpoint": ("traces_endpoint",),
    "timeout_seconds": ("export_timeout_seconds",),
    "baseline": ("sampler",),
}
"""An explicit argument, and the fields of the environment that would overrule it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(CollectorSettings):
    """Everything that can be set. Times are in seconds, sizes in what their name says."""

    enabled: bool = setting(
        True, "OTEL_ENABLED", kinds.flag(), "false: nothing is patched or started"
    )
    sdk_disabled: bool = setting(
        False, "OTEL_SDK_DISABLED", kinds.flag(), "true: the same as OTEL_ENABLED=false"
    )
    traces_exporter: str = setting(
        "otlp",
        "OTEL_TRACES_EXPORTER",
        kinds.choice("otlp", "otlp_proto_http", "none"),
        "otlp; none: the same as OTEL_ENABLED=false",
    )
    service_name: str = setting(
        "unknown_service:python",
        "OTEL_SERVICE_NAME",
        kinds.text(),
        "name of this service; else service.name of the resource attributes",
    )
    environment: str = setting(
        "development",
        "TURNTRACE_ENVIRONMENT",
        kinds.text(),
        "deployment environment, else deployment.environment.name of the resource attributes;"
        " development keeps every trace",
    )
    resource_attributes: dict[str, str] = setting(
        {},
        "OTEL_RESOURCE_ATTRIBUTES",
        kinds.pairs(),
        "key=value pairs on every span's resource",
    )
    max_queue_size: int = setting(
        2048, "OTEL_BSP_MAX_QUEUE_SIZE", kinds.whole(1, 1_000_000), "finished spans that may wait"
    )
    max_batch_size: int = setting(
        512, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", kinds.whole(1, 100_000), "spans in one request"
    )
    schedule_delay_seconds: float = setting(
        5.0,
        "OTEL_BSP_SCHEDULE_DELAY",
        kinds.seconds(1, 3_600_000),
        "milliseconds a finished span waits for company at most",
    )
    export_timeout_seconds: float | None = setting(
        None,
        "OTEL_BSP_EXPORT_TIMEOUT",
        kinds.seconds(1, 3_600_000),
        "milliseconds; shortens the time of one request if it is the smaller one",
    )
    vocabulary: str = setting(
        "both",
        "TURNTRACE_VOCABULARY",
        kinds.choice("both", "semconv", "original"),
        "both, semconv or original attribute names",
    )
    sampler: str = setting(
        "",
        "OTEL_TRACES_SAMPLER",
        kinds.choice(*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS)),
        "always_on, always_off, traceidratio, or one of them after parentbased_, which means the"
        " same: a remote caller's flag never decides here",
    )
    baseline: float | None = setting(
        None,
        "OTEL_TRACES_SAMPLER_ARG",
        kinds.number(0.0, 1.0),
        "share of traces kept where no rule holds, also if no sampler is named; default 1.0 in"
        " development and for traceidratio, else 0.1",
    )
    token_events: tuple[str, ...] = setting(
        DEFAULT_TOKEN_EVENTS,
        "TURNTRACE_TOKEN_EVENTS",
        kinds.patterns(),
        "patterns of emitted Socket.IO events that are counted on the turn, not spanned",
    )
    attributes: dict[str, object] = setting(
        {},
        "TURNTRACE_ATTRIBUTES",
        attribute_setting.attributes(),
        "the app's own attributes that may leave, each with the shape of its values",
    )
    exception_messages: str = setting(
        "off",
        "TURNTRACE_EXCEPTION_MESSAGES",
        kinds.choice("off", "safe"),
        "safe: messages of exception types that were registered as content-free leave",
    )
    denied_hosts: tuple[str, ...] = setting(
        (),
        "TURNTRACE_DENIED_HOSTS",
        attribute_setting.hosts(),
        "hosts that outgoing requests carry no trace context to",
    )
    log_level: str = setting(
        "",
        "OTEL_LOG_LEVEL",
        kinds.choice("debug", "info", "warn", "warning", "error", "critical"),
        "least level of turntrace's own log lines; by default what `logging` is set to",
    )

    @property
    def traces_url(self) -> str:
        """Where finished spans go."""
        return self.traces_endpoint or f"{self.endpoint}{_TRACES_PATH}"

    @property
    def sampling_baseline(self) -> float:
        """The share of traces kept where no rule holds."""
        root = self.sampler.removeprefix("parentbased_")
        if root in ("always_on", "always_off"):
            return 1.0 if root == "always_on" else 0.0
        if self.baseline is not None:
            return self.baseline
        return 1.0 if root or self.environment == "development" else 0.1


_FIELDS: Final = {field.name: field for field in dataclasses.fields(Settings)}


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
    overrides = overrides or {}
    unknown = sorted(set(overrides) - set(_FIELDS))
    if unknown:
        raise ConfigurationError(
            f"configure() knows no setting {', '.join(unknown)}; it knows {', '.join(_FIELDS)}"
        )
    loading = _Loading(overrides, os.environ if environ is None else environ)
    settings = Settings(**loading.values)
    return settings, [loading.warning(complaint, settings) for complaint in loading.complaints]


class _Complaint(NamedTuple):
    field_name: str
    source: str
    shown: str
    reason: str


class _Loading:
    """One `load`: what each field is to be, where that comes from, and what could not be used."""

    def __init__(self, overrides: Mapping[str, object], environ: Mapping[str, str]) -> None:
        self.values: dict[str, Any] = {}
        self.complaints: list[_Complaint] = []
        self._overrides = overrides
        self._environ = environ
        self._sources: dict[str, str] = {}
        outranked = {name for winner in overrides for name in _OUTRANKED.get(winner, ())}
        for name, field in _FIELDS.items():
            if name in overrides:
                self.values[name] = _explicit(field, overrides[name])
                self._sources[name] = f"configure({name})"
            elif name not in outranked:
                self._read(field)
        self._name_the_process()
        self._switch_off()
        self._tidy_endpoint()
        self._match_client_certificate()
        self._fit_sizes()
        self._read_what_is_no_setting()

    def _read(self, field: dataclasses.Field[Any]) -> None:
        kind: Kind = field.metadata["kind"]
        for variable in field.metadata["env"]:
            text = self._environ.get(variable, "")
            is_request_header = (
                variable == "HTTP_PROXY" and "REQUEST_METHOD" in self._environ
            )  # CGI
            if not text.strip() or is_request_header:
                continue
            try:
                self.values[field.name] = kind.parse(text)
            except UnusableError as error:
                shown = "(hidden)" if field.metadata["is_secret"] else kind.quote(text)
                self.complaints.append(_Complaint(field.name, variable, shown, str(error)))
                continue
            self._sources[field.name] = variable
            break

    def _get(self, name: str) -> Any:
        return self.values.get(name, _default_of(_FIELDS[name]))

    def _name_the_process(self) -> None:
        """Let resource attributes name service and environment, so that there is one name each."""
        attributes = dict(self._get("resource_attributes"))
        is_explicit = "resource_attributes" in self._overrides
        for name, keys in (
            ("service_name", ("service.name",)),
            ("environment", ("deployment.environment.name", "deployment.environment")),
        ):
            found = next(filter(None, [attributes.pop(key, "") for key in keys]), "").strip()
            is_open = name not in self.values or (is_explicit and name not in self._overrides)
            if found and is_open:
                self.values[name] = found
        self.values["resource_attributes"] = attributes

    def _switch_off(self) -> None:
        is_off = self._get("sdk_disabled") or self._get("traces_exporter") == "none"
        self.values["enabled"] = self._get("enabled") and not is_off

    def _tidy_endpoint(self) -> None:
        """Make the base URL one that a path can be appended to, and mind gRPC's port."""
        url: str = self._get("endpoint")
        origin = kinds.origin(url)
        path = url.removeprefix(origin)
        base = path.partition("?")[0].partition("#")[0]
        reasons = ["holds a query or fragment, which a base URL cannot have"] * (base != path)
        base = base.rstrip("/")
        if base.endswith(_TRACES_PATH):
            base = base.removesuffix(_TRACES_PATH)
            reasons.append(f"ends in {_TRACES_PATH}, which is added anyway")
        if reasons and "endpoint" in self._overrides:
            raise ConfigurationError(
                f"configure(endpoint={kinds.quoted_if_harmless(url)}) cannot be used: the value"
                f" {' and '.join(reasons)}; pass a full URL as traces_endpoint"
            )
        if reasons:
            self._complain_of("endpoint", " and ".join(reasons))
        self.values["endpoint"] = origin + base.rstrip("/")
        used = "traces_endpoint" if self._get("traces_endpoint") else "endpoint"
        is_said = reasons or any("4318" in complaint.reason for complaint in self.complaints)
        if kinds.port(self._get(used)) == _GRPC_PORT and not is_said:
            self._complain_of(used, "has gRPC's port, and http/protobuf is sent, usually to 4318")

    def _match_client_certificate(self) -> None:
        """Let go of a certificate that does not belong to its key, and of a key without one."""
        certificate_file = self._get("client_certificate_file")
        key_file = self._get("client_key_file")
        if certificate_file:
            name, fault = (
                "client_certificate_file",
                find_fault_of_client(certificate_file, key_file),
            )
        else:
            name = "client_key_file"
            fault = "is of no use without a client certificate" if key_file else ""
        if fault and name in self._overrides:
            raise ConfigurationError(f"configure({name}=...) cannot be used: the value {fault}")
        names = ("client_certificate_file", "client_key_file")
        is_said = any(complaint.field_name in names for complaint in self.complaints)
        if fault and not is_said:
            self._complain_of(name, fault)
        if fault:
            self.values["client_certificate_file"] = self.values["client_key_file"] = ""

    def _complain_of(self, name: str, reason: str) -> None:
        source = self._sources[name]
        text = self._environ.get(source) or str(self.values[name])
        shown = _FIELDS[name].metadata["kind"].quote(text)
        self.complaints.append(_Complaint(name, source, shown, reason))

    def _fit_sizes(self) -> None:
        queue_size, batch_size = self._get("max_queue_size"), self._get("max_batch_size")
        if batch_size > queue_size:
            if "max_batch_size" in self._sources:
                self._complain_of("max_batch_size", f"is over the queue size {queue_size}")
            self.values["max_batch_size"] = queue_size
        limit = self._get("export_timeout_seconds")
        if limit is not None:
            self.values["timeout_seconds"] = min(limit, self._get("timeout_seconds"))

    def _read_what_is_no_setting(self) -> None:
        for variable, row in NO_SETTINGS.items():
            text = self._environ.get(variable, "").strip()
            reason = row.find_fault(text) if text else ""
            if reason:
                shown = kinds.quoted(text)
                self.complaints.append(
                    _Complaint("", variable, shown, f"{reason}; using {row.instead}")
                )

    def warning(self, complaint: _Complaint, settings: Settings) -> str:
        """Return the sentence: variable, value, reason, and what is used in the end."""
        name, source, shown, reason = complaint
        text = f"{source}={shown} {reason}"
        return f"{text}; using {self._used(name, source, settings)}" if name else text

    def _used(self, name: str, complained_of: str, settings: Settings) -> str:
        if name in ("endpoint", "traces_endpoint"):
            return repr(kinds.origin(settings.traces_url))
        if name in ("sampler", "baseline"):
            return f"the ratio {settings.sampling_baseline}"
        value, source = getattr(settings, name), self._sources.get(name, complained_of)
        if value in ("", {}, None):
            return str(_FIELDS[name].metadata["instead"])
        if _FIELDS[name].metadata["is_secret"]:
            return source
        shown: str = _FIELDS[name].metadata["kind"].show(value)
        return shown if source == complained_of else f"{shown}, from {source}"


def _explicit(field: dataclasses.Field[Any], value: object) -> object:
    """Check an explicit argument; whatever is a field's default may be given, too."""
    kind: Kind = field.metadata["kind"]
    default = _default_of(field)
    if type(value) is type(default) and value == default:
        return default
    try:
        return kind.accept(value)
    except UnusableError as error:
        is_hidden = field.metadata["is_secret"]
        shown = kind.quote(value if isinstance(value, str) else repr(value))
        raise ConfigurationError(
            f"configure({field.name}={'(hidden)' if is_hidden else shown}) cannot be used:"
            f" the value {error}; {field.name} takes {kind.takes}"
        ) from None


def _default_of(field: dataclasses.Field[Any]) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    assert field.default_factory is not dataclasses.MISSING  # noqa: S101 - every field has a default
    return field.default_factory()
