"""Settings: the environment only ever warns, explicit arguments fail loudly."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turntrace import setting_kinds
from turntrace.errors import ConfigurationError
from turntrace.export.transport.http_transport import HttpTransport
from turntrace.settings import Settings, load


def test_without_an_environment_every_setting_has_its_default() -> None:
    assert load(environ={}) == (Settings(), [])


def test_the_environment_is_read() -> None:
    settings, warnings = load(
        environ={
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318/",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b,x=1=2",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_TRACES_SAMPLER_ARG": "0.5",
            "OTEL_ENABLED": "FALSE",
            "TURNTRACE_TOKEN_EVENTS": "chat:token, delta",
        }
    )
    assert warnings == []
    assert settings.service_name == "shop"
    assert settings.traces_url == "https://collector.example:4318/v1/traces"
    assert settings.headers == {"api-key": "a b", "x": "1=2"}
    assert settings.timeout_seconds == 2.5
    assert settings.schedule_delay_seconds == 0.25
    assert settings.sampling_baseline == 0.5
    assert not settings.enabled
    assert settings.token_events == ("chat:token", "delta")


def test_the_variable_for_traces_wins_over_the_general_one() -> None:
    settings, _ = load(
        environ={
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1000",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2000",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/own/path",
        }
    )
    assert settings.timeout_seconds == 2.0
    assert settings.traces_url == "http://t:1/own/path"


def test_an_explicit_argument_wins_over_the_environment() -> None:
    settings, _ = load({"service_name": "code"}, {"OTEL_SERVICE_NAME": "environment"})
    assert settings.service_name == "code"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "abc"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1e3"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "garbage"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:99999999"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_TRACES_SAMPLER_ARG", "7"),
        ("OTEL_ENABLED", "maybe"),
        ("OTEL_RESOURCE_ATTRIBUTES", "garbage"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k=%ZZ%FF"),
        ("TURNTRACE_VOCABULARY", "klingon"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_warning_with_variable_value_and_what_is_used(
    variable: str, value: str
) -> None:
    settings, warnings = load(environ={variable: value})
    assert settings == Settings()
    (warning,) = warnings
    assert variable in warning
    assert value in warning
    assert "using " in warning


def test_secrets_are_in_no_warning() -> None:
    _, warnings = load(
        environ={
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer tok\nX-Evil: 1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@host:4318",
        }
    )
    assert len(warnings) == 2
    assert "tok" not in "".join(warnings).replace("stock", "")
    assert "secret" not in "".join(warnings)


def test_a_batch_larger_than_the_queue_is_made_smaller_and_said() -> None:
    settings, warnings = load(environ={"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096"})
    assert settings.max_batch_size == settings.max_queue_size == 2048
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"no_such": 1},
        {"endpoint": "garbage"},
        {"max_queue_size": 0},
        {"timeout_seconds": -1.0},
        {"baseline": 2.0},
        {"baseline": float("nan")},
        {"vocabulary": "klingon"},
    ],
)
def test_an_explicit_argument_that_cannot_be_used_raises(overrides: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(overrides, {})
    assert next(iter(overrides)) in str(raised.value)


@pytest.mark.parametrize(
    "overrides", [{"baseline": 1.0}, {"timeout_seconds": 0.5}, {"schedule_delay_seconds": 1}]
)
def test_an_explicit_argument_within_its_bounds_is_taken(overrides: dict[str, object]) -> None:
    settings, _ = load(overrides, {})
    ((name, value),) = overrides.items()
    assert getattr(settings, name) == value


def _variables() -> list[str]:
    return [name for field in dataclasses.fields(Settings) for name in field.metadata["env"]]


@given(st.dictionaries(st.sampled_from(_variables()), st.text(max_size=40)))
def test_no_environment_stops_the_app(environ: dict[str, str]) -> None:
    settings, warnings = load(environ=environ)
    assert isinstance(settings, Settings)
    assert all("\n" not in warning and "\r" not in warning for warning in warnings)


def test_propagators_that_are_installed_are_no_reason_to_warn() -> None:
    for names in ("tracecontext, baggage", "none", ""):
        assert load(environ={"OTEL_PROPAGATORS": names})[1] == []


# What is taken can be used: by the exporter, and by the network.

UNDIALLABLE = [
    "http://h o s t:4318",
    "http://[::1]x",
    "http://[::g]",
    "http://ho%zzst",
    "http://..",
    "http://a..b",
    f"http://{'a' * 70}.example",
    f"http://{'a.' * 130}b",
    "http://h:0",
    "http://h:99999",
    "http://b\u00fccher.example",
    "http://",
]
UNSENDABLE = ["auth orization=sec", "a=%0d%0aX: y", "a=\u20ac", "a=%E2%82%AC", "a=%00", "a\u0301=b"]


@pytest.mark.parametrize("url", UNDIALLABLE)
@pytest.mark.parametrize("variable", ["ENDPOINT", "TRACES_ENDPOINT"])
def test_a_url_that_nobody_can_dial_is_one_warning(variable: str, url: str) -> None:
    settings, warnings = load(environ={f"OTEL_EXPORTER_OTLP_{variable}": url})
    assert settings == Settings()
    assert len(warnings) == 1


@pytest.mark.parametrize("text", UNSENDABLE)
def test_a_header_that_http_does_not_allow_is_one_warning(text: str) -> None:
    settings, warnings = load(environ={"OTEL_EXPORTER_OTLP_HEADERS": text})
    assert settings.headers == {}
    assert len(warnings) == 1


URLS = st.from_regex(setting_kinds._URL, fullmatch=True) | st.builds(
    "http://[{}]:4318/x".format, st.ip_addresses(v=6)
)
HEADERS = st.text(max_size=30) | st.builds(
    "{}={}".format, st.text("aZ-_!#%09 :\n", min_size=1), st.text(max_size=20)
)


@given(URLS | st.text(max_size=30).map("http://".__add__), HEADERS)
def test_whatever_is_taken_from_the_environment_the_exporter_takes(url: str, text: str) -> None:
    settings, _ = load(
        environ={
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_HEADERS": text,
        }
    )
    for endpoint in (settings.traces_url, f"{settings.endpoint}/v1/traces"):
        HttpTransport(
            endpoint=endpoint, headers=settings.headers, timeout_seconds=1.0, compression="none"
        )


# Endpoints.


@pytest.mark.parametrize(
    ("base", "url", "warns"),
    [
        ("http://h:4318", "http://h:4318/v1/traces", False),
        ("http://h:4318/", "http://h:4318/v1/traces", False),
        ("http://h:4318/base/", "http://h:4318/base/v1/traces", False),
        ("http://h:4318/base?x=1", "http://h:4318/base/v1/traces", True),
        ("http://h:4318/base/#part", "http://h:4318/base/v1/traces", True),
        ("http://h:4318/v1/traces", "http://h:4318/v1/traces", True),
        ("http://h:4318/base/v1/traces/", "http://h:4318/base/v1/traces", True),
        ("http://h:4318/v1/traces?x=1", "http://h:4318/v1/traces", True),
        ("http://v1/traces", "http://v1/traces/v1/traces", False),
        ("https://[::1]:4318", "https://[::1]:4318/v1/traces", False),
    ],
)
def test_the_path_for_traces_is_appended_once_to_the_path_of_the_base_url(
    base: str, url: str, warns: bool
) -> None:
    settings, warnings = load(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": base})
    assert settings.traces_url == url
    assert len(warnings) == warns, warnings


@pytest.mark.parametrize("url", ["http://h/own/", "http://h/own/?key=1", "http://h", "http://h/"])
def test_the_url_for_traces_is_used_as_it_is(url: str) -> None:
    settings, warnings = load(environ={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url})
    assert (settings.traces_url, warnings) == (url, [])


@pytest.mark.parametrize("url", ["http://h:4318/v1/traces", "http://h:4318/?x=1"])
def test_a_base_url_in_code_that_is_none_is_refused_with_the_name_of_the_right_one(
    url: str,
) -> None:
    with pytest.raises(ConfigurationError, match="pass a full URL as traces_endpoint"):
        load({"endpoint": url}, {})


def test_an_explicit_endpoint_wins_over_the_variable_for_traces() -> None:
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other:4318/v1/traces"}
    settings, _ = load({"endpoint": "http://h:4318"}, environ)
    assert settings.traces_url == "http://h:4318/v1/traces"


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "GRPC"},
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317",
        },
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:4317/v1/traces"},
    ],
)
def test_grpc_and_its_port_are_one_warning_that_names_the_right_protocol_and_port(
    environ: dict[str, str],
) -> None:
    (warning,) = load(environ=environ)[1]
    assert "http/protobuf" in warning
    assert "4318" in warning


def test_json_over_http_is_one_warning_that_names_what_is_used() -> None:
    (warning,) = load(environ={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})[1]
    assert warning.endswith("is not supported; using 'http/protobuf'")


# The standard switches.


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_ENABLED": "false"},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_ENABLED": "true", "OTEL_SDK_DISABLED": "TRUE"},
    ],
)
def test_each_standard_switch_switches_off_and_code_switches_on(environ: dict[str, str]) -> None:
    settings, warnings = load(environ=environ)
    assert (settings.enabled, warnings) == (False, [])
    assert load({"enabled": True}, environ)[0].enabled


@pytest.mark.parametrize(
    ("environ", "ratio"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "0.3"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.3"}, 0.3),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0),
        (
            {"OTEL_TRACES_SAMPLER": "PARENTBASED_TRACEIDRATIO", "OTEL_TRACES_SAMPLER_ARG": "0.3"},
            0.3,
        ),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.3"}, 0.3),
        ({}, 0.1),
    ],
)
def test_the_standard_sampler_and_its_argument_set_the_baseline(
    environ: dict[str, str], ratio: float
) -> None:
    settings, warnings = load(environ={"TURNTRACE_ENVIRONMENT": "production", **environ})
    assert (settings.sampling_baseline, warnings) == (ratio, [])


def test_an_explicit_baseline_wins_over_the_standard_sampler() -> None:
    settings, _ = load({"baseline": 0.3}, {"OTEL_TRACES_SAMPLER": "always_off"})
    assert settings.sampling_baseline == 0.3


def test_the_time_for_an_export_shortens_that_of_a_request_but_never_lengthens_it() -> None:
    assert load(environ={"OTEL_BSP_EXPORT_TIMEOUT": "3000"})[0].timeout_seconds == 3.0
    assert load(environ={"OTEL_BSP_EXPORT_TIMEOUT": "30000"})[0].timeout_seconds == 10.0


def test_a_small_queue_alone_makes_the_batch_smaller_without_a_word() -> None:
    settings, warnings = load(environ={"OTEL_BSP_MAX_QUEUE_SIZE": "100"})
    assert (settings.max_batch_size, warnings) == (100, [])


# One name for the service and one for the environment.


@pytest.mark.parametrize(
    ("overrides", "environ", "name"),
    [
        ({}, {}, "of-attributes"),
        ({}, {"OTEL_SERVICE_NAME": "own"}, "own"),
        ({"service_name": "code"}, {"OTEL_SERVICE_NAME": "own"}, "code"),
        (
            {"resource_attributes": {"service.name": "code"}},
            {"OTEL_SERVICE_NAME": "own"},
            "code",
        ),
    ],
)
def test_the_service_name_of_the_resource_attributes_is_used_if_there_is_no_other(
    overrides: dict[str, object], environ: dict[str, str], name: str
) -> None:
    attributes = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=of-attributes,team=kitchen"}
    settings, _ = load(overrides, {**attributes, **environ})
    assert settings.service_name == name
    assert "service.name" not in settings.resource_attributes


@pytest.mark.parametrize("key", ["deployment.environment", "deployment.environment.name"])
def test_the_environment_of_the_resource_attributes_is_the_environment_and_sampling_follows(
    key: str,
) -> None:
    settings, warnings = load(environ={"OTEL_RESOURCE_ATTRIBUTES": f"{key}=prod,team=kitchen"})
    assert (settings.environment, settings.sampling_baseline) == ("prod", 0.1)
    assert settings.resource_attributes == {"team": "kitchen"}
    assert warnings == []


def test_the_environment_by_its_own_variable_wins_over_the_resource_attributes() -> None:
    settings, _ = load(
        environ={
            "TURNTRACE_ENVIRONMENT": "staging",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=prod",
        }
    )
    assert settings.environment == "staging"
    assert settings.resource_attributes == {}


# Warnings say what is used, and no secret.


@pytest.mark.parametrize(
    ("environ", "used"),
    [
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "10000 (milliseconds)"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "x", "OTEL_EXPORTER_OTLP_TIMEOUT": "250"},
            "250 (milliseconds), from OTEL_EXPORTER_OTLP_TIMEOUT",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "broken",
                "OTEL_EXPORTER_OTLP_HEADERS": "a=s3cret",
            },
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "broken"}, "no value"),
        ({"OTEL_TRACES_SAMPLER_ARG": "abc"}, "the ratio 1.0"),
        (
            {"OTEL_TRACES_SAMPLER_ARG": "abc", "TURNTRACE_ENVIRONMENT": "production"},
            "the ratio 0.1",
        ),
        ({"OTEL_TRACES_SAMPLER": "bogus", "OTEL_TRACES_SAMPLER_ARG": "0.3"}, "the ratio 0.3"),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "garbage",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1/key",
            },
            "'http://h:1'",
        ),
        ({"OTEL_ENABLED": "maybe"}, "true"),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096"}, "2048"),
    ],
)
def test_a_warning_ends_with_what_is_really_used_in_the_unit_of_the_variable(
    environ: dict[str, str], used: str
) -> None:
    (warning,) = load(environ=environ)[1]
    assert warning.endswith(f"; using {used}")


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cr/et@h:4318",
        "user:s3cret@h:4318",
        "http://us er:s3cret@h:x",
        "http://h:abc/?api_key=s3cret",
        "http://h:4318/?api_key=s3cret",
        "http://h:4317/?api_key=s3cret",
        "http://s3cret@h",
        "http://h o/s3cret",
    ],
)
@pytest.mark.parametrize("name", ["ENDPOINT", "TRACES_ENDPOINT"])
def test_no_part_of_a_url_that_may_be_secret_is_shown(name: str, url: str) -> None:
    settings, warnings = load(environ={f"OTEL_EXPORTER_OTLP_{name}": url})
    assert "s3cr" not in "".join(warnings)
    assert "s3cr" not in repr(settings)
    for argument in ("endpoint", "traces_endpoint"):
        with contextlib.suppress(ConfigurationError):
            load({argument: url}, {})
            continue
        with pytest.raises(ConfigurationError) as raised:
            load({argument: url}, {})
        assert "s3cr" not in str(raised.value)


def test_headers_are_not_in_the_repr() -> None:
    settings, _ = load(environ={"OTEL_EXPORTER_OTLP_HEADERS": "authorization=s3cret"})
    assert settings.headers == {"authorization": "s3cret"}
    assert "s3cret" not in repr(settings)


# Explicit arguments.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service_name", None),
        ("service_name", 5),
        ("service_name", ""),
        ("service_name", "a\nb"),
        ("service_name", "a\udcff"),
        ("token_events", ["a\udcff"]),
        ("enabled", None),
        ("enabled", 1),
        ("enabled", "maybe"),
        ("token_events", 5),
        ("token_events", [5]),
        ("token_events", None),
        ("environment", None),
        ("headers", {"a": 1}),
        ("headers", {"a b": "s3cret"}),
        ("headers", {"a": "s3cret\n"}),
        ("headers", [("a", "b")]),
        ("headers", None),
        ("resource_attributes", {"a": 1}),
        ("resource_attributes", {"a": "\udcff"}),
        ("resource_attributes", {"\udcff": "a"}),
        ("resource_attributes", [1]),
        ("timeout_seconds", None),
        ("timeout_seconds", 0),
        ("timeout_seconds", 601),
        ("timeout_seconds", float("nan")),
        ("timeout_seconds", True),
        ("timeout_seconds", "5s"),
        ("max_queue_size", 1.5),
        ("max_queue_size", True),
        ("max_queue_size", 10**400),
        ("baseline", "x"),
        ("baseline", True),
        ("endpoint", None),
        ("endpoint", b"http://h"),
        ("traces_endpoint", "http://"),
        ("vocabulary", None),
        ("compression", "zip"),
        ("protocol", "grpc"),
        ("sampler", "bogus"),
    ],
    ids=repr,
)
def test_every_wrong_argument_is_refused_by_name_with_what_it_takes(
    name: str, value: object
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load({name: value}, {})
    assert str(raised.value).startswith(f"configure({name}=")
    assert f"; {name} takes " in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("timeout_seconds", "5", 5.0),
        ("schedule_delay_seconds", "0.25", 0.25),
        ("max_queue_size", "100", 100),
        ("baseline", None, None),
        ("baseline", "0.5", 0.5),
        ("traces_endpoint", "", ""),
        ("token_events", ["a", "b"], ("a", "b")),
        ("token_events", (), ()),
        ("headers", {"A": "b"}, {"A": "b"}),
        ("compression", "NONE", "none"),
    ],
    ids=repr,
)
def test_an_argument_is_in_the_unit_of_its_field(name: str, value: object, taken: object) -> None:
    assert getattr(load({name: value}, {})[0], name) == taken
