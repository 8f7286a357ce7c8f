"""Bodies that once broke the stand-in's promise that `handle` never raises."""

from __future__ import annotations

from engine.odoo.sandbox import Sandbox


def test_a_body_of_brackets_is_a_bad_request():
    headers = {"Content-Type": "application/json", "Authorization": "bearer sandbox"}
    status, _, answer = Sandbox().handle("POST", "/json/2/res.partner/load", headers, b"[" * 100_000)
    assert status == 400 and b"could not parse the body as json" in answer
