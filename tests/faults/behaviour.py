"""The script of the collector: what it does to one request after another, or for a while."""

from __future__ import annotations

import dataclasses
import gzip
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

STORING: Final = frozenset(
    {"up", "no_content", "empty", "json", "gzip", "drip", "partial", "lose_acknowledgement"}
)
REPLYING: Final = STORING - {"lose_acknowledgement"} | {
    "status",
    "redirect",
    "html",
    "truncated",
    "truncated_head",
    "huge",
    "bomb",
    "garbage",
}
SILENT: Final = frozenset(
    {"refuse", "hang", "close_in_body", "close_before_answer", "lose_acknowledgement"}
)
KINDS: Final = REPLYING | SILENT
_LOGIN_PAGE: Final = b"<!doctype html><html><title>Sign in</title><p>canary-of-the-page</html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One step of a script. Without ``times`` or ``seconds`` it is the last one.

    ``do`` is one of `KINDS`:

    ``up``, ``no_content`` (204), ``empty``, ``json`` and ``gzip`` store and say so, each in its
    own way; ``drip`` does so byte by byte; ``partial`` stores all but the last ``rejected`` spans;
    ``lose_acknowledgement`` stores, and resets the connection instead of answering.
    ``status`` answers with ``code`` (and ``retry_after``: seconds, or ``date+3``), ``redirect``
    with ``code`` and ``location``; ``html`` is a login page with 200. ``truncated`` announces more
    than it sends, ``truncated_head`` ends within the headers, ``huge`` sends ``reply_bytes``,
    ``bomb`` so many gzipped, ``garbage`` is no HTTP. ``refuse`` closes the port; ``hang`` accepts
    and never answers (nor reads, with ``reads=False``); ``close_in_body`` reads a part and resets,
    ``close_before_answer`` reads all and resets.
    """

    do: str = "up"
    times: int | None = None
    """For how many requests."""
    seconds: float | None = None
    """For how long, from the moment the step before it ended."""
    after_seconds: float = 0.0
    """How long it takes before it answers."""
    code: int = 503
    retry_after: str = ""
    location: str = "/login"
    rejected: int = 0
    reply_bytes: int = 8 * 1024 * 1024
    drip_seconds: float = 0.02
    """Between two bytes of a reply."""
    reads: bool = True
    """Whether ``hang`` and ``status`` take the request's body first."""
    withheld_bytes: int = 0
    """How much more a reply announces than it sends, with the connection left open."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers of the reply."""

    def __post_init__(self) -> None:
        if self.do not in KINDS:
            raise ValueError(f"no behaviour {self.do!r}: one of {', '.join(sorted(KINDS))}")
        if self.do == "refuse" and self.times is not None:
            raise ValueError("refuse goes by seconds: who is refused makes no request")

    @property
    def label(self) -> str:
        """What it is called in counts."""
        return f"{self.do}_{self.code}" if self.do in ("status", "redirect") else self.do

    def reply(self) -> bytes:
        """Return every byte of the answer."""
        return _BODIES.get(self.do, _plain_reply)(self)


UP: Final = Behaviour()


def read_script(steps: list[dict[str, Any]]) -> list[Behaviour]:
    """Return the script that JSON holds."""
    return [Behaviour(**step) for step in steps]


def script_as_json(script: list[Behaviour]) -> list[dict[str, Any]]:
    """Return a script as `read_script` takes it."""
    return [dataclasses.asdict(step) for step in script]


def _message(
    step: Behaviour, status: str, body: bytes = b"", content_type: str = "", length: int | None = -1
) -> bytes:
    headers = {"date": formatdate(usegmt=True), **step.headers}
    if content_type:
        headers["content-type"] = content_type
    if length is not None:
        headers["content-length"] = str((len(body) if length < 0 else length) + step.withheld_bytes)
    if step.retry_after:
        headers["retry-after"] = _retry_after(step.retry_after)
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _retry_after(text: str) -> str:
    if text.startswith("date+"):
        return formatdate(time.time() + float(text.removeprefix("date+")), usegmt=True)
    return text


_PROTOBUF: Final = "application/x-protobuf"


def _partial(step: Behaviour) -> bytes:
    partial = ExportTracePartialSuccess(
        rejected_spans=step.rejected, error_message="canary-of-the-collector"
    )
    body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    return _message(step, "200 OK", body, _PROTOBUF)


def _gzipped(step: Behaviour, body: bytes = b"{}") -> bytes:
    headers = {**step.headers, "content-encoding": "gzip"}
    return _message(
        dataclasses.replace(step, headers=headers), "200 OK", gzip.compress(body), "text/json"
    )


def _redirect(step: Behaviour) -> bytes:
    code = step.code if 300 <= step.code < 400 else 302
    headers = {**step.headers, "location": step.location}
    return _message(
        dataclasses.replace(step, headers=headers), f"{code} Elsewhere", _LOGIN_PAGE, "text/html"
    )


def _plain_reply(step: Behaviour) -> bytes:
    return _message(step, "200 OK", b"", _PROTOBUF)


_BODIES: Final = {
    "partial": _partial,
    "gzip": _gzipped,
    "redirect": _redirect,
    "status": lambda step: _message(
        step, f"{step.code} canary-of-the-collector", b"canary-of-the-collector", "text/plain"
    ),
    "no_content": lambda step: _message(step, "204 No Content", length=None),
    "empty": lambda step: _message(step, "200 OK"),
    "json": lambda step: _message(step, "200 OK", b'{"partialSuccess":{}}', "application/json"),
    "html": lambda step: _message(step, "200 OK", _LOGIN_PAGE, "text/html; charset=utf-8"),
    "truncated": lambda step: _message(step, "200 OK", b"\n", _PROTOBUF, length=64),
    "truncated_head": lambda step: _message(step, "200 OK", length=None)[:-20],
    "huge": lambda step: _message(step, "200 OK", b"\0" * step.reply_bytes, _PROTOBUF),
    "bomb": lambda step: _gzipped(step, b" " * step.reply_bytes + b"{}"),
    "garbage": lambda step: b"\x16\x03\x01 this is no HTTP \r\n\r\n",
}


class Script:
    """Where a script is: which step the next request meets."""

    def __init__(self, steps: list[Behaviour]) -> None:
        self._steps = list(steps)
        self._since = time.monotonic()
        self._met = 0

    def now(self) -> Behaviour:
        """Return the step that is on; ``up`` after the last one."""
        self._go_on()
        return self._steps[0] if self._steps else UP

    def meet(self) -> Behaviour:
        """Return the step for a request that has just come, and count it."""
        step = self.now()
        self._met += 1
        return step

    def seconds_until_change(self) -> float | None:
        """Return when the step that is on ends by time."""
        step = self.now()
        if step.seconds is None:
            return None
        return max(0.0, self._since + step.seconds - time.monotonic())

    def _go_on(self) -> None:
        while self._steps:
            step = self._steps[0]
            if step.seconds is not None and time.monotonic() >= self._since + step.seconds:
                self._since += step.seconds
            elif step.times is not None and self._met >= step.times:
                self._since = time.monotonic()
            else:
                return
            self._met = 0
            del self._steps[0]
