"""What a FHIR server only names is read from it: whole resources reach the steps, in order, and are kept.

Guaranteed here: an outage, a slow server or a crash loses nothing and doubles nothing; deletions are confirmed; a
resource on which the server fails is an error of its own message; replay works on what was read.
"""

import json

import pytest
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk
from web import post

CONFIG = (
    CONNECTION
    + """
channels:
  hook:
    format: fhir
    listener:
      fhir_subscription: {port: 8080, path: /fhir/hook, connection: ehr}
    filters: [{message_type: {deny: [Basic]}}]
    destinations: {out: {scripted: {name: out}}}
"""
)


@pytest.fixture
def desk(tmp_path):
    with scripted() as destinations:
        made = FhirDesk(tmp_path, CONFIG)
        made.out = destinations["out"]
        yield made
        made.stop()


def patient(desk, id_="1", **more):
    return desk.server.put({"resourceType": "Patient", "id": id_, **more})[0]


def told(desk, *references, **entries):
    """An id-only notification of these."""
    events = [{"focus": {"reference": reference}} for reference in references]
    status = {
        "resourceType": "SubscriptionStatus", "type": "event-notification", "status": "active",
        "subscription": {"reference": "Subscription/7"}, "notificationEvent": events,
    }  # fmt: skip
    body = {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}]}
    status, _, _ = post(desk, json.dumps(body).encode(), path="/fhir/hook")
    assert status == 200


def deleted(desk, reference, trace="t-1"):
    headers = [f"x-trace-id: {trace}"]
    assert post(desk, b"", headers, f"/fhir/hook/{reference}", "DELETE")[0] == 200


def rows(desk, where="type NOT IN ('r4b')"):
    return desk.rows(f"SELECT type, state, control_id, reason, error_code FROM message WHERE {where}")


def versions(desk):
    """What reached the destination."""
    return desk.out.effects


def test_a_named_resource_is_read_and_goes_through_as_itself(desk):
    found = patient(desk, name=[{"family": "Keller"}])
    told(desk, "Patient/1")
    note, resource = rows(desk)
    assert note[:2] == ("Patient.unread", "FILTERED") and note[3] == "Patient/1 is read; it follows"
    version = f"Patient/1/_history/{found['meta']['versionId']}"
    assert resource[:3] == ("Patient", "TRANSFORMED", version)
    ((raw, parent),) = desk.rows("SELECT id, parent_id FROM message WHERE type = 'Patient'")
    from engine.store.messages import raw as raw_of

    assert json.loads(raw_of(desk.engine.store.reader, raw)) == found  # byte for byte what was read
    assert desk.rows("SELECT type FROM message WHERE id = ?", parent) == [("Patient.unread",)]
    assert versions(desk) == [version] and desk.open() == {"hook": 0}


def test_several_in_one_bundle_are_read_at_once_and_stay_in_order(desk):
    for number in range(5):
        patient(desk, str(number))
    desk.server.faults = lambda method, path: 1.0 if "Patient" in path else None
    told(desk, *[f"Patient/{number}" for number in range(5)])
    desk.advance(1.0)
    desk.advance(1.0)  # four at a time
    assert [name.split("/")[1] for name in versions(desk)] == list("01234")


def test_an_outage_makes_them_wait_in_order(desk):
    patient(desk, "1")
    second = patient(desk, "2")
    site = desk.network.sites.pop(9000)
    told(desk, "Patient/1")
    post(desk, json.dumps(second).encode(), path="/fhir/hook")
    desk.until(lambda: "fhir.unreachable" in desk.engine.channels["hook"].status()["why"])
    assert rows(desk)[0][1] == "RECEIVED" and versions(desk) == []
    desk.network.sites[9000] = site
    desk.until(lambda: len(versions(desk)) == 2)
    assert desk.open() == {"hook": 0} and desk.engine.channels["hook"].status()["why"] == ""


def test_busy_and_gateway_errors_wait_and_an_answer_ends_it(desk):
    patient(desk, "1")
    faults = [(503, {"Retry-After": "3"}, b""), (502, {}, b"<html>"), (429, {}, b""), "drop"] * 3
    desk.server.faults = lambda method, path: faults.pop() if faults else None
    told(desk, "Patient/1")
    desk.until(lambda: versions(desk))
    assert [row[1] for row in rows(desk)] == ["FILTERED", "TRANSFORMED"]


def test_a_resource_on_which_the_server_fails_is_an_error_of_its_own(desk):
    patient(desk, "1")
    patient(desk, "2")
    desk.server.faults = lambda method, path: (500, {}, b"{}") if path.endswith("/1") else None
    told(desk, "Patient/1", "Patient/2")
    desk.until(lambda: versions(desk))
    assert [(row[1], row[4]) for row in rows(desk)] == [
        ("ERROR", "fhir.failed"), ("FILTERED", None), ("TRANSFORMED", None),
    ]  # fmt: skip
    desk.server.faults = lambda method, path: None
    (note,) = desk.rows("SELECT id FROM message WHERE state = 'ERROR'")
    desk.act_on([note[0]], "replay")
    desk.until(lambda: len(versions(desk)) == 2)


@pytest.mark.parametrize(
    ("reference", "code"),
    [("Patient/..", None), ("https://evil.example/x/Patient/1", None), ("Basic", "fhir.unread"), ("", "fhir.unread")],
)  # fmt: skip
def test_references_that_lead_elsewhere(desk, reference, code):
    """The type and id alone are taken of a reference: nothing but our own server is ever asked."""
    told(desk, reference)
    assert all(line.startswith("GET Patient/1") for line in desk.server.log)
    assert code is None or rows(desk)[0][4] == code


def test_no_right_is_an_error_and_a_refused_login_is_held(desk):
    patient(desk, "1")
    desk.server.faults = lambda method, path: (403, {}, b"{}")
    told(desk, "Patient/1")
    assert rows(desk)[0][1:5:3] == ("ERROR", "fhir.access")
    desk.server.faults = lambda method, path: (401, {}, b"{}")
    told(desk, "Patient/1")
    desk.advance(30)
    assert rows(desk)[-1][1] == "RECEIVED"
    assert "fhir.login" in desk.engine.channels["hook"].status()["why"]
    desk.server.faults = lambda method, path: None
    desk.advance(31)
    assert len(versions(desk)) == 1


@pytest.mark.parametrize("known", [True, False])
def test_what_is_not_there_any_more_becomes_its_deletion(desk, known):
    if known:
        patient(desk, "1")
        desk.server.remove("Patient", "1")
    told(desk, "Patient/1")
    found = rows(desk)
    assert [row[:2] for row in found] == [("Patient.unread", "FILTERED"), ("Patient.deleted", "TRANSFORMED")]
    assert found[0][3] == "Patient/1 is not there; its deletion follows"
    assert desk.server.log == ["GET Patient/1"] * 2  # once more when the turn of the deletion comes


def test_a_deletion_is_believed_when_the_server_says_so_itself(desk):
    found = patient(desk, "1")
    deleted(desk, "Patient/1")
    assert [row[:2] for row in rows(desk)] == [("Patient.deleted", "FILTERED"), ("Patient", "TRANSFORMED")]
    assert rows(desk)[0][3] == "Patient/1 was told to be deleted and is there; it follows"
    assert versions(desk) == [f"Patient/1/_history/{found['meta']['versionId']}"]
    desk.server.remove("Patient", "1")
    deleted(desk, "Patient/1", "t-2")
    assert [row[:2] for row in rows(desk)][2:] == [("Patient.deleted", "TRANSFORMED")]


def test_a_deletion_is_true_that_a_cache_of_the_server_does_not_show(desk):
    """What is read while it is deleted, Medplum shows for a day; its history tells the deletion."""
    found = patient(desk, "1")
    post(desk, json.dumps(found).encode(), path="/fhir/hook")
    desk.server.remove("Patient", "1")
    desk.server.cached.add("Patient/1")
    deleted(desk, "Patient/1")
    done = [("Patient", "TRANSFORMED"), ("Patient.deleted", "TRANSFORMED")]
    assert [row[:2] for row in rows(desk)] == done
    late = {**found, "meta": {"versionId": "late", "lastUpdated": "2026-01-01T00:00:00Z"}}
    for one in ({**found, "language": "en"}, late):  # retries that come behind it
        post(desk, json.dumps(one).encode(), path="/fhir/hook")
    assert [row[:2] for row in rows(desk)] == [*done, ("Patient", "FILTERED"), ("Patient", "FILTERED")]
    again = patient(desk, "1", active=True)
    deleted(desk, "Patient/1", "t-2")
    assert versions(desk)[-1] == f"Patient/1/_history/{again['meta']['versionId']}"


@pytest.mark.parametrize("read", [False, True])
def test_a_deletion_never_meets_what_was_made_anew_behind_it(desk, read):
    """The server says that it is gone; it is made anew and told of before the deletion is routed."""
    site = desk.network.sites.pop(9000)
    (lambda: told(desk, "Patient/1"))() if read else deleted(desk, "Patient/1")
    again = patient(desk, "1", active=True)
    post(desk, json.dumps(again).encode(), path="/fhir/hook")
    gone = [(410, {}, b"{}")]
    desk.server.faults = lambda method, path: gone.pop() if gone else None
    desk.network.sites[9000] = site
    desk.until(lambda: not desk.open()["hook"])
    assert versions(desk)[-1].endswith(again["meta"]["versionId"])


def test_the_same_deletion_twice_within_an_hour_is_done_twice(desk):
    for _ in range(2):
        made = patient(desk, "1")
        post(desk, json.dumps(made).encode(), path="/fhir/hook")
        desk.server.remove("Patient", "1")
        assert post(desk, b"", [], "/fhir/hook/Patient/1", "DELETE")[0] == 200
    states = [row[:2] for row in rows(desk)]
    assert states == [("Patient", "TRANSFORMED"), ("Patient.deleted", "TRANSFORMED")] * 2


def test_nobody_can_say_that_a_deletion_is_confirmed(desk):
    tags = [{"system": "urn:isthmus:notification", "code": code} for code in ("deleted", "confirmed")]
    body = {
        "resourceType": "Bundle", "type": "history", "meta": {"tag": tags},
        "entry": [{"request": {"method": "DELETE", "url": "Patient/1"}}],
    }  # fmt: skip
    status, _, answer = post(desk, json.dumps(body).encode(), path="/fhir/hook")
    assert status == 400 and b"fhir.tag" in answer
    assert versions(desk) == []


def test_a_crash_before_the_answer_reads_again_and_after_it_does_not(desk):
    patient(desk, "1")
    desk.server.faults = lambda method, path: 5.0 if "Patient" in path else None
    told(desk, "Patient/1")
    desk.advance(2)
    desk.crash()  # killed while it waited
    assert versions(desk) == []
    desk.advance(6)
    assert len(versions(desk)) == 1
    desk.crash()
    desk.advance(60)
    assert len(versions(desk)) == 1 and len(rows(desk)) == 2


def test_a_replay_of_what_was_read_does_not_ask_again_and_a_replay_of_the_note_does(desk):
    patient(desk, "1")
    told(desk, "Patient/1")
    note, resource = (row[0] for row in desk.rows("SELECT id FROM message WHERE type LIKE 'Patient%'"))
    desk.act_on([resource], "replay")
    assert len(versions(desk)) == 2 and len(desk.server.log) == 1
    newer = patient(desk, "1", active=True)
    desk.act_on([note], "replay")
    assert versions(desk)[-1].endswith(newer["meta"]["versionId"]) and len(desk.server.log) == 2


def test_answers_that_are_another_resource(desk):
    patient(desk, "1")
    desk.server.faults = lambda method, path: (200, {}, b'{"resourceType": "Patient", "id": "2"}')
    told(desk, "Patient/1")
    assert rows(desk)[0][1:5:3] == ("ERROR", "fhir.answer") and versions(desk) == []
