"""What nobody should send: each request is answered, its message comes to an end, and those behind it go on.

Guaranteed here: bodies of any shape below FHIR JSON are stored and told apart, never a crash, never a channel that
stands still; what the server refuses to tell of a resource is the error of that message alone."""

import copy
import json
import random
from collections import Counter

import pytest
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk
from structlog.testing import capture_logs
from web import post

CONFIG = (
    CONNECTION
    + """
  clinic: {odoo: {url: "sandbox:", database: clinic, api_key: sandbox}}
channels:
  hook:
    format: fhir
    listener:
      fhir_subscription: {port: 8080, path: /fhir/hook, max_size: 300000, connection: ehr, catch_up: Patient}
    filters:
      - condition: "'HTEST' not in msg.all('meta.tag.code')"
      - condition: "msg[\\"name.where(use='old').family\\"] != 'Nobody' and msg['contained.name.count() > 3'] != 'x'"
    destinations:
      out: {scripted: {name: out}}
      patients: {odoo: {connection: clinic, template: patient}, on_error: skip}
      appointments: {odoo: {connection: clinic, template: appointment}, on_error: skip}
      people: {odoo: {connection: clinic, template: directory}, on_error: skip}
      charges: {odoo: {connection: clinic, template: charge}, on_error: skip}
      copy: {fhir: {connection: ehr}, on_error: skip, retry: {attempts: 1}}
"""
)
PATIENT = {
    "resourceType": "Patient", "id": "1", "meta": {"versionId": "3", "lastUpdated": "2026-11-22T07:00:00Z"},
    "identifier": [{"system": "urn:mrn", "value": "1", "type": {"coding": [{"code": "MR"}]}}], "gender": "female",
    "name": [{"use": "official", "family": "Keller", "given": ["Nora"]}], "birthDate": "1984-09-17",
    "telecom": [{"system": "phone", "value": "1", "rank": 1}], "address": [{"line": ["1 Elm"], "city": "Reno"}],
    "link": [{"other": {"reference": "Patient/2"}, "type": "replaces"}],
    "generalPractitioner": [{"reference": "#d"}], "deceasedDateTime": "2026-01-01",
    "contained": [{"resourceType": "Practitioner", "id": "d", "name": [{"family": "Moreau"}]}],
}  # fmt: skip
SOUND = {name: value for name, value in PATIENT.items() if name != "link"}
BOOKING = {
    "resourceType": "Appointment", "id": "9", "status": "booked", "start": "2026-12-01T10:00:00Z",
    "identifier": [{"system": "urn:a", "value": "9"}], "minutesDuration": 30, "comment": "by car",
    "serviceType": [{"coding": [{"code": "X"}]}], "meta": {"versionId": "1"},
    "participant": [
        {"actor": {"reference": "Patient/1"}, "status": "accepted"},
        {"actor": {"identifier": {"value": "d"}, "display": "Moreau"}, "type": [{"coding": [{"code": "PPRF"}]}]},
    ],
}  # fmt: skip
CHARGE = {
    "resourceType": "ChargeItem", "id": "c", "status": "billable", "subject": {"reference": "Patient/1"},
    "identifier": [{"system": "urn:c", "value": "c"}], "quantity": {"value": 2}, "code": {"coding": [{"code": "99"}]},
    "priceOverride": {"value": 10.5, "currency": "USD"}, "occurrencePeriod": {"start": "2026-11-22"},
}  # fmt: skip
STATUS = {
    "resourceType": "SubscriptionStatus", "type": "event-notification", "status": "active",
    "subscription": {"reference": "Subscription/7"}, "eventsSinceSubscriptionStart": "2",
    "notificationEvent": [
        {"eventNumber": "1", "focus": {"reference": "Patient/1"}, "additionalContext": [{"reference": "Patient/1"}]},
        {"eventNumber": 2, "id": "e-2", "focus": {"reference": "https://ehr.example/fhir/Appointment/9/_history/1"}},
    ],
}  # fmt: skip
BUNDLE = {
    "resourceType": "Bundle", "type": "history", "id": "B1",
    "entry": [{"resource": STATUS}, {"fullUrl": "urn:x/Patient/1", "resource": PATIENT}, {"resource": BOOKING}],
}  # fmt: skip
CHANGES = {
    "resourceType": "Bundle", "type": "transaction",
    "entry": [{"resource": CHARGE}, {"request": {"method": "DELETE", "url": "Patient/1"}}],
}  # fmt: skip
AZURE = {
    "specversion": "1.0", "id": "c-1", "type": "Microsoft.HealthcareApis.FhirResourceDeleted",
    "data": {"resourceType": "Patient", "resourceFhirId": "1", "resourceVersionId": 4},
}  # fmt: skip
SEEDS = [PATIENT, BOOKING, CHARGE, BUNDLE, CHANGES, AZURE, [AZURE, AZURE]]
NASTY = [
    None, [], {}, 0, -1, 1e308, 10**25, True, "", "\x00", "a\x00b", "x" * 70_000, "😀", "\u202eabc", "e\u0301", "²",
    "9" * 5000, "../../etc/passwd", "Patient/1/../2", "http://evil.example/Patient/1", "urn:uuid:0", "#", "#d",
    "{{ 7*7 }}", "' OR 1=1--", "9999-99-99", "2026-02-30", "2026-11-28T25:00:00Z", "2026-11-28T10:00:00+99:00", "NaN",
    [None], [[]], [{}], {"reference": None}, {"reference": [1]}, {"a": {"b": {"c": []}}}, "Patient/" + "9" * 400,
    {"resourceType": None}, "Bundle", "SubscriptionStatus", "transaction", "DELETE", "replaced-by",
]  # fmt: skip


def places(node, path=()):
    for key, value in (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    ):
        yield (*path, key)
        yield from places(value, (*path, key))


def spoilt(rng, body):
    """A body in which some values are others, are gone, are many, or are nested in themselves."""
    body = copy.deepcopy(body)
    for _ in range(rng.choice((1, 1, 2, 4))):
        *way, last = rng.choice(list(places(body)))
        node = body
        for key in way:
            node = node[key]
        what = rng.random()
        if what < 0.6:
            node[last] = copy.deepcopy(rng.choice(NASTY))
        elif what < 0.7:
            node[last] = [copy.deepcopy(node[last])] * rng.choice((1, 2, 50))
        elif what < 0.8:
            for _ in range(rng.choice((1, 4, 70))):
                node[last] = {
                    "contained": [{"resourceType": "Patient", "id": "d", "contained": [node[last]]}]
                }
        else:
            del node[last]
    return body


@pytest.fixture
def desk_of(tmp_path):
    made = []

    def make(text=CONFIG):
        made.append(FhirDesk(tmp_path, text))
        return made[0]

    with scripted() as destinations:
        make.destinations = destinations
        yield make
        made[0].stop()


def rested(desk):
    """Nothing waits any more."""
    open_ = "SELECT count(*) FROM message WHERE state = 'RECEIVED'"
    desk.until(lambda: desk.rows(open_) == [(0,)] and desk.open() == {"hook": 0}, 300)


@pytest.mark.parametrize("identity", ["business", "resource"])
def test_whatever_is_sent_is_answered_and_comes_to_an_end(desk_of, identity):
    desk = desk_of(CONFIG.replace("format: fhir", f"format: fhir\n    canonical: {{identity: {identity}}}"))
    rng, answers = random.Random(identity), Counter()
    with capture_logs() as logs:
        for number in range(120):
            raw = json.dumps(spoilt(rng, rng.choice(SEEDS))).encode()
            if number % 15 == 0:
                raw = raw[: rng.randrange(len(raw))] + bytes(rng.randrange(256) for _ in range(3))
            headers = ["X-Medplum-Interaction: delete"] if number % 20 == 0 else []
            gone = rng.choice(["Patient/1", "x", "Patient/../1", "Appointment/" + "9" * 300])
            status, _, answer = post(
                desk, raw, [*headers, f"X-Medplum-Deleted-Resource: {gone}"], "/fhir/hook"
            )
            answers[status] += 1
            assert status in (200, 400, 413) and (status == 413 or json.loads(answer)["resourceType"]), raw[
                :500
            ]
        rested(desk)
    assert answers[200] > 40 and answers[400] > 10
    broken = "SELECT error_code, error_text FROM message WHERE error_code LIKE 'step.%' OR error_code = 'route.refused'"
    assert desk.rows(broken) == []
    assert [one for one in logs if one["event"].startswith("route.")] == []
    assert post(desk, json.dumps({**SOUND, "id": "last"}).encode(), path="/fhir/hook")[0] == 200
    rested(desk)
    assert "Patient/last/_history/3" in desk_of.destinations["out"].effects


@pytest.mark.parametrize(
    ("gone", "answer", "code"),
    [
        ("Patient/1", (403, {}, b""), "fhir.access"),
        ("Patient/1", (400, {}, b""), "fhir.invalid"),
        ("Patient/" + "9" * 65, None, "fhir.deleted"),
        ("patient/1", None, "fhir.foreign"),
    ],
)
def test_a_deletion_that_cannot_be_confirmed_stops_nobody_else(desk_of, gone, answer, code):
    desk = desk_of()
    post(desk, json.dumps(SOUND).encode(), path="/fhir/hook")
    desk.server.faults = lambda method, path: answer if path.endswith(gone) else None
    headers = ["X-Medplum-Interaction: delete", f"X-Medplum-Deleted-Resource: {gone}"]
    assert post(desk, b"{}", headers, "/fhir/hook")[0] == 200
    post(desk, json.dumps({**SOUND, "id": "2"}).encode(), path="/fhir/hook")
    rested(desk)
    found = desk.rows("SELECT state, error_code FROM message WHERE type NOT LIKE '%unread' ORDER BY id")
    assert found[:3] == [("TRANSFORMED", None), ("ERROR", code), ("TRANSFORMED", None)]


@pytest.mark.parametrize(
    "version", ["²", "٣", "9" * 64, "9" * 5000, "-1", "1.5", "0x1", " 1", "1\u0000", "😀"]
)
def test_versions_that_are_no_numbers(desk_of, version):
    """They are told apart as text, and by the time."""
    desk = desk_of(CONFIG.replace(", connection: ehr, catch_up: Patient", ""))
    for minute, one in enumerate((version, "4", version, "5")):
        meta = {"versionId": one, "lastUpdated": f"2026-11-22T07:0{minute}:00Z"}
        assert post(desk, json.dumps({**SOUND, "meta": meta}).encode(), path="/fhir/hook")[0] == 200
    rested(desk)
    found = desk.rows("SELECT state, error_code, error_text FROM message ORDER BY id")
    assert found == [("TRANSFORMED", None, None)] * 4
