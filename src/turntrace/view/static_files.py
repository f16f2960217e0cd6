"""GET /static/...: the pages' own files and npm's, from one folder and never from outside it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER = Path(__file__).parent / "static"
YEAR_SECONDS = 365 * 24 * 3600

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served, whatever else lies in the folder; a system's own table may be wrong."""

_VERSIONED = re.compile("(?:v-([0-9a-f]{12})/)?(.+)", re.DOTALL)


class StaticFiles:
    """Serves a folder; an address with the version of the present files may be kept for good.

    The version stands in front of the path (``/static/v-0123456789ab/js/turns.js``), so that
    what a module imports by a relative path carries it too.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.resolve()
        self._signature: tuple[object, ...] = ()
        self._version = ""

    def url(self, path: str) -> str:
        """Return the address of a file, with the version of all files."""
        return f"/static/v-{self.version()}/{path}"

    def has(self, path: str) -> bool:
        """Tell whether a file is there; npm's are not where npm was missing."""
        return self._find(path) is not None

    def version(self) -> str:
        """Return a hash of all files, computed anew when one of them changed."""
        files = sorted(path for path in self._folder.rglob("*") if path.suffix in _TYPES)
        stats = [path.stat() for path in files]
        signature = tuple(
            (str(path), stat.st_mtime_ns, stat.st_size)
            for path, stat in zip(files, stats, strict=True)
        )
        if signature != self._signature:
            digest = hashlib.sha256()
            for path in files:
                digest.update(f"{path.relative_to(self._folder)}\0".encode())
                digest.update(path.read_bytes())
            self._version = digest.hexdigest()[:12]
            self._signature = signature
        return self._version

    async def serve(self, request: Request) -> Response:
        """Answer GET /static/{path}."""
        match = _VERSIONED.fullmatch(request.path_params["path"])
        given, path = match.groups() if match else (None, "")
        found = await asyncio.to_thread(self._read, path, given)
        if found is None:
            raise HTTPException(404, f"no file {path[:80]!r}")
        content, media_type, is_present_version = found
        etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
        keep = f"public, max-age={YEAR_SECONDS}, immutable" if is_present_version else "no-cache"
        headers = {"Cache-Control": keep, "ETag": etag}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        headers["Content-Type"] = media_type
        return Response(content, headers=headers)

    def _read(self, path: str, version: str | None) -> tuple[bytes, str, bool] | None:
        file = self._find(path)
        if file is None:
            return None
        return file.read_bytes(), _TYPES[file.suffix], version == self.version()

    def _find(self, path: str) -> Path | None:
        if "\0" in path or "\\" in path:
            return None
        try:
            file = (self._folder / path).resolve()
        except (OSError, RuntimeError):
            return None
        is_inside = file.is_relative_to(self._folder)
        return file if is_inside and file.suffix in _TYPES and file.is_file() else None
