"""Settings: the environment only ever warns, explicit arguments fail loudly."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turntrace.errors import ConfigurationError
from turntrace.settings import Settings, load

BAD = Path(__file__).parent / "data" / "bad_environment.tsv"


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


def test_no_value_of_the_list_of_bad_ones_stops_the_app() -> None:
    for line in BAD.read_text().splitlines()[1:]:
        variable, _, value = line.partition("\t")
        settings, warnings = load(environ={variable: value.replace("\\n", "\n")})
        assert isinstance(settings, Settings)
        assert len(warnings) <= 1, line
