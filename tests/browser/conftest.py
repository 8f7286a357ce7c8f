"""A real engine with its console, and a real Chromium before it.

Without Chromium (or playwright) these tests are skipped, and say so; with ISTHMUS_REQUIRE_SERVICES=1 they fail.
ISTHMUS_CHROMIUM names the program, ISTHMUS_SCREENSHOTS a folder for the pictures that the tests take.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from demo_console import PASSWORD, Demo

from console.build import STATIC, build

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    """An engine, its console and a browser on a small machine that does something else, too: no limit of speed."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(400))


def missing(what: str) -> None:
    """Skip, or fail where everything must be there."""
    if os.environ.get("ISTHMUS_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what} is missing, and ISTHMUS_REQUIRE_SERVICES is set")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    if not (STATIC / "console.js").exists() and not build():
        missing("npm (to build the console's script)")
    found = Demo(tmp_path_factory.mktemp("demo"))
    yield found
    found.terminate()
    assert "Traceback" not in found.text, found.text[-3000:]


@pytest.fixture(scope="module")
def chromium():
    api = None
    try:
        from playwright import sync_api as api
    except ImportError:
        missing("playwright")
    program = (
        os.environ.get("ISTHMUS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    )
    if program is None:
        missing("chromium")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def signed_in(chromium, demo):
    """The cookies of the first admin, who was set up in the browser."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(demo.setup)
    page.get_by_label("Password (12 characters or more)").fill(PASSWORD)
    page.get_by_label("The password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the admin").click()
    page.wait_for_url(f"{demo.url}/")
    page.goto(f"{demo.url}/users")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(chromium, demo, signed_in):
    """Opens a page as the admin; a complaint of the browser fails the test, but for a status that is `refused`, or of
    a console that is `absent`."""
    contexts, wrong = [], []

    def opened(path="/", state=signed_in, refused=0, absent=False, **settings):
        context = chromium.new_context(
            storage_state=state, base_url=demo.url, viewport=settings.pop("viewport", {"width": 1360, "height": 800}),
            **settings,
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)

        def complained(told):
            expected = re.search(rf"status of {refused}\b|Status Error Code {refused}\b", told.text) or (
                absent and re.search("ERR_|^Event$", told.text)
            )
            if told.type in ("error", "warning") and not expected:
                wrong.append(told.text)

        page.on("console", complained)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def picture(tmp_path):
    """Keeps a picture of a page."""
    folder = Path(os.environ.get("ISTHMUS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def taken(page, name, **settings):
        page.screenshot(path=folder / f"{name}.png", **settings)

    return taken
