"""What the scriptable collector remembers: every span, how often and with which credentials."""

from __future__ import annotations

import gzip
import hashlib
import time
import zlib
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MAX_SPANS: Final = 1_000_000
MAX_REQUESTS: Final = 20_000
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_NO_RESOURCE: Final = 0


def credential_of(header: str) -> str:
    """Return what stands for a secret header in everything that is remembered."""
    return hashlib.sha256(header.encode("latin-1")).hexdigest()[:16]


@dataclass(slots=True)
class SpanFacts:
    """One span that was stored, by trace id and span id."""

    name: str
    parent_span_id: str
    count: int = 0
    """How often it was stored; more than 1 is a duplicate."""
    first_seconds: float = 0.0
    last_seconds: float = 0.0
    """When it was stored, on the monotonic clock of the collector."""
    resources: set[int] = field(default_factory=set)
    """Places in ``Collected.resources``."""
    credentials: set[str] = field(default_factory=set)
    """What `credential_of` says of the authorization headers it came with."""


@dataclass(slots=True)
class RequestFacts:
    """One request, whatever became of it."""

    seconds: float
    path: str
    behaviour: str
    span_count: int
    body_bytes: int
    credential: str
    header_names: list[str]
    proxy_credential: str = ""


@dataclass(slots=True)
class Collected:
    """The books of one collector; bounded, and what does not fit is counted."""

    spans: dict[bytes, SpanFacts] = field(default_factory=dict)
    requests: deque[RequestFacts] = field(default_factory=lambda: deque(maxlen=MAX_REQUESTS))
    resources: list[dict[str, str]] = field(default_factory=lambda: [{}])
    """Each different resource once; the first is the empty one."""
    answers: Counter[str] = field(default_factory=Counter)
    """How many requests met each behaviour."""
    stored: int = 0
    """Spans stored, each arrival counted."""
    rejected: int = 0
    """Spans that a partial success, or a 4xx, said were not taken."""
    unreadable: int = 0
    """Requests whose body is no OTLP."""
    over_bounds: int = 0
    """Spans that were not remembered."""
    _resource_places: dict[bytes, int] = field(default_factory=lambda: {b"": _NO_RESOURCE})

    @property
    def duplicates(self) -> int:
        """How many times a span was stored that was there already."""
        return self.stored - len(self.spans) - self.over_bounds

    def hear(self, path: str, headers: dict[str, str], behaviour: str, body: bytes) -> RequestFacts:
        """Remember a request as it arrived."""
        facts = RequestFacts(
            seconds=time.monotonic(),
            path=path,
            behaviour=behaviour,
            span_count=0,
            body_bytes=len(body),
            credential=credential_of(headers.get("authorization", "")),
            header_names=sorted(headers),
            proxy_credential=(
                credential_of(headers["proxy-authorization"])
                if "proxy-authorization" in headers
                else ""
            ),
        )
        self.requests.append(facts)
        self.answers[behaviour] += 1
        return facts

    def read(self, headers: dict[str, str], body: bytes) -> ExportTraceServiceRequest | None:
        """Return the message of a body; None, and counted, if there is none in it."""
        try:
            if headers.get("content-encoding") == "gzip":
                body = _unpacked(body)
            return ExportTraceServiceRequest.FromString(body)
        except (OSError, EOFError, zlib.error, ValueError):  # DecodeError is a ValueError
            self.unreadable += 1
        except Exception as error:
            if type(error).__name__ != "DecodeError":
                raise
            self.unreadable += 1
        return None

    def store(
        self, facts: RequestFacts, message: ExportTraceServiceRequest, rejected: int = 0
    ) -> None:
        """Remember the spans of ``message``, except for the last ``rejected`` of them."""
        total = facts.span_count = count_spans(message)
        self.rejected += min(rejected, total)
        left = total - min(rejected, total)
        for whole in message.resource_spans:
            place = self._place(whole.resource)
            for scope in whole.scope_spans:
                for span in scope.spans[:left]:
                    self._store_one(span, place, facts)
                left = max(0, left - len(scope.spans))

    def _store_one(self, span: Any, place: int, facts: RequestFacts) -> None:
        self.stored += 1
        key = span.trace_id + span.span_id
        known = self.spans.get(key)
        if known is None:
            if len(self.spans) >= MAX_SPANS:
                self.over_bounds += 1
                return
            known = SpanFacts(span.name, span.parent_span_id.hex(), first_seconds=facts.seconds)
            self.spans[key] = known
        known.count += 1
        known.last_seconds = facts.seconds
        known.resources.add(place)
        known.credentials.add(facts.credential)

    def _place(self, resource: Any) -> int:
        wire = resource.SerializeToString(deterministic=True)
        place = self._resource_places.get(wire)
        if place is None:
            place = self._resource_places[wire] = len(self.resources)
            self.resources.append(
                {item.key: item.value.string_value for item in resource.attributes}
            )
        return place

    def summary(self) -> dict[str, Any]:
        """Return the counts, as JSON takes them."""
        return {
            "spans": len(self.spans),
            "stored": self.stored,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "unreadable": self.unreadable,
            "over_bounds": self.over_bounds,
            "requests": sum(self.answers.values()),
            "answers": dict(self.answers),
            "resources": self.resources,
            "credentials": sorted({facts.credential for facts in self.requests}),
        }

    def request_list(self) -> list[dict[str, Any]]:
        """Return the latest requests, as JSON takes them."""
        return [asdict(facts) for facts in self.requests]

    def span_list(self) -> list[dict[str, Any]]:
        """Return every span, as JSON takes them."""
        return [
            {
                "trace_id": key[:16].hex(),
                "span_id": key[16:].hex(),
                **asdict(facts),
                "resources": sorted(facts.resources),
                "credentials": sorted(facts.credentials),
            }
            for key, facts in self.spans.items()
        ]


def count_spans(message: ExportTraceServiceRequest) -> int:
    """Return how many spans a request holds."""
    return sum(len(scope.spans) for whole in message.resource_spans for scope in whole.scope_spans)


def _unpacked(body: bytes) -> bytes:
    unpacked = gzip.decompress(body)
    if len(unpacked) > MAX_BODY_BYTES:
        raise ValueError("the request is too large")
    return unpacked
