"""Every bad value of the environment, in a process of its own that starts, warns and delivers."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from turntrace.settings import Settings
from turntrace.standard_variables import NO_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
START_SECONDS = 90.0
APPS_SECONDS = 280.0

pytestmark = pytest.mark.timeout(300)  # dozens of processes, on a machine that may be busy

USABLE = ""
OVER = "is over the queue size"
NOT_YET = "is not supported yet"
NO_NUMBER = "is not a whole number"
NO_URL = "is not a URL"
FAULTS = {
    ("OTEL_BSP_MAX_QUEUE_SIZE", "abc"): NO_NUMBER,
    ("OTEL_BSP_MAX_QUEUE_SIZE", "0"): "is not between",
    ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"): "is not between",
    ("OTEL_BSP_MAX_QUEUE_SIZE", "1e3"): NO_NUMBER,
    ("OTEL_BSP_MAX_QUEUE_SIZE", ""): USABLE,
    ("OTEL_BSP_SCHEDULE_DELAY", "0"): "is not between",
    ("OTEL_BSP_SCHEDULE_DELAY", "abc"): NO_NUMBER,
    ("OTEL_BSP_SCHEDULE_DELAY", "5s"): NO_NUMBER,
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"): OVER,
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"): "is not between",
    ("OTEL_BSP_EXPORT_TIMEOUT", "abc"): NO_NUMBER,
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc"): NO_NUMBER,
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"): "is not between",
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"): NO_NUMBER,
    ("OTEL_EXPORTER_OTLP_TIMEOUT", ""): USABLE,
    ("OTEL_EXPORTER_OTLP_HEADERS", "bad"): "is not a list",
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,c"): "is not a list",
    ("OTEL_EXPORTER_OTLP_HEADERS", "=x"): "is not a list",
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer tok\nX-Evil: 1"): "holds a line break",
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "garbage"): NO_URL,
    ("OTEL_EXPORTER_OTLP_ENDPOINT", ""): USABLE,
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"): NO_URL,
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"): NO_URL,
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://host:4318"): NO_URL,
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@host:4318"): "holds a user name",
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"): "is none of gzip, none",
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"): USABLE,  # case does not matter
    ("OTEL_EXPORTER_OTLP_COMPRESSION", ""): USABLE,
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"): "port 4318",
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "xml"): "is none of http/protobuf",
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nope"): "names no file that can be read",
    ("OTEL_TRACES_SAMPLER", "bogus"): "is none of always_on",
    ("OTEL_TRACES_SAMPLER_ARG", "abc"): "is not a number",
    ("OTEL_TRACES_SAMPLER_ARG", "nan"): "is not between",
    ("OTEL_TRACES_SAMPLER_ARG", "-0.1"): "is not between",
    ("OTEL_TRACES_SAMPLER_ARG", "7"): "is not between",
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-5"): NOT_YET,
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "abc"): NOT_YET,
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0"): NOT_YET,
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "abc"): NOT_YET,
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1"): NOT_YET,
    ("OTEL_RESOURCE_ATTRIBUTES", "garbage"): "is not a list",
    ("OTEL_RESOURCE_ATTRIBUTES", "a=b,,c"): "is not a list",
    ("OTEL_RESOURCE_ATTRIBUTES", "k=%ZZ"): "holds a % that encodes nothing",
    ("OTEL_ENABLED", "maybe"): "is neither true nor false",
    ("OTEL_LOG_LEVEL", "loud"): "is none of debug",
    ("OTEL_PROPAGATORS", "tracecontext,unknown"): "names a propagator",
    ("TURNTRACE_SPOOL_DIR", "/proc/nope"): "cannot hold the spool",
    ("TURNTRACE_VOCABULARY", "klingon"): "is none of both",
}
ROWS = [
    (variable, value.replace("\\n", "\n"))
    for variable, _, value in (
        line.partition("\t")
        for line in (HERE / "data" / "bad_environment.tsv").read_text().splitlines()[1:]
        if line.strip()
    )
]
INSTEAD = {
    "OTEL_BSP_MAX_QUEUE_SIZE": "2048",
    "OTEL_BSP_SCHEDULE_DELAY": "5000 (milliseconds)",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "512",
    "OTEL_BSP_EXPORT_TIMEOUT": "no value",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "10000 (milliseconds)",
    "OTEL_EXPORTER_OTLP_HEADERS": "no value",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "'{collector}'",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "'gzip'",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "'http/protobuf'",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "the system's certificates",
    "OTEL_TRACES_SAMPLER": "the ratio 1.0",
    "OTEL_TRACES_SAMPLER_ARG": "the ratio 1.0",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "128",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "the guard's own limits",
    "OTEL_RESOURCE_ATTRIBUTES": "no value",
    "OTEL_ENABLED": "true",
    "OTEL_LOG_LEVEL": "no value",
    "OTEL_PROPAGATORS": "tracecontext,baggage",
    "TURNTRACE_SPOOL_DIR": "memory only",
    "TURNTRACE_VOCABULARY": "'both'",
}
"""What a warning says is used; what the whole sentence is, except for one that is used in part."""

URL = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_URL = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
SAMPLER = "OTEL_TRACES_SAMPLER"
VARIABLES = [
    *(name for field in dataclasses.fields(Settings) for name in field.metadata["env"]),
    *NO_SETTINGS,
]

STRANGE = {
    "a line break": "s3cret\r\nturntrace: forged=1; using nothing",
    "only a line feed": "s3cret\nx",
    "a carriage return": "s3cret\rx",
    "bytes that are no UTF-8": "s3cret\udcff\udc80",
    "escapes of a terminal": "\x1b[2J\x1b]0;s3cret\x07\x85\u2028x",
    "10 kB": "x" * 10_000,
    "10 kB of letters beyond ASCII": "\U0001f373" * 2_500,
    "only spaces": "   ",
}
"""What operators and templates put into variables; at most the last one is harmless everywhere."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One environment, beside the URL of the collector."""

    environ: dict[str, str]
    warns: tuple[str, ...] = ()
    """The variables that are warned of, in any order."""
    is_delivered: bool = True


def _with(environ: dict[str, str], url: str) -> dict[str, str]:
    """Add the collector's URL by the variable that ``environ`` leaves free."""
    return {TRACES_URL if URL in environ else URL: url, **environ}


def _cases() -> dict[str, Case]:
    def bad(*rows: tuple[str, str]) -> tuple[str, ...]:
        return tuple(variable for variable, value in rows if FAULTS[variable, value])

    worst = {variable: (variable, value) for variable, value in reversed(ROWS) if value}
    worst["OTEL_EXPORTER_OTLP_COMPRESSION"] = ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip")
    late = [row for name, row in worst.items() if name != "OTEL_ENABLED"]
    # What is switched off opens no spool, so nobody knows that it cannot.
    unread = [row for row in late if row[0] != "TURNTRACE_SPOOL_DIR"]
    rows = {
        f"{variable}={value!r}": Case(environ={variable: value}, warns=bad((variable, value)))
        for variable, value in ROWS
    }
    # A strange environment is not development, so the first of them says that all is kept.
    strange = {
        f"{name} in every variable but {', '.join(left_out)}": Case(
            environ={
                **({SAMPLER: "always_on"} if SAMPLER in left_out else {}),
                **{name: text for name in VARIABLES if name not in left_out},
            }
        )
        for name, text in STRANGE.items()
        for left_out in ((URL, SAMPLER), (TRACES_URL, "TURNTRACE_ENVIRONMENT"))
    }
    return {
        **rows,
        "all at once": Case(environ=dict(worst.values()), warns=bad(*worst.values())),
        "all at once, switched off": Case(
            environ={**dict(late), "OTEL_ENABLED": "false"}, warns=bad(*unread), is_delivered=False
        ),
        "all at once, switched off by the SDK's switch": Case(
            environ={**dict(late), "OTEL_SDK_DISABLED": "true"},
            warns=bad(*unread),
            is_delivered=False,
        ),
        "all at once, warnings not wanted": Case(
            environ={**dict(worst.values()), "OTEL_LOG_LEVEL": "error"}
        ),
        "what the guard is told is absurd": Case(
            environ={
                "TURNTRACE_ATTRIBUTES": "plan.tier:free|",
                "TURNTRACE_DENIED_HOSTS": "http://host",
                "TURNTRACE_EXCEPTION_MESSAGES": "maybe",
            },
            warns=(
                "TURNTRACE_ATTRIBUTES",
                "TURNTRACE_DENIED_HOSTS",
                "TURNTRACE_EXCEPTION_MESSAGES",
            ),
        ),
        "an attribute that holds content": Case(
            environ={"TURNTRACE_ATTRIBUTES": "url.full:id"}, warns=("TURNTRACE_ATTRIBUTES",)
        ),
        "a family of attributes whose name is too long": Case(
            environ={"TURNTRACE_ATTRIBUTES": f"{'k' * 64}.*:id"}, warns=("TURNTRACE_ATTRIBUTES",)
        ),
        "more attributes than there may be": Case(
            environ={"TURNTRACE_ATTRIBUTES": ",".join(f"k{n}:id" for n in range(1_001))},
            warns=("TURNTRACE_ATTRIBUTES",),
        ),
        "the variable for traces is bad, the general one good": Case(
            environ={
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "soon",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "9000",
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "bad",
                "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
                TRACES_URL: "garbage",
            },
            warns=(
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                TRACES_URL,
            ),
        ),
        **strange,
    }


CASES = _cases()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one process."""

    code: int
    out: str
    lines: list[str]
    is_delivered: bool
    collector: str


@contextmanager
def collector() -> Iterator[tuple[str, set[str]]]:
    """Serve a collector; yield its URL and the first part of every path that spans came to."""
    paths: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            paths.add(self.path.split("/")[1])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", paths
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Start an app for each case, several at once, and wait for their ends."""
    folder = tmp_path_factory.mktemp("apps")
    with collector() as (url, paths):
        jobs = [_with(case.environ, f"{url}/{n}") for n, case in enumerate(CASES.values())]
        subprocess.run(
            [sys.executable, HERE / "bad_environment_apps.py", folder],
            input=json.dumps(jobs),
            text=True,
            timeout=APPS_SECONDS,
            check=True,
        )
    return {
        name: Outcome(
            code=int((folder / f"{n}.code").read_text()),
            out=(folder / f"{n}.out").read_text(),
            lines=(folder / f"{n}.err").read_text().removesuffix("\n").split("\n"),
            is_delivered=str(n) in paths,
            collector=url,
        )
        for n, name in enumerate(CASES)
    }


def test_every_row_of_the_list_of_bad_values_has_its_claim() -> None:
    assert set(ROWS) == set(FAULTS)
    assert {variable for variable, _ in ROWS} == set(INSTEAD)


@pytest.mark.parametrize("name", CASES, ids=lambda name: repr(name)[:60])
def test_the_app_starts_ends_well_and_delivers_what_is_not_switched_off(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[name]
    assert (outcome.code, outcome.out) == (0, ""), outcome.lines
    assert outcome.is_delivered == CASES[name].is_delivered, outcome.lines


@pytest.mark.parametrize("name", CASES, ids=lambda name: repr(name)[:60])
def test_each_variable_is_warned_of_in_one_short_line_without_secrets(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    lines = list(filter(None, outcomes[name].lines))
    found = [re.match(r"turntrace: ([A-Za-z_]+)=", line) for line in lines]
    warned = [match[1] for match in found if match]
    assert len(warned) == len(lines) == len(set(warned)), lines
    if name in STRANGE_CASES:
        assert set(warned) <= set(CASES[name].environ)
    else:
        assert sorted(warned) == sorted(CASES[name].warns)
    for line in lines:
        assert line.isprintable()
        assert len(line) < 400
        assert "; using " in line
        if "HEADERS" in line or "ENDPOINT" in line:
            assert not re.search("s3cret|secret|Bearer", line)


STRANGE_CASES = [name for name in CASES if " in every variable but " in name]


def test_a_strange_value_is_warned_of_wherever_it_is_no_free_text(
    outcomes: dict[str, Outcome],
) -> None:
    for name in STRANGE_CASES:
        warned = {
            line.partition("=")[0].removeprefix("turntrace: ") for line in outcomes[name].lines
        }
        free = {"OTEL_SERVICE_NAME", "TURNTRACE_ENVIRONMENT", "TURNTRACE_TOKEN_EVENTS"}
        is_blank = name.startswith("only spaces")
        expected = set() if is_blank else set(CASES[name].environ) - {SAMPLER}
        assert warned | free >= expected, name


@pytest.mark.parametrize(
    ("variable", "value"),
    [row for row in ROWS if FAULTS.get(row)],
    ids=lambda part: repr(part)[:40],
)
def test_the_warning_of_a_row_names_variable_value_fault_and_what_is_used(
    variable: str, value: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[f"{variable}={value!r}"]
    (line,) = outcome.lines
    is_hidden = "HEADERS" in variable or "@" in value
    assert line.startswith(f"turntrace: {variable}={'(hidden)' if is_hidden else repr(value)} ")
    assert FAULTS[variable, value] in line
    used = "2048" if value == "4096" else INSTEAD[variable]
    assert line.endswith(f"; using {used.format(collector=outcome.collector)}")


def test_a_propagator_that_does_not_exist_stops_no_library_imported_after_turntrace() -> None:
    subprocess.run(
        [sys.executable, "-c", "import turntrace, fastapi, opentelemetry.propagate"],
        env={**os.environ, "OTEL_PROPAGATORS": "unknown"},
        check=True,
        timeout=START_SECONDS,
    )


def test_the_reference_backend_starts_serves_and_stops_with_bad_values(tmp_path: Path) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer tok\nX-Evil: 1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@host:4318",
        "OTEL_BSP_MAX_QUEUE_SIZE": "abc",
        "OTEL_PROPAGATORS": "tracecontext,unknown",
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TURNTRACE_"))}
    with collector() as (url, paths):
        command = [sys.executable, "-m", "renovation", "--port", "0"]
        variables = {
            **inherited,
            **_with(environ, f"{url}/reference"),
            "RENOVATION_DATABASE": str(tmp_path / "db.sqlite3"),
            "GEMINI_BASE_URL": "http://127.0.0.1:9",
        }
        with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as backend:
            too_late = threading.Timer(START_SECONDS, backend.kill)
            too_late.start()
            lines = []
            for line in backend.stderr or ():
                lines.append(line)
                running = re.search(r"running on (http://127\.0\.0\.1:\d+)", line)
                if running:
                    assert httpx.get(f"{running[1]}/api/styles").is_success
                    backend.send_signal(signal.SIGINT)
            code = backend.wait()
            too_late.cancel()
    warnings = [json.loads(line) for line in lines if '"logger": "turntrace"' in line]
    named = sorted(warning["message"].split("=")[0] for warning in warnings)
    assert named == sorted(f"turntrace: {variable}" for variable in environ), lines
    assert code == 0, lines
    assert "reference" in paths
    assert not re.search("Traceback|secret|Bearer", "".join(lines))
