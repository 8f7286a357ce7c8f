"""Sign-in through an OpenID Connect provider in a real browser, from one site to the other and back."""

from __future__ import annotations

import json
import re
import urllib.request
from contextlib import suppress

import pytest
from engine_process import Process, free_ports, until
from oidc_provider import Provider


@pytest.fixture
def url(tmp_path):
    """An engine with a console that knows the provider."""
    provider = Provider()
    (tmp_path / "oidc.yaml").write_text(json.dumps({"providers": {"clinic": provider.settings()}}))
    (tmp_path / "channels.yaml").write_text("channels: {adt: {listener: {mllp: {port: 0}}}}")
    (port,) = free_ports()
    engine = Process(
        ["run", "-c", str(tmp_path / "channels.yaml"), "-d", str(tmp_path / "data"), "--console", f"127.0.0.1:{port}"],
        tmp_path / "log", {"ISTHMUS_OIDC": str(tmp_path / "oidc.yaml")},
    )  # fmt: skip
    engine.spawn()
    found = f"http://127.0.0.1:{port}"

    def ready():
        engine.check()
        with suppress(OSError), urllib.request.urlopen(f"{found}/ready?engine=no", timeout=2) as answer:
            return answer.status == 200
        return False

    until(ready)
    setup = re.search(r"(http://\S+/setup\?token=\S+)", engine.text)[1]
    yield found, setup
    engine.terminate()
    provider.close()


def test_one_signs_in_at_the_provider_and_is_here(chromium, url, picture):
    found, setup = url
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.goto(setup)
    page.get_by_label("Password (12 characters or more)").fill("a long sentence to type")
    page.get_by_label("The password again").fill("a long sentence to type")
    page.get_by_role("button", name="Make the admin").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign in with Clinic").wait_for()
    picture(page, "oidc-login")
    # By another name of the same machine the way over the provider crosses sites.
    page.goto(f"{found.replace('127.0.0.1', 'localhost')}/login?next=/errors")
    page.get_by_role("link", name="Sign in with Clinic").click()
    page.wait_for_url("**/errors")
    page.get_by_role("link", name="nora").wait_for()
    page.close()
