"""Everything about one patient, across channels and merges, with the records; the number stays out of addresses."""

from __future__ import annotations

import pytest

from console import patients as view
from engine.store import audit, deliveries, messages
from engine.store import patients as stored


@pytest.fixture
def patient(put, store):
    """Two messages of one patient on two channels, a merge that names them, and somebody else."""
    found = [put(), put("C2", channel="siu"), put("C3", mrn="777")]
    merge = put("C4", mrn="900")
    key = store.reader.codec.keys.blind("key:100234")
    packed = messages.pack_keys((key,))
    store.writer.call(
        lambda tx: tx.execute("UPDATE message SET also_keys = ? WHERE id = ?", (packed, merge)).rowcount
    )
    for number, record in ((found[0], "res.partner,7 calendar.event,3"), (found[1], "res.partner,7")):
        sent = deliveries.Delivered(number, "odoo", "SENT", store.reader.now(), record=record)
        store.writer.call(lambda tx, sent=sent: deliveries.deliver(tx, sent))
    return [merge, found[1], found[0]]


def test_messages_of_all_channels_and_merges_are_found(patient, store):
    tx = store.reader
    who = stored.by_number(tx, "100234")
    assert stored.messages_of(tx, who) == patient
    assert stored.messages_of(tx, who, ["siu"]) == patient[1:2]
    assert stored.messages_of(tx, stored.by_message(tx, patient[2])) == patient
    assert stored.messages_of(tx, stored.by_number(tx, "10023")) == []
    found = [(one.model, one.id, one.channel, one.messages) for one in stored.records_of(tx, patient)]
    assert found == [
        ("res.partner", 7, "siu", 1),
        ("res.partner", 7, "adt", 1),
        ("calendar.event", 3, "adt", 1),
    ]


def test_the_page_tells_all_and_the_address_nothing(browser, patient, store):
    one = browser("viewer")
    asked = one.post("/patients", mrn=" 100234 ")
    place = asked.headers["location"]
    assert asked.status_code == 303 and "100234" not in place
    page = one.get(place).text
    for number in patient:
        assert f'href="/messages/{number}"' in page
    assert (
        "res.partner,7" in page
        and "calendar.event,3" in page
        and "100234" not in page
        and "Keller" not in page
    )
    rows = audit.find(store.reader, action="patient.view")
    assert len(rows) == 1 and rows[0].object.startswith("patient:") and "100234" not in str(rows)
    by_message = one.post(f"/messages/{patient[2]}/patient")
    assert by_message.headers["location"] != place, "no two references are alike"
    assert one.get(by_message.headers["location"]).status_code == 200
    assert len({row.object for row in audit.find(store.reader, action="patient.view")}) == 1


def test_nothing_is_told_of_channels_that_they_may_not_see(browser, patient):
    one = browser("adt")
    found = one.http.post(
        "/api/v1/patients", json={"mrn": "100234"}, headers={"x-csrf-token": one.csrf}
    ).json()
    assert [row["id"] for row in found["messages"]] == [patient[0], patient[2]]
    assert {written["record"]["channel"] for written in found["records"]} == {"adt"}
    assert one.post(f"/messages/{patient[1]}/patient").status_code == 404


def test_pages_go_on_where_the_last_one_ended(browser, patient):
    one = browser("viewer")
    headers = {"x-csrf-token": one.csrf}
    first = one.http.post("/api/v1/patients?limit=2", json={"mrn": "100234"}, headers=headers).json()
    assert [row["id"] for row in first["messages"]] == patient[:2] and first["total"] == 3
    path = f"/api/v1/patients/{first['reference']}?after={first['next']}"
    assert [row["id"] for row in one.get(path).json()["messages"]] == patient[2:]


def test_a_reference_that_is_old_changed_or_made_up_leads_nowhere(browser, patient, store, monkeypatch):
    one = browser("viewer")
    place = one.post("/patients", mrn="100234").headers["location"]
    assert one.get(place).status_code == 200
    other = place[:-3] + ("AAA" if place[-3:] != "AAA" else "BBB")
    for wrong in (other, "/patients/x", "/patients/%00", "/patients/" + "A" * 150, "/patients/é"):
        assert one.get(wrong).status_code == 404, wrong
    monkeypatch.setattr(view, "REFERENCE_LIFE", -1)
    late = one.post("/patients", mrn="100234").headers["location"]
    assert one.get(late).status_code == 404
