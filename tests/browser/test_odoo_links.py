"""From a message that was sent to its record in Odoo (the sandbox over HTTP stands for it), and the first view."""

from __future__ import annotations

import re

import httpx
import pytest
from demo_console import Demo
from engine_process import Process, free_ports, until

from bench import first_view
from bench.processes import BenchError
from console.guard import COOKIE
from engine.odoo.links import record_url


@pytest.fixture(scope="module")
def odoo(tmp_path_factory):
    """The address of a sandbox that is served."""
    folder = tmp_path_factory.mktemp("odoo")
    (port,) = free_ports()
    served = Process(
        ["sandbox", "--listen", f"127.0.0.1:{port}", "--data", str(folder)], folder / "sandbox.log"
    )
    served.spawn()
    until(lambda: served.check() or "sandbox on http" in served.text)
    yield f"http://127.0.0.1:{port}"
    served.terminate()


@pytest.fixture(scope="module")
def demo(tmp_path_factory, odoo):
    found = Demo(tmp_path_factory.mktemp("demo"), environ={"ODOO_URL": odoo})
    yield found
    found.terminate()
    assert "Traceback" not in found.text, found.text[-3000:]


def test_a_sent_message_leads_to_its_record_in_odoo(open_page, demo, odoo):
    demo.send("LINKED", "771901")
    page = open_page("/messages?control_id=LINKED")
    until(lambda: (page.reload(), page.locator("tbody .state.sent").count())[1], every=0.3)
    page.get_by_role("link", name=re.compile(r"^\d+$")).first.click()
    link = page.locator(".timeline").get_by_role("link", name=re.compile(r"^res\.partner,\d+$"))
    number = int(link.inner_text().partition(",")[2])
    assert link.get_attribute("href") == record_url(odoo, "res.partner", number)
    assert {"noopener", "noreferrer"} <= set(link.get_attribute("rel").split())
    found = httpx.post(
        f"{odoo}/json/2/res.partner/read",
        json={"ids": [number], "fields": ["name"]},
        headers={"Authorization": "bearer sandbox", "X-Odoo-Database": "clinic"},
        trust_env=False,
    ).json()
    assert found[0]["name"] == "Astrid Lindqvist", "the number is that of the record"
    before = page.url
    to_odoo = page.context.expect_event("request", lambda one: one.url.startswith(odoo))
    with to_odoo as first, page.context.expect_page() as opened:
        link.click()
    opened.value.wait_for_load_state()
    assert opened.value.url == record_url(odoo, "res.partner", number)
    assert "referer" not in first.value.all_headers(), "where the console is, is nobody's business"
    assert opened.value.evaluate("window.opener") is None and page.url == before


def test_the_first_view_is_measured(chromium, demo, signed_in):
    """What `bench.first_view` says is of a page with its user; no figure is judged here."""
    cookie = next(one["value"] for one in signed_in["cookies"] if one["name"] == COOKIE)
    times = first_view.view(chromium, f"{demo.url}/", cookie, 4)
    assert 0 < times["answer"] < times["paint"] and times["answer"] < times["load"]
    with pytest.raises(BenchError):
        first_view.view(chromium, f"{demo.url}/", "nobody", 4)
