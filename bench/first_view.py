"""How long a weak laptop waits for the console: first contentful paint and load of a page nothing of which is cached.

Run: python -m bench.first_view [--stored 200000] [--repeat 9] [--slower 4]
Headless Chromium (ISTHMUS_CHROMIUM names the program) with its processor slowed down `--slower` times, a new profile
for each view, a user who is signed in, and an engine at work: on the store that the demo leaves, and on one with
`--stored` messages. Milliseconds from the start of the navigation, medians: `answer` until the page's HTML is there,
`paint` until the first text is seen (first contentful paint), `load` until everything of it is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.console import USER, open_console, token
from bench.processes import CHANNEL, HOST, ROOT, BenchError, Server, engine, free_port, running, scratch
from bench.search_store import fill
from console.guard import COOKIE
from engine.security.keyring import open_keyring
from engine.store import users
from engine.store.store import open_store

PAGES = ("/", "/messages")
PORTS = ("ADT_PORT", "SIU_PORT", "FHIR_PORT")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
TIMES = """async () => {
  const painted = () => performance.getEntriesByName("first-contentful-paint")[0];
  const navigation = performance.getEntriesByType("navigation")[0];
  while (!painted() || !navigation.loadEventEnd) await new Promise(done => setTimeout(done, 20));
  return {answer: navigation.responseEnd, paint: painted().startTime, load: navigation.loadEventEnd};
}"""


@contextmanager
def demo(data: Path) -> Iterator[None]:
    """The shipped channels with what the demo leaves, the engine at work."""
    shutil.copytree(ROOT / "config", data)
    ports = {name: str(free_port()) for name in PORTS}
    os.environ |= ports
    where = ["--config", str(data / "channels.yaml"), "--data", str(data)]
    done = subprocess.run(
        [sys.executable, "run_engine.py", "demo", "--once", *where], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"the demo failed: {done.stderr[-2000:]}", code="bench.demo")
    with running(Server("run_engine.py", "run", *where, "--no-console", port=int(ports[PORTS[0]]))) as server:
        server.wait_open()
        yield


@contextmanager
def many(folder: Path, data: Path, stored: int) -> Iterator[None]:
    """One channel with this many messages, the engine at work."""
    data.mkdir()
    keyring = open_keyring(data)
    store = open_store(data, keyring)
    fill(store, keyring, stored, lambda line: None)
    store.close()
    with running(engine(folder, config=CHANNEL, data=data)):
        yield


def session(data: Path) -> str:
    """The cookie of a user who may see everything."""
    token(data)  # makes the user
    store = open_store(data, open_keyring(data), mode="client")
    try:
        return store.writer.call(lambda tx: users.sign_in(tx, USER, HOST)[0])
    finally:
        store.close()


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BenchError("playwright is missing: pip install -e '.[dev]'", code="bench.browser") from None
    program = (
        os.environ.get("ISTHMUS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    )
    if program is None:
        raise BenchError("there is no Chromium; ISTHMUS_CHROMIUM names one", code="bench.browser")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield found
        found.close()


def view(chromium: Any, url: str, cookie: str, slower: float) -> dict[str, float]:
    """The times of one view in a profile of its own."""
    context = chromium.new_context(viewport={"width": 1360, "height": 800})
    context.add_cookies([{"name": COOKIE, "value": cookie, "url": url}])
    page = context.new_page()
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    answer = page.goto(url)
    if answer.status != 200 or "/login" in page.url:
        raise BenchError(f"{url} answered {answer.status} at {page.url}", code="bench.view")
    times: dict[str, float] = page.evaluate(TIMES)
    context.close()
    return times


def run(folder: Path, stored: int, repeat: int, slower: float) -> dict[str, Any]:
    """Both stores."""
    figures: dict[str, Any] = {"slower": slower, "stored": stored, "repeat": repeat}
    for name, prepared in (("demo", demo(folder / "demo")), ("many", many(folder, folder / "many", stored))):
        with ExitStack() as stack:
            stack.enter_context(prepared)
            console, url = open_console(folder / name)
            stack.enter_context(running(console))
            cookie, chromium = session(folder / name), stack.enter_context(browser())
            for path in PAGES:
                views = [view(chromium, url + path, cookie, slower) for _ in range(repeat)]
                figures[f"{name} {path}"] = {
                    **{f"{key}_ms": round(median(one[key] for one in views)) for key in views[0]},
                    "slowest_paint_ms": round(max(one["paint"] for one in views)),
                }
                print(name, path, figures[f"{name} {path}"], file=sys.stderr, flush=True)
    return figures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stored", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--slower", type=float, default=4)
    given = parser.parse_args()
    with scratch() as folder:
        print(json.dumps(run(folder, given.stored, given.repeat, given.slower)))


if __name__ == "__main__":
    main()
