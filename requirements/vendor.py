"""Copy what the pages use from npm's folder into their static/vendor folders; run by `make setup`.

Needs npm; without it the pages say what is missing, and everything else works.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NPM_FOLDER = ROOT / "requirements" / "npm"
MODULES = NPM_FOLDER / "node_modules"

VENDORED = {
    ROOT / "src/turntrace/view/static/vendor": {
        "uPlot.esm.js": "uplot/dist/uPlot.esm.js",
        "uPlot.min.css": "uplot/dist/uPlot.min.css",
        "uPlot.LICENSE": "uplot/LICENSE",
    },
    ROOT / "reference/renovation/src/renovation/static/vendor": {
        "socket.io.esm.min.js": "socket.io-client/dist/socket.io.esm.min.js",
        "socket.io.LICENSE": "socket.io-client/LICENSE",
        "socket.io-parser/index.js": "socket.io-parser/build/esm/index.js",
        "socket.io-parser/binary.js": "socket.io-parser/build/esm/binary.js",
        "socket.io-parser/is-binary.js": "socket.io-parser/build/esm/is-binary.js",
        "socket.io-parser/LICENSE": "socket.io-parser/LICENSE",
        "component-emitter/index.js": "@socket.io/component-emitter/lib/esm/index.js",
        "component-emitter/LICENSE": "@socket.io/component-emitter/LICENSE",
    },
}
"""For each folder: the file there, and where npm puts it."""

BARE, RELATIVE = b'"@socket.io/component-emitter"', b'"../component-emitter/index.js"'
REWRITTEN = "socket.io-parser/index.js"
"""Imports its emitter by a bare name: in a browser that takes an inline import map, which a strict
Content-Security-Policy refuses; a relative address needs nothing."""


def main() -> int:
    """Fetch and copy; exit code 0 also without npm, for nothing else depends on it."""
    npm = shutil.which("npm")
    if npm is None:
        sys.stderr.write(
            "npm is not installed: the chat page and the charts of `turntrace view` stay without"
            " their libraries. Install Node.js with npm, then run `make front-end`.\n"
        )
        return 0
    # From the lock file: exact versions, checked against their hashes, no scripts.
    done = subprocess.run([npm, "ci", "--silent"], cwd=NPM_FOLDER, check=False)  # noqa: S603 - a fixed command
    if done.returncode != 0:
        sys.stderr.write(
            "npm could not fetch the libraries of the pages (see above); everything else works."
            " Try again with `make front-end`.\n"
        )
        return 0
    for folder, files in VENDORED.items():
        shutil.rmtree(folder, ignore_errors=True)
        for name, source in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(MODULES / source, folder / name)
            if name == REWRITTEN:
                _import_by_address(folder / name)
    return 0


def _import_by_address(module: Path) -> None:
    text = module.read_bytes()
    if text.count(BARE) != 1:
        sys.exit(f"{module} does not import {BARE.decode()} once: mend {Path(__file__).name}")
    module.write_bytes(text.replace(BARE, RELATIVE))


if __name__ == "__main__":
    sys.exit(main())
