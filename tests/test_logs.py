"""The current span's ids on every line, through the real `logging`, structlog and loguru."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
import logging.handlers
import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import loguru
import pytest
import structlog
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import turntrace
from turntrace.instrument.log_records import INSTRUMENTATION
from turntrace.logs import (
    TraceContextFilter,
    get_trace_context,
    trace_context_patcher,
    trace_context_processor,
    trace_logging,
)
from turntrace.record import Resource, TracerProvider, Verdict
from turntrace.record.context import SPAN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("recorded")

IDS = {"trace_id", "span_id"}
LEVELS = ["debug", "info", "warning", "error", "critical", "exception"]
REMOTE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
REMOTE_IDS = {"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}"}


def ids_of(span: trace.Span) -> dict[str, str]:
    """Return what OpenTelemetry itself says of a span."""
    said = span.get_span_context()
    return {
        "trace_id": trace.format_trace_id(said.trace_id),
        "span_id": trace.format_span_id(said.span_id),
    }


class Lines:
    """An application's log: how it writes a line in one library, and what came out."""

    def __init__(self, log: Any, lines: list[dict[str, Any]], extra: Callable[..., Any]) -> None:
        self.log = log
        self._lines = lines
        self._with = extra

    def say(self, level: str, message: str, **fields: Any) -> dict[str, Any]:
        """Write one line and return it as message, level and ids and fields."""
        before = len(self._lines)
        self._with(self.log, level, message, fields)
        assert len(self._lines) == before + 1, "a line was lost"
        return self._lines[-1]


class Keep(logging.Handler):
    """Keeps the fields of every record that is not the standard's own."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        own = vars(logging.makeLogRecord({})).keys() - IDS
        fields = {key: value for key, value in vars(record).items() if key not in own}
        level = "exception" if record.exc_info else record.levelname.lower()
        self.lines.append({"message": record.getMessage(), "level": level, **fields})


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Offer a logger of its own that shows everything and tells nobody else."""
    made = logging.getLogger("test_logs.app")
    made.setLevel(logging.DEBUG)
    made.propagate = False
    yield made
    for handler in made.handlers[:]:
        made.removeHandler(handler)
    made.propagate = True


def _say_to_logging(log: logging.Logger, level: str, message: str, fields: Any) -> None:
    getattr(log, level)(message, extra=fields)


@contextmanager
def _stdlib(logger: logging.Logger) -> Iterator[Lines]:
    keep = Keep()
    keep.addFilter(TraceContextFilter(outside=None))
    logger.addHandler(keep)
    yield Lines(logger, keep.lines, _say_to_logging)


@contextmanager
def _everywhere(logger: logging.Logger) -> Iterator[Lines]:
    keep = Keep()
    logger.addHandler(keep)
    undo = trace_logging(outside=None)
    try:
        yield Lines(logger, keep.lines, _say_to_logging)
    finally:
        undo()


@contextmanager
def _structlog(_: logging.Logger) -> Iterator[Lines]:
    lines: list[dict[str, Any]] = []

    def keep(_logger: Any, method: str, event: Any) -> Any:
        fields = {key: value for key, value in event.items() if key not in {"event", "exc_info"}}
        level = "exception" if event.get("exc_info") else method
        lines.append({"message": event["event"], "level": level, **fields})
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[trace_context_processor, keep])
    yield Lines(
        log, lines, lambda log, level, message, fields: getattr(log, level)(message, **fields)
    )


@contextmanager
def _loguru(_: logging.Logger) -> Iterator[Lines]:
    lines: list[dict[str, Any]] = []

    def keep(message: Any) -> None:
        record = message.record
        level = "exception" if record["exception"] else record["level"].name.lower()
        lines.append({"message": record["message"], "level": level, **record["extra"]})

    number = loguru.logger.add(keep, level=0)
    log = loguru.logger.patch(trace_context_patcher)
    try:
        yield Lines(
            log,
            lines,
            lambda log, level, message, fields: getattr(log.bind(**fields), level)(message),
        )
    finally:
        loguru.logger.remove(number)


LIBRARIES = {
    "logging": _stdlib,
    "every logger": _everywhere,
    "structlog": _structlog,
    "loguru": _loguru,
}


@pytest.fixture(params=LIBRARIES)
def lines(request: pytest.FixtureRequest, logger: logging.Logger) -> Iterator[Lines]:
    loguru.logger.remove()
    with LIBRARIES[request.param](logger) as made:
        yield made


# The same claims for all three libraries.


@pytest.mark.parametrize("level", LEVELS)
def test_a_line_in_a_turn_carries_the_ids_of_its_span_at_every_level(
    lines: Lines, level: str
) -> None:
    with turntrace.turn("kitchen") as span:
        try:
            int("x")  # so that exception() has one
        except ValueError:
            line = lines.say(level, "said")
    assert line == {"message": "said", "level": level, **ids_of(span)}


@pytest.mark.parametrize("level", LEVELS[:5])
def test_a_line_outside_a_span_is_what_it_was(lines: Lines, level: str) -> None:
    assert lines.say(level, "said", room=5) == {"message": "said", "level": level, "room": 5}


def test_a_line_after_the_turn_carries_no_id(lines: Lines) -> None:
    with turntrace.turn("kitchen"):
        assert lines.say("info", "in").keys() >= IDS
    assert not lines.say("info", "after").keys() & IDS


def test_in_nested_spans_a_line_carries_the_innermost_and_afterwards_the_outer_one(
    lines: Lines,
) -> None:
    with turntrace.turn("kitchen") as outer:
        with trace.get_tracer("app").start_as_current_span("step") as inner:
            first = lines.say("info", "inner")
        second = lines.say("info", "outer")
    assert first["span_id"] == ids_of(inner)["span_id"]
    assert second["span_id"] == ids_of(outer)["span_id"]
    assert first["trace_id"] == second["trace_id"] == ids_of(outer)["trace_id"]


def test_fields_that_the_app_gave_a_value_are_kept(lines: Lines) -> None:
    with turntrace.turn("kitchen") as span:
        line = lines.say("info", "said", trace_id="mine", room=5)
    assert line == {
        "message": "said",
        "level": "info",
        "trace_id": "mine",
        "room": 5,
        "span_id": ids_of(span)["span_id"],
    }


def test_an_empty_field_is_a_place_kept_for_the_id(lines: Lines) -> None:
    with turntrace.turn("kitchen") as span:
        line = lines.say("info", "said", trace_id="", span_id=None)
    assert {key: line[key] for key in IDS} == ids_of(span)
    assert lines.say("info", "said", trace_id="")["trace_id"] == ""


def test_an_invalid_span_gives_no_id(lines: Lines) -> None:
    half = NonRecordingSpan(SpanContext(0xABC, 0, is_remote=True))
    for span in (trace.INVALID_SPAN, NonRecordingSpan(trace.INVALID_SPAN_CONTEXT), half):
        with trace.use_span(span):
            assert not lines.say("info", "said").keys() & IDS


def test_a_remote_caller_that_is_not_recorded_here_gives_its_ids(lines: Lines) -> None:
    with trace.use_span(NonRecordingSpan(REMOTE)):
        line = lines.say("info", "said")
    assert {key: line[key] for key in IDS} == REMOTE_IDS


def test_the_span_of_another_provider_gives_its_ids(lines: Lines) -> None:
    tracer = SdkTracerProvider(shutdown_on_exit=False).get_tracer("theirs")
    with tracer.start_as_current_span("their span") as span:
        line = lines.say("info", "said")
    assert {key: line[key] for key in IDS} == ids_of(span)


def test_the_text_is_not_touched_whatever_it_holds(lines: Lines) -> None:
    with turntrace.turn("kitchen"):
        for text in ("100 %", "%(trace_id)s {trace_id} {}", "caf\u00e9 \u2028 \U0001f373"):
            assert lines.say("info", text)["message"] == text


async def test_tasks_of_two_turns_at_once_carry_each_its_own_ids(lines: Lines) -> None:
    both = asyncio.Barrier(2)

    async def answer() -> tuple[dict[str, str], dict[str, Any]]:
        with turntrace.turn("kitchen") as span:
            await both.wait()
            line = await asyncio.create_task(said_in_a_task())
            await both.wait()
            return ids_of(span), line

    async def said_in_a_task() -> dict[str, Any]:
        await inside.wait()
        return lines.say("info", "said")

    inside = asyncio.Barrier(2)
    results = await asyncio.gather(answer(), answer())
    for ids, line in results:
        assert {key: line[key] for key in IDS} == ids
    assert results[0][0] != results[1][0]


async def test_a_thread_that_asyncio_starts_for_the_turn_carries_its_ids(lines: Lines) -> None:
    with turntrace.turn("kitchen") as span:
        line = await asyncio.to_thread(lines.say, "info", "said")
    assert {key: line[key] for key in IDS} == ids_of(span)


def test_a_span_that_cannot_say_its_ids_costs_no_line(lines: Lines) -> None:
    class Broken(NonRecordingSpan):
        def get_span_context(self) -> SpanContext:
            raise RuntimeError("no ids")

    with trace.use_span(Broken(REMOTE)):
        assert lines.say("info", "said") == {"message": "said", "level": "info"}


# get_trace_context.


def test_the_context_is_empty_outside_a_span_and_both_ids_inside() -> None:
    assert get_trace_context() == {}
    with turntrace.turn("kitchen") as span:
        assert get_trace_context() == ids_of(span)
        assert [len(value) for value in get_trace_context().values()] == [32, 16]
    assert get_trace_context() == {}


def test_the_context_names_a_trace_that_is_not_kept() -> None:
    provider = TracerProvider(
        Resource({}), lambda _: None, decide=lambda *_: Verdict(False, "test", 0.0)
    )
    with provider.get_tracer("app").start_as_current_span("x") as span:
        assert get_trace_context() == ids_of(span)


def test_what_is_current_and_no_span_at_all_gives_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = context.attach(context.set_value(SPAN_KEY, object()))
    assert get_trace_context() == {}
    context.detach(token)
    assert caplog.records == []


# logging.


def _formatted(logger: logging.Logger, **arguments: Any) -> io.StringIO:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("[%(trace_id)s %(span_id)s] %(message)s"))
    handler.addFilter(TraceContextFilter(**arguments))
    logger.addHandler(handler)
    return written


def test_a_format_that_names_the_ids_works_in_and_outside_a_span(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    written = _formatted(logger)
    logger.info("before")
    with turntrace.turn("kitchen") as span:
        logger.info("in %s", "it")
    ids = ids_of(span)
    assert written.getvalue() == f"[ ] before\n[{ids['trace_id']} {ids['span_id']}] in it\n"
    assert capsys.readouterr().err == ""


def test_what_the_fields_hold_outside_a_span_can_be_chosen(logger: logging.Logger) -> None:
    written = _formatted(logger, outside="-")
    logger.info("before")
    assert written.getvalue() == "[- -] before\n"


def test_bound_ids_become_fields_if_asked_for(logger: logging.Logger) -> None:
    keep = Keep()
    keep.addFilter(TraceContextFilter(bound=["request_id", "session_id"]))
    logger.addHandler(keep)
    with turntrace.turn("kitchen"):
        turntrace.bind(request_id="r1", user_id="u1")
        logger.info("said")
    logger.info("after")
    inside, after = keep.lines
    assert (inside["request_id"], inside["session_id"]) == ("r1", "")
    assert "user_id" not in inside
    assert (after["request_id"], after["trace_id"]) == ("", "")


def test_a_bound_id_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"knows no nme; it knows session_id, user_id"):
        TraceContextFilter(bound=["nme"])


def test_the_filter_can_be_named_in_a_dict_config() -> None:
    row = {"()": "turntrace.logs.TraceContextFilter", "outside": "-"}
    made = logging.config.DictConfigurator({}).configure_filter(row)
    record = logging.makeLogRecord({})
    assert made.filter(record)
    assert (record.trace_id, record.span_id) == ("-", "-")


def test_in_front_of_a_queue_the_filter_sees_the_span_of_the_writer(
    logger: logging.Logger,
) -> None:
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    in_front = logging.handlers.QueueHandler(waiting)
    in_front.addFilter(TraceContextFilter())
    logger.addHandler(in_front)
    keep = Keep()
    listener = logging.handlers.QueueListener(waiting, keep)
    listener.start()
    with turntrace.turn("kitchen") as span:
        logger.info("said")
    listener.stop()
    assert {key: keep.lines[0][key] for key in IDS} == ids_of(span)


def test_a_formatter_that_writes_every_field_writes_the_apps_and_ours(
    logger: logging.Logger,
) -> None:
    class Json(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return json.dumps({**vars(record), "message": record.getMessage()}, default=str)

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(Json())
    handler.addFilter(TraceContextFilter())
    logger.addHandler(handler)
    with turntrace.turn("kitchen") as span:
        logger.info("said", extra={"room": 5, "request_id": "r1"})
    line = json.loads(written.getvalue())
    assert (line["room"], line["request_id"], line["message"]) == (5, "r1", "said")
    assert {key: line[key] for key in IDS} == ids_of(span)


# Every logger of the process.


def test_every_logger_also_one_that_does_not_propagate_and_is_made_later(
    logger: logging.Logger,
) -> None:
    undo = trace_logging()
    try:
        keep = Keep()
        logger.addHandler(keep)
        child = logger.getChild("later")
        with turntrace.turn("kitchen") as span:
            child.info("said")
            logging.LoggerAdapter(logger, {}).info("said")
        logger.info("after")
    finally:
        undo()
    assert [{key: line[key] for key in IDS} for line in keep.lines] == [
        ids_of(span),
        ids_of(span),
        dict.fromkeys(IDS, ""),
    ]


def test_taken_back_the_library_is_exactly_as_it_was(logger: logging.Logger) -> None:
    before = logging.Logger.handle
    undo = trace_logging()
    assert logging.Logger.handle is not before
    undo()
    undo()
    assert logging.Logger.handle is before


def test_taken_back_in_any_order_nothing_is_filled_in_any_more(logger: logging.Logger) -> None:
    before = logging.Logger.handle
    keep = Keep()
    logger.addHandler(keep)
    first, second = trace_logging(), trace_logging()
    first()
    with turntrace.turn("kitchen"):
        logger.info("by the second")
    second()
    with turntrace.turn("kitchen"):
        logger.info("by none")
    logging.Logger.handle = before  # type: ignore[method-assign] # ours stays, transparent
    assert [line.keys() >= IDS for line in keep.lines] == [True, False]


def test_the_place_of_a_line_is_still_that_of_the_app(logger: logging.Logger) -> None:
    places: list[str] = []

    class Place(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            places.append(record.funcName or "")

    logger.addHandler(Place())
    undo = trace_logging()
    logger.info("said")
    undo()
    assert places == ["test_the_place_of_a_line_is_still_that_of_the_app"]


def test_as_an_instrumentation_it_is_switched_on_once_and_off_again(
    logger: logging.Logger,
) -> None:
    before = logging.Logger.handle
    keep = Keep()
    logger.addHandler(keep)
    INSTRUMENTATION.instrument()
    INSTRUMENTATION.instrument()
    with turntrace.turn("kitchen") as span:
        logger.info("in")
    logger.info("outside")
    INSTRUMENTATION.uninstrument()
    INSTRUMENTATION.uninstrument()
    assert logging.Logger.handle is before
    assert keep.lines[0] == {"message": "in", "level": "info", **ids_of(span)}
    assert keep.lines[1] == {"message": "outside", "level": "info"}


# structlog and loguru.


def test_structlog_over_logging_gives_lines_of_both_their_ids(logger: logging.Logger) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[trace_context_processor],
        )
    )
    logger.addHandler(handler)
    log = structlog.wrap_logger(
        logger,
        processors=[
            trace_context_processor,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    with turntrace.turn("kitchen") as span:
        log.info("by structlog", room=5)
        logger.info("by logging")
    ours, foreign = map(json.loads, written.getvalue().splitlines())
    assert ours == {"event": "by structlog", "room": 5, **ids_of(span)}
    assert foreign == {"event": "by logging", **ids_of(span)}


@pytest.mark.parametrize("level", ["trace", "success"])
def test_the_levels_that_only_loguru_has_carry_the_ids_too(
    logger: logging.Logger, level: str
) -> None:
    with _loguru(logger) as lines, turntrace.turn("kitchen") as span:
        line = lines.say(level, "said")
    assert line == {"message": "said", "level": level, **ids_of(span)}


def test_loguru_keeps_what_was_bound_and_a_format_works_in_and_outside_a_span() -> None:
    written = io.StringIO()
    loguru.logger.remove()
    loguru.logger.configure(
        handlers=[{"sink": written, "format": "[{extra[trace_id]}] {message} {extra[room]}"}],
        extra={"trace_id": "", "span_id": "", "room": 0},
        patcher=trace_context_patcher,
    )
    try:
        loguru.logger.info("before")
        with turntrace.turn("kitchen") as span, loguru.logger.contextualize(room=5):
            loguru.logger.info("in")
    finally:
        loguru.logger.configure(handlers=[], extra={}, patcher=lambda _: None)
    assert written.getvalue() == f"[] before 0\n[{ids_of(span)['trace_id']}] in 5\n"
