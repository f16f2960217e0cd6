"""Asks a view that runs for a trace, once or until the trace is whole."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from turntrace.cli.cleaning import clean
from turntrace.errors import ConfigurationError, StoreError

LATEST = "latest"
POLL_SECONDS = 0.1
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A running view, by its address.

    Raises:
        ConfigurationError: at once for a token or an address that no view can have; from every
            question, when nobody answers there, or it is no view, or the token is wrong.
        StoreError: from every question, when the view cannot read its store.
    """

    url: str
    token: str | None = None
    _pool: urllib3.PoolManager = field(default_factory=urllib3.PoolManager)

    def __post_init__(self) -> None:
        if self.token is not None and not re.fullmatch("[!-~]+", self.token):
            raise ConfigurationError(
                "--token must be one or more printable ASCII characters, no spaces"
            )

        if not re.match("https?://", self.url):
            raise ConfigurationError(
                f"--url is {clean(self.url)!r}; it must begin with http:// or https://"
            )

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """Return a trace as the view's API describes it, or None; the newest for ``latest``."""
        if trace_id == LATEST:
            newest = self._get("/api/traces?limit=1", "traces")
            if newest is None or not newest["traces"]:
                return None
            trace_id = newest["traces"][0]["trace_id"]
        return self._get(f"/api/traces/{trace_id}", "spans")

    def whole_trace(self, trace_id: str, wait_seconds: float) -> dict[str, Any] | None:
        """Return a trace as soon as no parent in it is missing, or what there is in the end.

        A view that does not answer yet is waited for as well.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            is_last = time.monotonic() >= deadline
            try:
                trace = self.trace(trace_id)
            except ConfigurationError:
                if is_last:
                    raise
            else:
                if is_last or (trace and not any(span["is_orphan"] for span in trace["spans"])):
                    return trace
            time.sleep(POLL_SECONDS)

    def _get(self, path: str, expected: str) -> dict[str, Any] | None:
        """Return the document at a path, which must hold the expected field; None for a 404."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            response = self._pool.request(
                "GET",
                self.url.rstrip("/") + path,
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                retries=False,
                redirect=False,
            )
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise ConfigurationError(
                f"no view answers at {clean(self.url)}: start one with `turntrace view`,"
                f" or give its address with --url ({clean(str(error))})"
            ) from error
        try:
            document = json.loads(response.data)
        except (ValueError, RecursionError):
            document = None
        problem = document if isinstance(document, dict) else {}
        if response.status == HTTPStatus.NOT_FOUND and "detail" in problem:
            return None
        if response.status == HTTPStatus.SERVICE_UNAVAILABLE and "detail" in problem:
            raise StoreError(clean(str(problem["detail"])))
        if response.status == HTTPStatus.UNAUTHORIZED:
            raise ConfigurationError(f"{self.url} asks for its token: give it with --token TOKEN")
        if response.status != HTTPStatus.OK or expected not in problem:
            raise ConfigurationError(
                f"{self.url} answers ({response.status}), but not as a turntrace view does:"
                f" give a view's address with --url"
            )
        return problem
