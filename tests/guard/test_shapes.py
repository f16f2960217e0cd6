"""Shapes have room for what honest apps put there, and none for a sentence."""

from __future__ import annotations

import pytest

from turntrace import shapes
from turntrace.shapes import Shape, Text

HONEST = {
    shapes.ID: [
        "0d9f6a4e-97a5-4c2e-9d5d-6b8d2c8a7f10",
        "-Zb1cD_9xQAAAB",  # a sid of python-socketio begins with any of its letters
        "auth0|64c2f1",
        "eve@example.com",
        "arn:aws:iam::123:role/x",
        "dGV4dA==",
        "user~7",
    ],
    shapes.MODEL: [
        "models/gemini-2.5-flash-001",
        "accounts/x/models/y",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "@cf/meta/llama-3-8b-instruct",
    ],
    shapes.ROUTE: [
        "/users/{id:int}",
        "/files/{path:path}",
        "/<int:number>/",
        r"/{name:[a-z]+\d}",
        "/socket.io/*",
    ],
    shapes.NAME: ["/chat", "shop.order_items", "chat:user_message"],
    shapes.HOST: ["::1", "[::1]", "fe80::1%eth0", "db", "10.0.0.1"],
    shapes.WORD: ["INTAKE", "tool_calls", "MAX_TOKENS"],
}
SPACES = " \t\n\r\v\f\x1c\x85\xa0\u1680\u2028\u2029\u202f\u3000\u200b"
TIGHT = [
    shape
    for shape in vars(shapes).values()
    if isinstance(shape, Text)
    and shape not in {shapes.STATEMENT, shapes.STACK, shapes.OPERATOR, shapes.SUMMARY}
]


@pytest.mark.parametrize(
    ("shape", "value"), [(shape, value) for shape, values in HONEST.items() for value in values]
)
def test_honest_values_leave(shape: Shape, value: str) -> None:
    assert shape.clean(value) == value


@pytest.mark.parametrize("shape", TIGHT, ids=lambda shape: shape.name)
@pytest.mark.parametrize("space", SPACES, ids=lambda space: f"{ord(space):04x}")
def test_no_shape_has_room_for_a_space(shape: Shape, space: str) -> None:
    for text in (f"hello{space}world", f"hello{space}", f"{space}hello", f"hello%20{space}"):
        assert shape.clean(text) is None
