"""Addresses of records in Odoo's web client: on the connection's server, for its version, and nothing else.

With ODOO_URL the paths are asked of a real server (without a login it sends to the login page, and knows the path).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request

import pytest

from engine.odoo.links import Record, record_url, records

SERVER = "https://odoo.example.org"


@pytest.mark.parametrize("major", [0, 16, 17])
def test_before_odoo_18_and_when_nobody_knows(major):
    wanted = f"{SERVER}/web#id=7&model=res.partner&view_type=form"
    assert record_url(f"{SERVER}/", "res.partner", 7, major) == wanted


@pytest.mark.parametrize("major", [18, 19])
def test_from_odoo_18_on(major):
    assert record_url(SERVER, "account.move", 7, major) == f"{SERVER}/odoo/account.move/7"
    assert record_url(SERVER, "x_thing", 7, major) == f"{SERVER}/odoo/m-x_thing/7"


def test_a_server_below_a_path_keeps_it():
    assert record_url("https://h/erp/", "crm.lead", 1, 19) == "https://h/erp/odoo/crm.lead/1"


@pytest.mark.parametrize(
    ("server", "model", "record"),
    [
        ("sandbox:", "res.partner", 1),
        ("sandbox:/x.db", "res.partner", 1),
        ("javascript:alert(1)", "res.partner", 1),
        (SERVER, "res.partner/../x", 1),
        (SERVER, "res partner", 1),
        (SERVER, "", 1),
        (SERVER, "res.partner", 0),
        (SERVER, "res.partner", -1),
    ],
)
def test_there_is_no_such_place(server, model, record):
    assert record_url(server, model, record, 19) == ""


def test_records_of_a_delivery():
    text = "res.partner,12 calendar.event,5 fhir/Patient,3 nothing x,01 res.partner,-1 res.partner,²"
    assert records(text) == [Record("res.partner", 12), Record("calendar.event", 5)]
    assert records(None) == records("") == []


if os.environ.get("ODOO_URL"):

    def answer(path):
        request = urllib.request.Request(path.partition("#")[0])
        try:
            with urllib.request.urlopen(request, timeout=30) as found:
                return found.status, found.geturl()
        except urllib.error.HTTPError as error:
            return error.code, path

    def test_a_real_server_knows_the_path():
        asked = urllib.request.Request(
            f"{os.environ['ODOO_URL']}/web/webclient/version_info",
            b"{}",
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=30) as found:
            major = json.load(found)["result"]["server_version_info"][0]
        for known in {0, major}:
            status, where = answer(record_url(os.environ["ODOO_URL"], "res.partner", 3, known))
            assert status == 200 and "/web/login" in where
        if major < 18:
            assert answer(record_url(os.environ["ODOO_URL"], "res.partner", 3, 19))[0] == 404
