"""HL7 v2 → FHIR as a channel: what messages tell stands on a FHIR server with a state, over HTTP in memory.

Guaranteed here: each thing is one resource, whatever is sent again, lost on the way or crashes; what others wrote stays
and is never written over; one bad message of a batch fails alone; what the engine wrote itself does not come back."""

from __future__ import annotations

import json

import pytest
from desk import Sent, scripted
from fhir_desk import CONNECTION, FhirDesk, of
from web import post

CONFIG = (
    CONNECTION
    + """
channels:
  adt:
    listener: {mllp: {port: 2575}}
    destinations:
      ehr:
        fhir: {connection: ehr, systems: {RGH: "urn:rgh"}}
        retry: {initial: 1, factor: 2, max: 60, jitter: 0}
  hook:
    format: fhir
    listener:
      fhir_subscription: {port: 8080, path: /fhir/hook, connection: ehr}
    destinations: {out: {scripted: {name: out}}}
"""
)
HEAD = "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000+0000||{kind}|{id}|P|2.5.1\r"
DOCTOR = "17^Moreau^Claire^^^Dr^^^NPI"


@pytest.fixture
def desk(tmp_path):
    with scripted() as destinations:
        made = FhirDesk(tmp_path, CONFIG)
        made.out = destinations["out"]
        yield made
        made.stop()


class Ids:
    last = 0


def send(desk, kind, *segments, settle=True):
    Ids.last += 1
    raw = HEAD.format(kind=kind, id=f"M{Ids.last}") + "\r".join(segments) + "\r"
    incoming = Sent(raw.encode(), desk.now())
    desk.engine.channels["adt"].receive(incoming)
    if settle:
        desk.settle()
    return f"M{Ids.last}"


def pid(number="1", name="Keller^Nora", birth="19840917", phone="^PRN^PH^^1^309^5550101"):
    return f"PID|1||{number}^^^RGH^MR||{name}||{birth}|F|||||{phone}"


def book(number="1", start="20260401100000+0000", doctor=DOCTOR):
    sch = f"SCH||A{number}^SCHED|||||CHECK^Check-up||||^^30^{start}"
    return (sch, pid(number), "RGS|1", "AIL|1||CLIN^2^^RGH", f"AIP|1||{doctor}")


def one(desk, kind):
    (found,) = desk.server.all(kind).values()
    return found


def counts(desk):
    return {kind: len(desk.server.all(kind)) for kind in desk.server.versions}


def states(desk):
    return [row[0] for row in desk.rows("SELECT state FROM delivery ORDER BY message_id")]


def versions(desk):
    return {
        f"{kind}/{id_}": len(rows)
        for kind, found in desk.server.versions.items()
        for id_, rows in found.items()
    }


def test_messages_become_resources_that_refer_to_each_other(desk):
    send(desk, "ADT^A01", pid(), f"PV1|1|I|W1^2^B^RGH||||{DOCTOR}||||||||||||V1^^^RGH^VN")
    send(desk, "SIU^S12", *book())
    assert counts(desk) == {"Patient": 1, "Location": 2, "Practitioner": 1, "Encounter": 1, "Appointment": 1}
    patient, visit, booking = one(desk, "Patient"), one(desk, "Encounter"), one(desk, "Appointment")
    assert patient["identifier"][0] == {
        "system": "urn:rgh", "value": "1",
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
    }  # fmt: skip
    assert visit["subject"]["reference"] == f"Patient/{patient['id']}"
    actors = [item["actor"]["reference"].split("/")[0] for item in booking["participant"]]
    assert actors == ["Patient", "Practitioner", "Location"]
    assert patient["meta"]["source"] == "urn:isthmus:channel:adt"
    assert states(desk) == ["SENT", "SENT"]
    ((record,),) = desk.rows("SELECT record FROM delivery WHERE message_id = 2")
    assert record == f"Appointment/{booking['id']}/_history/{booking['meta']['versionId']}"
    assert not any(
        "identifier" in line or "Keller" in line for line in desk.server.log
    )  # no patient in a URL


def test_the_same_again_makes_no_resource_and_no_version(desk):
    for kind, segments in (("ADT^A28", [pid()]), ("SIU^S12", book()), ("SIU^S12", book())):
        send(desk, kind, *segments)
    before = versions(desk)
    assert set(before.values()) == {1}
    desk.act("replay", f"M{Ids.last}")
    desk.act("resend", f"M{Ids.last}")
    send(desk, "SIU^S12", *book())
    assert versions(desk) == before
    assert set(states(desk)) == {"SENT"}


def test_what_others_wrote_stays(desk):
    send(desk, "ADT^A28", pid())
    there = one(desk, "Patient")
    added = {
        "photo": [{"title": "x"}],
        "identifier": [*there["identifier"], {"system": "urn:other", "value": "9"}],
    }
    desk.server.put({**there, **added})
    send(desk, "ADT^A31", pid(birth='""', phone=""))
    now = one(desk, "Patient")
    assert "birthDate" not in now  # cleared
    assert now["telecom"] == there["telecom"]  # not in the message
    assert now["photo"] == added["photo"] and len(now["identifier"]) == 2
    send(desk, "SIU^S12", *book(doctor="17^Moreau^Clarice^^^Dr^^^NPI"))
    send(desk, "SIU^S13", *book(start="20260402100000+0000"))
    assert one(desk, "Practitioner")["name"][0]["given"] == ["Clarice"]  # who is there is left as they are
    assert one(desk, "Appointment")["start"].startswith("2026-04-02")


def test_a_change_in_between_is_not_written_over(desk):
    send(desk, "ADT^A28", pid())
    there = one(desk, "Patient")

    def meddle(method, path):
        """Between our look and our write somebody else writes."""
        if desk.server.log[-1:] == ["POST "] and not meddled:
            meddled.append(1)
            desk.server.put({**there, "photo": [{"title": "x"}]})

    meddled: list[int] = []
    desk.server.faults = meddle
    send(desk, "ADT^A31", pid(name="Keller-Boyd^Nora"))
    now = one(desk, "Patient")
    assert meddled and now["photo"] and now["name"][0]["family"] == "Keller-Boyd"
    assert states(desk) == ["SENT", "SENT"]


def test_somebody_else_makes_it_in_between(desk):
    def meddle(method, path):
        if len(desk.server.log) == 1 and not desk.server.all("Patient"):
            desk.server.put({"resourceType": "Patient", "identifier": [{"system": "urn:rgh", "value": "1"}]})

    desk.server.faults = meddle
    send(desk, "ADT^A28", pid())
    assert one(desk, "Patient")["name"][0]["family"] == "Keller"  # one, and it has what we say
    assert states(desk) == ["SENT"]


def test_a_search_that_is_behind_is_no_second_resource(desk):
    """The index of the server does not have yet what it made."""
    send(desk, "ADT^A28", pid())
    search = desk.server._search
    desk.server._search = lambda kind, query, post=False: {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [],
    }
    send(desk, "ADT^A31", pid(name="Boyd^Nora"))
    desk.server._search = search
    assert one(desk, "Patient")["name"][0]["family"] == "Boyd"
    assert states(desk) == ["SENT", "SENT"] and versions(desk) == {f"Patient/{one(desk, 'Patient')['id']}": 2}
    assert any(headers.get("cache-control") == "no-cache" for headers in desk.server.headers)


def test_an_answer_that_is_lost_is_no_second_resource(desk):
    lost = ["drop-after"]
    desk.server.faults = lambda method, path: lost.pop() if lost and len(desk.server.log) == 1 else None
    send(desk, "SIU^S12", *book())
    assert states(desk) == ["QUEUED"] and counts(desk)["Appointment"] == 1  # done, but nobody said so
    desk.crash()
    desk.until(lambda: desk.open() == {"adt": 0, "hook": 0})
    assert states(desk) == ["SENT"]
    assert set(versions(desk).values()) == {1} and set(counts(desk).values()) == {1}


def test_a_server_that_is_down_is_waited_for_in_order(desk):
    desk.server.faults = lambda method, path: (503, {"Retry-After": "5"}, b"")
    send(desk, "ADT^A28", pid())
    send(desk, "ADT^A31", pid(name="Boyd^Nora"))
    desk.advance(30)
    assert set(states(desk)) == {"QUEUED"} and not desk.server.versions
    desk.server.faults = lambda method, path: None
    desk.until(lambda: desk.open()["adt"] == 0)
    assert one(desk, "Patient")["name"][0]["family"] == "Boyd"


def test_somebody_who_writes_all_the_time_only_delays_us(desk):
    there = desk.server.put({"resourceType": "Patient", "identifier": [{"system": "urn:rgh", "value": "1"}]})[
        0
    ]
    writes = iter(range(9))

    def in_between(method, path):
        """Somebody changes the patient after every look that we take."""
        if (number := next(writes, None)) is not None:
            desk.server.put({**there, "multipleBirthInteger": number})

    desk.server.faults = in_between
    send(desk, "ADT^A31", pid(name="Boyd^Nora"))
    assert states(desk) == ["QUEUED"]
    desk.until(lambda: desk.open()["adt"] == 0)
    found = one(desk, "Patient")
    assert states(desk) == ["SENT"] and (found["name"][0]["family"], found["multipleBirthInteger"]) == (
        "Boyd",
        8,
    )


def test_one_bad_message_of_a_batch_fails_alone(desk):
    desk.server.faults = lambda method, path: (503, {}, b"")
    for number in ("1", "2", "3"):
        send(desk, "ADT^A28", pid(number))
    twin = {"resourceType": "Patient", "identifier": [{"system": "urn:rgh", "value": "2"}]}
    desk.server.put(twin), desk.server.put(twin)
    desk.server.faults = lambda method, path: None
    desk.until(lambda: desk.open()["adt"] == 0)
    assert states(desk) == ["SENT", "ERROR", "SENT"]
    ((code, text),) = desk.rows("SELECT error_code, error_text FROM delivery WHERE state = 'ERROR'")
    assert code == "fhir.precondition" and "several resources" in text
    assert len(desk.server.all("Patient")) == 4


def test_a_refusal_is_told_with_its_element_and_without_the_patient(desk):
    desk.server.put(
        {"resourceType": "Patient", "identifier": [{"system": "urn:rgh", "value": "1"}], "gender": "odd"}
    )
    send(desk, "ADT^A28", "PID|1||1^^^RGH^MR||Keller^Nora")  # joined with it, the server refuses the gender
    ((code, text, place),) = desk.rows("SELECT error_code, error_text, error_place FROM delivery")
    assert (code, place) == ("fhir.invalid", "Patient.gender")
    assert "Smith" not in text and "Keller" not in text


def test_a_merge_retires_who_is_there(desk):
    send(desk, "ADT^A28", pid("1"))
    send(desk, "ADT^A28", pid("2"))
    send(desk, "ADT^A40", pid("1"), "MRG|2^^^RGH^MR")
    send(
        desk, "ADT^A40", pid("1"), "MRG|77^^^RGH^MR"
    )  # nobody knows the other one: the survivor stays as it is
    found = {item["identifier"][0]["value"]: item for item in desk.server.all("Patient").values()}
    assert set(found) == {"1", "2"} and set(states(desk)) == {"SENT"}
    assert found["2"]["active"] is False
    assert found["2"]["link"] == [
        {"other": {"reference": f"Patient/{found['1']['id']}"}, "type": "replaced-by"}
    ]
    assert found["1"]["link"] == [{"other": {"reference": f"Patient/{found['2']['id']}"}, "type": "replaces"}]
    send(desk, "ADT^A47", pid("5"), "MRG|1^^^RGH^MR")
    now = desk.server.current("Patient", found["1"]["id"])
    assert sorted(item["value"] for item in now["identifier"]) == ["1", "5"]


def test_a_patient_of_two_numbers_is_not_merged_with_itself(desk):
    send(desk, "ADT^A28", pid("1"))
    send(desk, "ADT^A47", pid("2"), "MRG|1^^^RGH^MR")  # one resource with both
    before = one(desk, "Patient")
    send(desk, "ADT^A40", pid("1"), "MRG|2^^^RGH^MR")
    assert set(states(desk)) == {"SENT"} and one(desk, "Patient") == before
    assert "link" not in before and before.get("active") is not False


def test_what_we_wrote_does_not_come_back(desk):
    """The server tells its subscriber of every change, ours among them."""
    told = []
    desk.server.changed = lambda kind, resource, interaction: told.append(dict(resource))
    send(desk, "ADT^A28", pid())
    for resource in told:
        status, _, _ = post(
            desk, json.dumps(resource).encode(), path=f"/fhir/hook/Patient/{resource['id']}", method="PUT"
        )
        assert status == 200
    ((state, reason),) = desk.rows("SELECT state, reason FROM message WHERE channel = 'hook'")
    assert (state, reason) == ("FILTERED", "1 of 1 written by this engine")
    assert not desk.out.effects
    changed = desk.server.put({**one(desk, "Patient"), "gender": "male"})[0]
    post(desk, json.dumps(changed).encode(), path=f"/fhir/hook/Patient/{changed['id']}", method="PUT")
    assert desk.out.effects == [f"Patient/{changed['id']}/_history/{changed['meta']['versionId']}"]


def notified(desk, patient):
    """An id-only notification."""
    told = {
        "resourceType": "SubscriptionStatus", "type": "event-notification", "status": "active",
        "subscription": {"reference": "Subscription/7"},
        "notificationEvent": [{"focus": {"reference": f"Patient/{patient['id']}"}}],
    }  # fmt: skip
    body = {"resourceType": "Bundle", "type": "history", "entry": [{"resource": told}]}
    assert post(desk, json.dumps(body).encode(), path="/fhir/hook")[0] == 200


def test_what_we_wrote_does_not_come_back_when_it_is_read(desk):
    send(desk, "ADT^A28", pid())
    notified(desk, one(desk, "Patient"))
    ((state, reason),) = desk.rows("SELECT state, reason FROM message WHERE type = 'Patient.unread'")
    assert (state, reason) == (
        "FILTERED", f"Patient/{one(desk, 'Patient')['id']} is read: written by this engine",
    )  # fmt: skip
    assert not desk.out.effects
    # somebody changes it, and before that is read we write over it: what we read is ours, and has what they wrote
    desk.server.put({**one(desk, "Patient"), "photo": [{"title": "x"}]})
    send(desk, "ADT^A31", pid(name="Boyd^Nora"))
    joined = one(desk, "Patient")
    assert joined["photo"]
    notified(desk, joined)
    assert desk.out.effects == [f"Patient/{joined['id']}/_history/{joined['meta']['versionId']}"]
    # from there on it is only ours again
    send(desk, "ADT^A31", pid(name="Moreau^Nora"))
    notified(desk, one(desk, "Patient"))
    send(desk, "ADT^A31", pid(name="Keller^Nora"))
    notified(desk, one(desk, "Patient"))
    assert len(desk.out.effects) == 1


FT1 = "FT1|1|T1^BILL||20260301|20260301|{kind}|99213^Visit^CPT|||2|250.50&USD"
RXA = "RXA|0|1|20260301093000+0000||08^Hep B^CVX|0.5|mL||||||||L1"
VISIT = "PV1|1|I" + "|" * 17 + "V1^^^RGH^VN"


@pytest.mark.parametrize("version", ["R4", "R4B", "R5"])
def test_charges_and_vaccinations_of_each_version(tmp_path, version):
    chosen = of(CONFIG, version)
    with scripted():
        desk = FhirDesk(tmp_path, chosen)
        for _ in range(2):
            send(desk, "DFT^P03", pid(), VISIT, FT1.format(kind="CG"))
            send(desk, "DFT^P03", pid(), VISIT, FT1.format(kind="CD"))
            send(desk, "VXU^V04", pid(), "ORC|RE||65930^DCS", RXA)
            send(desk, "SIU^S12", *book())
        assert set(states(desk)) == {"SENT"} and set(versions(desk).values()) == {1}
        assert counts(desk) == {
            "Patient": 1, "Encounter": 1, "ChargeItem": 2, "Immunization": 1, "Location": 1, "Practitioner": 1,
            "Appointment": 1,
        }  # fmt: skip
        total = "totalPriceComponent" if version == "R5" else "priceOverride"
        prices = [
            item[total].get("amount", item[total])["value"] for item in desk.server.all("ChargeItem").values()
        ]
        assert sum(prices) == 0 and max(prices) == 250.5
        assert isinstance(one(desk, "Encounter")["class"], list) == (version == "R5")
        send(desk, "VXU^V04", pid(), "ORC|RE||65930^DCS", RXA + "||||||D")
        assert one(desk, "Immunization")["status"] == "entered-in-error"
        desk.stop()


def test_only_some_types(tmp_path):
    limited = CONFIG.replace('{RGH: "urn:rgh"}', '{RGH: "urn:rgh"}, resources: [Appointment]')
    with scripted():
        desk = FhirDesk(tmp_path, limited)
        send(desk, "ADT^A28", pid())
        send(desk, "SIU^S12", *book())
        assert counts(desk) == {"Appointment": 1}
        assert "reference" not in json.dumps(one(desk, "Appointment"))
        patient = desk.server.put(
            {"resourceType": "Patient", "identifier": [{"system": "urn:rgh", "value": "1"}]}
        )[0]
        send(desk, "SIU^S13", *book(start="20260402100000+0000"))
        actor = one(desk, "Appointment")["participant"][0]["actor"]
        assert actor == {"reference": f"Patient/{patient['id']}"}
        assert states(desk) == ["SENT", "SENT"]
        desk.stop()
