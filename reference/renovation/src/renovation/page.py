"""The chat page at `/`: plain files, strict headers, and a plain word where npm's are missing."""

import html
from pathlib import Path
from string import Template

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"

VENDORED = (
    "socket.io.esm.min.js",
    "socket.io-parser/index.js",
    "socket.io-parser/binary.js",
    "socket.io-parser/is-binary.js",
    "component-emitter/index.js",
)
"""What the page takes from npm, below `static/vendor/`; put there by `make front-end`."""

HEADERS = {
    # Everything comes from here, nothing is inline; the events' websocket is here, too.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_TEMPLATE = Path(__file__).parent / "page.html"


def missing_libraries(folder: Path = STATIC / "vendor") -> list[str]:
    """Return the files from npm that are not there, by their place in `folder`."""
    return [name for name in VENDORED if not (folder / name).is_file()]


def add_page(api: FastAPI, view_url: str, *, vendor: Path = STATIC / "vendor") -> None:
    """Serve the page at `/` and its files below `/static`; it links turns to `view_url`."""
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))

    async def get_page(_request: Request) -> HTMLResponse:
        text = template.substitute(
            view_url=html.escape(view_url),
            missing=html.escape(", ".join(missing_libraries(vendor))),
        )
        return HTMLResponse(text, headers=HEADERS)

    api.add_route("/", get_page, include_in_schema=False)
    api.mount("/static", StaticFiles(directory=STATIC), name="static")
