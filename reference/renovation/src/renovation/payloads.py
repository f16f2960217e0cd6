"""What clients may send over Socket.IO, and what they are told when it is not that."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from renovation.problems import FieldError, field_errors


class Payload(BaseModel):
    """An event's payload, with camelCase names."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class JoinSession(Payload):
    """`chat:join_session`."""

    session_id: UUID


class Attachment(Payload):
    """A file the user uploaded before."""

    asset_id: UUID
    file_name: Annotated[str | None, Field(max_length=255)] = None


class UserMessage(Payload):
    """`chat:user_message`."""

    session_id: UUID
    content: Annotated[str, Field(min_length=1, max_length=10_000)]
    attachments: Annotated[list[Attachment], Field(max_length=5)] = []


_AnyPayload = TypeVar("_AnyPayload", bound=Payload)


class RefusedError(Exception):
    """An event that is answered with `chat:error`; the text is for the user."""

    def __init__(self, code: str, text: str, details: Sequence[FieldError] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.details = list(details)


def parse(kind: type[_AnyPayload], arguments: Sequence[Any]) -> _AnyPayload:
    """Return the payload of an event, its first argument.

    Raises:
        RefusedError: it does not have the shape of `kind`; `details` name the fields.
    """
    try:
        return kind.model_validate(arguments[0] if arguments else None)
    except ValidationError as error:
        details = field_errors(error.errors(include_url=False, include_input=False))
        # The cause quotes the input: it stays here.
        raise RefusedError("invalid_payload", "The payload is not valid.", details) from None
