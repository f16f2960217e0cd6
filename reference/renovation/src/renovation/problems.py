"""How errors are told to clients: problem+json over HTTP, and field errors without an echo."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from renovation.request_id import HEADER, current_request_id

logger = logging.getLogger(__name__)

_SOURCES = frozenset({"body", "path", "query", "header"})
_MESSAGES = {
    "missing": "is required",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "int_parsing": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "json_invalid": "must be JSON",
}


class FieldError(TypedDict):
    """What is wrong with one field."""

    field: str
    message: str


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Turn pydantic's errors into ours, whose text never quotes the input."""
    return [
        {"field": _field(error["loc"]), "message": _message(error["type"], error.get("ctx") or {})}
        for error in errors
    ]


def _field(location: Sequence[str | int]) -> str:
    names = location[1:] if location and location[0] in _SOURCES else location
    # A number at the top is the position of a syntax error, not a field.
    return ".".join(map(str, names)) if names and isinstance(names[0], str) else "payload"


def _message(kind: str, limits: Mapping[str, Any]) -> str:
    try:
        return _MESSAGES[kind].format_map(limits)
    except KeyError:
        return "is invalid"


def problem(
    request: Request, status: int, detail: str, errors: Sequence[FieldError] | None = None
) -> JSONResponse:
    """Return a response as RFC 9457 has it, with the request id to quote to support."""
    request_id = current_request_id.get()
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "requestId": request_id,
    }
    if errors is not None:
        body["errors"] = list(errors)
    headers = {HEADER: request_id} if request_id else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the application with problem+json."""

    async def on_http_error(request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else ""
        return problem(request, status, detail)

    async def on_invalid_request(request: Request, error: Exception) -> JSONResponse:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        return problem(request, 422, "The request is not valid.", field_errors(found))

    async def on_failure(request: Request, error: Exception) -> JSONResponse:
        logger.error("Request failed", extra={"error": type(error).__qualname__})
        return problem(request, 500, "Something went wrong on our side.")

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(Exception, on_failure)
