"""A deletion of a number that was merged away is none of its survivor: into the Odoo stand-in, whole messages."""

import sqlite3
from contextlib import closing

import pytest
from desk import Desk, Sent

from engine.odoo.connection import SANDBOX_FILE

CONFIG = """
connections:
  clinic: {odoo: {url: "sandbox:", database: clinic, api_key: sandbox}}
channels:
  adt:
    listener: {mllp: {port: 2575}}
    destinations: {odoo: {odoo: {connection: clinic, template: patient}}}
"""


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path, CONFIG)
    made.told = 0
    yield made
    made.stop()


def tell(desk, trigger, number, old=""):
    desk.told += 1
    segments = [
        f"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000+0000||ADT^{trigger}|M{desk.told}|P|2.5.1",
        f"PID|1||{number}^^^RGH^MR||Name{number}^Nora",
    ]
    if old:
        segments.append(f"MRG|{old}^^^RGH^MR")
    desk.engine.channels["adt"].receive(Sent("\r".join([*segments, ""]).encode(), desk.now()))
    for _ in range(200):
        desk.advance(0.1)
        if not any(desk.open().values()):
            break
    states = {state for (state,) in desk.rows("SELECT state FROM delivery")}
    assert states == {"SENT"}, desk.rows("SELECT error_code, error_text FROM delivery WHERE state <> 'SENT'")


def odoo(desk, sql):
    with closing(sqlite3.connect(desk.folder / "data" / SANDBOX_FILE)) as db:
        return db.execute(sql).fetchall()


def partners(desk):
    """Those of patients: reference and whether they are active."""
    return dict(odoo(desk, "SELECT ref, active FROM res_partner WHERE ref IS NOT NULL"))


def names(desk):
    found = odoo(
        desk,
        "SELECT name FROM ir_model_data WHERE module = 'isthmus' AND model = 'res.partner' ORDER BY name",
    )
    return [name.removeprefix("res_partner.") for (name,) in found if "patient/" in name]


def test_the_survivor_stays_when_the_retired_number_is_deleted(desk):
    tell(desk, "A28", "1")
    tell(desk, "A28", "2")
    tell(desk, "A40", "1", old="2")
    tell(desk, "A29", "2")
    assert partners(desk) == {"1": 1}
    tell(desk, "A29", "1")
    assert partners(desk) == {"1": 0}


def test_a_number_that_was_never_known_is_retired_as_well(desk):
    tell(desk, "A28", "1")
    tell(desk, "A40", "1", old="2")
    tell(desk, "A29", "2")
    assert partners(desk) == {"1": 1}


def test_a_chain_of_merges_and_the_same_merge_again(desk):
    for number in "123":
        tell(desk, "A28", number)
    tell(desk, "A40", "2", old="3")
    tell(desk, "A40", "1", old="2")
    before = names(desk)
    tell(desk, "A40", "1", old="2")
    assert names(desk) == before
    for number in "32":
        tell(desk, "A29", number)
        assert partners(desk) == {"1": 1}
    tell(desk, "A08", "3")  # the record of both is still written by either
    assert odoo(desk, "SELECT name FROM res_partner WHERE ref = '3'") == [("Nora Name3",)]


def test_who_is_merged_back_is_the_survivor_again(desk):
    tell(desk, "A28", "1")
    tell(desk, "A28", "2")
    tell(desk, "A40", "1", old="2")
    tell(desk, "A40", "2", old="1")
    tell(desk, "A29", "1")
    (record,) = odoo(desk, "SELECT active FROM res_partner WHERE ref IS NOT NULL")
    assert record == (1,)
    tell(desk, "A29", "2")
    (record,) = odoo(desk, "SELECT active FROM res_partner WHERE ref IS NOT NULL")
    assert record == (0,)


def test_a_changed_number_is_retired_and_the_new_one_can_be_deleted(desk):
    tell(desk, "A28", "1")
    tell(desk, "A47", "5", old="1")
    tell(desk, "A29", "1")
    assert partners(desk) == {"5": 1}
    tell(desk, "A29", "5")
    assert partners(desk) == {"5": 0}
