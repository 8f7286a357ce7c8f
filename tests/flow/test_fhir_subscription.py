"""The listener `fhir_subscription` through a whole engine: every kind of notification, stored, then answered."""

import hmac
import json
from hashlib import sha256

import pytest
from desk import Desk, scripted
from web import open_connection, post, request

from engine.store.messages import unpack_keys
from tests.corpus import FHIR, MEDPLUM, needs_corpus, needs_medplum

FILES = sorted(
    file
    for pattern in ("*/notification-*.json", "*/*bundle*example*.json", "*/subscription_status_example.json")
    for file in FHIR.glob(pattern)
    if file.parts[-2] in ("HeliosSoftware__hfs", "inferno-framework__subscriptions-test-kit")
    and not file.name.startswith("bundle-")
)
CONFIG = """
channels:
  hook:
    format: fhir
    listener:
      fhir_subscription: {{port: 8080, path: /fhir/hook, max_size: 200000{more}}}
    destinations: {{out: {{scripted: {{name: out}}}}}}
"""
PATIENT = {"resourceType": "Patient", "id": "1", "meta": {"versionId": "3"}}
VISIT = {"resourceType": "Encounter", "id": "9", "subject": {"reference": "Patient/1"}}


@pytest.fixture
def out():
    with scripted() as found:
        yield found


@pytest.fixture
def desk(tmp_path, out):
    made = Desk(tmp_path, CONFIG.format(more=""))
    yield made
    made.stop()


def send(desk, body, headers=(), path="/fhir/hook", method="POST"):
    """Status and answer; `body` is JSON, or bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, told, answer = post(desk, raw, headers, path, method)
    assert not answer or told["Content-Type"] == "application/fhir+json"
    return status, json.loads(answer) if answer else None


def rows(desk):
    return desk.rows("SELECT type, state, control_id FROM message ORDER BY id")


def status_bundle(events, *entries, kind="event-notification", bundle="history", **more):
    status = {
        "resourceType": "SubscriptionStatus", "type": kind, "status": "active", "notificationEvent": events,
        "subscription": {"reference": "https://example.org/fhir/Subscription/7"}, **more,
    }  # fmt: skip
    return {"resourceType": "Bundle", "type": bundle, "id": "B1", "entry": [{"resource": status}, *entries]}


def test_r4_rest_hook_put(desk):
    assert send(desk, PATIENT, path="/fhir/hook/Patient/1", method="PUT") == (200, PATIENT)
    assert send(desk, PATIENT, path="/fhir/hook/Patient/1", method="PUT") == (
        200,
        PATIENT,
    )  # and no second row
    headers = ['If-Match: W/"5"']
    assert send(desk, VISIT, headers, "/fhir/hook/Encounter/9", "PUT") == (200, VISIT)
    assert rows(desk) == [
        ("Patient", "TRANSFORMED", "Patient/1/_history/3"),
        ("Encounter", "TRANSFORMED", "Encounter/9/_history/5"),
    ]
    other = {**PATIENT, "meta": {"versionId": "4"}}
    status, told = send(desk, other, path="/fhir/hook/Patient/2", method="PUT")
    assert status == 400 and told["issue"][0]["details"]["coding"][0]["code"] == "fhir.path"
    assert rows(desk)[-1][1] == "ERROR"


def test_deletions_stay_behind_what_they_delete(desk):
    send(desk, VISIT)
    assert send(desk, b"", path="/fhir/hook/Encounter/9", method="DELETE")[0] == 200
    headers = ["X-Medplum-Interaction: delete", "X-Medplum-Deleted-Resource: Encounter/9", "x-trace-id: t-1"]
    for _ in range(2):
        status, told = send(desk, {}, headers)
        assert (status, told["resourceType"]) == (200, "OperationOutcome")
    found = rows(desk)
    assert [row[:2] for row in found] == [
        ("Encounter", "TRANSFORMED"), ("Encounter.deleted", "TRANSFORMED"), ("Encounter.deleted", "FILTERED"),
    ]  # fmt: skip
    assert [row[2] for row in found[1:]] == ["", "Encounter/9/deleted/t-1"]
    keys = desk.rows("SELECT ordering_key, also_keys FROM message ORDER BY id")
    assert keys[1] == keys[2] and keys[1][0] in unpack_keys(*keys[0])
    status, told = send(desk, b"", method="DELETE")
    assert (status, told["issue"][0]["details"]["coding"][0]["code"]) == (400, "fhir.no_reference")


def test_a_ping_without_a_body_is_no_success_of_the_channel(desk):
    assert send(desk, b"")[0] == 200
    assert desk.rows("SELECT type, state, error_code FROM message") == [
        ("Resource.unread", "ERROR", "fhir.unread")
    ]


@pytest.mark.parametrize("bundle", ["history", "subscription-notification", "transaction"])
def test_several_events_in_one_bundle(desk, out, bundle):
    """HAPI calls its Bundle a transaction and doubles the type in references."""
    events = [
        {"eventNumber": "1", "focus": {"reference": "Patient/Patient/1"}},
        {"eventNumber": 2, "focus": {"reference": "https://example.org/fhir/Encounter/9"}},
        {
            "id": "e-3",
            "focus": {"reference": "Encounter/10"},
            "additionalContext": [{"reference": "Patient/1"}],
        },
        {"eventNumber": "4", "focus": {"reference": "Encounter/11"}},
    ]
    gone = {"request": {"method": "DELETE", "url": "Encounter/11"}}
    body = status_bundle(events, {"resource": PATIENT}, {"resource": VISIT}, gone, bundle=bundle)
    for _ in range(2):  # the second time it is the same
        assert send(desk, body) == (200, {"resourceType": "Bundle", "type": "transaction-response"})
        found = rows(desk)
        kind = "r5" if bundle == "subscription-notification" else "r4b"
        assert [row[:2] for row in found[:5]] == [
            (kind, "FILTERED"), ("Patient", "TRANSFORMED"), ("Encounter", "TRANSFORMED"),
            ("Encounter.unread", "ERROR"), ("Encounter.deleted", "TRANSFORMED"),
        ]  # fmt: skip
        assert [row[2] for row in found[:4]] == ["Bundle/B1", "Patient/1/_history/3", "", "event/e-3"]
    assert len(found) == 7  # Encounter and deletion say no version, so nobody can know that they are the same
    keys = [row[0] for row in desk.rows("SELECT ordering_key FROM message ORDER BY id")]
    assert keys[1] == keys[2] == keys[3] and keys[1]
    assert "Patient/1/_history/3" in out["out"].effects


@pytest.mark.parametrize("kind", ["handshake", "heartbeat", "query-status"])
def test_a_notification_without_event_is_filtered_with_its_reason(desk, kind):
    assert send(desk, status_bundle([], kind=kind))[0] == 200
    ((state, reason),) = desk.rows("SELECT state, reason FROM message")
    assert state == "FILTERED" and reason == f"{kind} of Subscription/7: status active, no event"


def test_event_numbers_name_events_where_they_are_reliable(tmp_path, out):
    desk = Desk(tmp_path, CONFIG.format(more=", reliable_counter: true"))
    send(
        desk,
        status_bundle([{"eventNumber": "12", "focus": {"reference": "Encounter/9"}}], {"resource": VISIT}),
    )
    assert rows(desk)[1][2] == "Subscription/7/events/12"
    desk.stop()


def test_microsofts_parameters(desk):
    """No counter, references as URI, capitals; and plain text instead of FHIR JSON in Content-Type."""
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "subscription", "valueUri": "https://example.org/Subscription/7"},
            {"name": "status", "valueCode": "Active"},
            {"name": "type", "valueCode": "EventNotification".replace("N", "-N")},
            {
                "name": "notification-event",
                "part": [{"name": "focus", "valueUri": "https://example.org/Encounter/9"}],
            },
        ],
    }
    body = {
        "resourceType": "Bundle",
        "type": "history",
        "entry": [{"resource": parameters}, {"resource": VISIT}],
    }
    assert send(desk, body, ["Content-Type: text/plain; charset=utf-8"])[0] == 200
    assert [row[:2] for row in rows(desk)] == [("r4-backport", "FILTERED"), ("Encounter", "TRANSFORMED")]


def test_transaction_of_a_search_and_cloudevents(desk):
    body = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": PATIENT}, {"resource": VISIT}],
    }
    assert send(desk, body)[1]["type"] == "transaction-response"
    azure = {
        "specversion": "1.0", "id": "c-1", "type": "Microsoft.HealthcareApis.FhirResourceUpdated",
        "data": {"resourceType": "Patient", "resourceFhirId": "1", "resourceVersionId": 4},
    }  # fmt: skip
    assert send(desk, azure)[0] == 200
    send(desk, {**azure, "id": "c-2", "type": "Microsoft.HealthcareApis.FhirResourceDeleted"})
    assert rows(desk) == [
        ("r4-transaction", "FILTERED", ""), ("Patient", "TRANSFORMED", "Patient/1/_history/3"),
        ("Encounter", "TRANSFORMED", ""),
        ("cloudevent", "FILTERED", "event/c-1"), ("Patient.unread", "ERROR", "Patient/1/_history/4"),
        ("cloudevent", "FILTERED", "event/c-2"), ("Patient.deleted", "TRANSFORMED", "Patient/1/deleted/c-2"),
    ]  # fmt: skip


def azure(number, kind="Updated", **data):
    told = {"resourceType": "Patient", "resourceFhirId": "1", "resourceVersionId": number, **data}
    return {
        "specversion": "1.0", "id": f"c-{number}", "type": f"Microsoft.HealthcareApis.FhirResource{kind}", "data": told
    }  # fmt: skip


def test_a_batch_of_cloudevents(desk):
    image = {
        "specversion": "1.0",
        "id": "d",
        "type": "Microsoft.HealthcareApis.DicomImageCreated",
        "data": {"a": 1},
    }
    batch = [
        azure(4),
        image,
        azure(5, resourceFhirId="2"),
        azure(6, "Deleted"),
        azure("", resourceFhirId="3"),
    ]
    assert send(desk, batch)[0] == 200
    assert send(desk, batch)[0] == 200  # sent again: the same messages
    assert rows(desk)[:5] == [
        ("cloudevent", "FILTERED", ""),
        ("Patient.unread", "ERROR", "Patient/1/_history/4"), ("Patient.unread", "ERROR", "Patient/2/_history/5"),
        ("Patient.deleted", "TRANSFORMED", "Patient/1/deleted/c-6"), ("Patient.unread", "ERROR", "event/c-"),
    ]  # fmt: skip
    assert {row[0] for row in rows(desk)[5:]} <= {"cloudevent"}
    assert desk.rows("SELECT reason FROM message WHERE id = 1") == [
        ("4 CloudEvents; what changed follows; 1 of no FHIR resource",)
    ]


@pytest.mark.parametrize("body", [[azure(1), {"a": 1}], [azure(1), 3], [azure(1, resourceType="A/B")]])
def test_a_list_that_is_no_batch_of_fhir_events_is_refused(desk, body):
    status, told = send(desk, body)
    assert (status, told["resourceType"]) == (400, "OperationOutcome")
    assert [row[1] for row in rows(desk)] == ["ERROR"]


def test_a_service_asks_whether_it_may_send(tmp_path, out):
    secret = "0123456789abcdef"
    more = f", path_token: {secret}1, token: {secret}2, header: {{name: X-Engine, value: {secret}3}}, max_rate: 5"
    desk = Desk(tmp_path, CONFIG.format(more=more))
    origin = "WebHook-Request-Origin: eventgrid.azure.net"
    status, told, body = post(desk, b"", [origin], f"/fhir/hook/{secret}1", "OPTIONS")
    assert (status, body) == (200, b"")
    assert told["Webhook-Allowed-Origin"] == "eventgrid.azure.net"
    assert told["Webhook-Allowed-Rate"] == "300"
    assert "POST" in told["Allow"]
    assert post(desk, b"", [origin], "/fhir/hook/wrong", "OPTIONS")[0] == 401
    assert (
        post(desk, b"", [], f"/fhir/hook/{secret}1", "OPTIONS")[0] == 401
    )  # asks for nothing, and has no token
    told = post(
        desk,
        b"",
        [f"Authorization: Bearer {secret}2", f"X-Engine: {secret}3"],
        f"/fhir/hook/{secret}1",
        "OPTIONS",
    )
    assert told[0] == 405
    assert rows(desk) == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'"text"', b'{"resourceType": 3}', b"\xff\xfe", b"null"]
)
def test_what_is_not_fhir_is_stored_and_refused(desk, body):
    status, told = send(desk, body)
    assert (status, told["resourceType"], told["issue"][0]["severity"]) == (400, "OperationOutcome", "error")
    assert [row[1] for row in rows(desk)] == ["ERROR"]


def test_who_may_send(tmp_path, out):
    secret = "0123456789abcdef"
    more = f", path_token: {secret}1, token: {secret}2, header: {{name: X-Engine, value: {secret}3}}"
    desk = Desk(tmp_path, CONFIG.format(more=f"{more}, allow: [127.0.0.0/8], signature: {secret}4"))
    body = json.dumps(PATIENT).encode()
    signed = hmac.digest(f"{secret}4".encode(), body, sha256).hex()
    path = f"/fhir/hook/{secret}1"
    token, header = f"Authorization: Bearer {secret}2", f"X-Engine: {secret}3"
    good = [token, header, f"X-Signature: {signed}"]
    assert send(desk, body, good, path)[0] == 200
    assert (
        send(desk, body, [token, header, f"X-Hub-Signature: sha256={signed}"], f"{path}/Patient/1", "PUT")[0]
        == 200
    )
    for wrong in (
        [token, header], [token, header, "X-Signature: 00"], [token, good[2]], [header, good[2]],
        [token, "X-Engine: other", good[2]],
    ):  # fmt: skip
        assert send(desk, body, wrong, path)[0] == 401
    for other in ("/fhir/hook", "/fhir/hook/other", f"/fhir/hook/{secret}", "/elsewhere"):
        assert send(desk, body, good, other)[0] == 401
    assert send(desk, body, good, f"{path}/Patient")[0] == 404
    assert send(desk, body + b" ", good, path)[0] == 401  # signed as another body
    assert post(desk, body, good, path, host="10.0.0.1")[0] == 403
    assert send(desk, body, good, path, "PATCH")[0] == 405
    assert send(desk, b" " * 200_001, good, path)[0] == 413
    early = open_connection(desk)
    early.protocol.dataReceived(request(body, [header], path)[: -len(body)])  # no body yet
    early.protocol.dataReceived(body)
    assert early.value().startswith(b"HTTP/1.1 401")
    assert desk.rows("SELECT count(*) FROM message") == [(1,)]
    desk.stop()


def test_nothing_is_answered_before_it_is_stored(desk):
    transport = open_connection(desk)
    transport.protocol.dataReceived(
        request(json.dumps(status_bundle([], kind="heartbeat")).encode(), path="/fhir/hook")
    )
    assert transport.value() == b"" and desk.rows("SELECT count(*) FROM message") == [(0,)]
    desk.settle()
    assert transport.value().startswith(b"HTTP/1.1 200") and desk.rows("SELECT count(*) FROM message") == [
        (1,)
    ]


@needs_corpus
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_notifications_of_the_corpus(desk, file):
    """Each is detected, answered with a Bundle, and gives a message for each event."""
    body = file.read_bytes()
    bundle = json.loads(body)
    assert send(desk, body) == (200, {"resourceType": "Bundle", "type": "transaction-response"})
    whole, *events = rows(desk)
    assert whole[1] == "FILTERED"
    kind = "r5" if bundle["type"] == "subscription-notification" else whole[0]
    assert whole[0] == kind and kind in ("r5", "r4b", "r4-backport")
    text = body.decode()
    silent = any(f'"{word}"' in text for word in ("handshake", "heartbeat", "query-status"))
    assert bool(events) != silent
    for kind, state, _ in events:
        expected = "ERROR" if kind.endswith(".unread") else "TRANSFORMED"
        assert state == expected
    full = "full" in file.name or file.name.startswith("notification-query-event")
    assert not events or all(kind == "Encounter" for kind, _, _ in events) == full


@needs_medplum
def test_recorded_requests_of_medplum(desk):
    """Byte for byte; the same version, sent to several endpoints, is one message here."""
    recorded = [json.loads(line) for line in MEDPLUM.read_text(encoding="utf-8").splitlines()]
    expected = {}
    for one in recorded:
        headers = [
            f"{key}: {value}" for key, value in one["headers"] if key not in ("Content-Length", "Host")
        ]
        body = one["body"].encode()
        status, told = send(desk, body, headers, method=one["method"])
        assert (status, told["resourceType"]) == (one["replied"], "OperationOutcome")
        given = dict(one["headers"])
        data = json.loads(body)
        if data:
            key = f"{data['resourceType']}/{data['id']}/_history/{data['meta']['versionId']}"
            expected[key] = data["resourceType"]
        else:
            gone = given["X-Medplum-Deleted-Resource"]
            expected[f"{gone}/deleted/{given['x-trace-id']}"] = f"{gone.partition('/')[0]}.deleted"
    assert [(row[0], row[1]) for row in rows(desk)] == [(kind, "TRANSFORMED") for kind in expected.values()]
    assert [row[2] for row in rows(desk)] == list(expected)
