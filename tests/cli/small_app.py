"""A small backend without a line of turntrace; tests start it by `turntrace run`."""

import os

from sqlalchemy import create_engine, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

engine = create_engine("sqlite://")


def ask(_request: Request) -> PlainTextResponse:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 AS one"))
    return PlainTextResponse(str(os.getpid()))


app = Starlette(routes=[Route("/ask", ask)])
