"""A channel registers on its FHIR server: one Subscription of each kind, whatever happens to either of them.

The server is asked, nothing is remembered: so crashes, restarts, forgetful and slow servers, and people who change
things by hand end in exactly what the configuration says.
"""

import json
from datetime import datetime, timedelta

import pytest
from fhir_subscriptions import SECRET
from registering import SECRETS, TOPIC, config, make_clinic  # noqa: F401
from reloading import reload

from engine.cli.status import troubles


def patient(desk, id_="1", **more):
    return desk.server.put({"resourceType": "Patient", "id": id_, **more})[0]


@pytest.mark.parametrize(
    ("how", "text", "writes"),
    [
        ("hapi", config(), ["POST Subscription"]),
        ("medplum", config(), ["POST Subscription", "PUT Subscription/{id}"]),
        ("topic", config(TOPIC), ["POST Subscription"]),
        ("topic", config(TOPIC, version="R4B"), ["POST Subscription"]),
        ("topic", config(TOPIC, version="R5"), ["POST Subscription"]),
    ],
)
def test_one_is_made_becomes_active_and_tells_of_changes(make, how, text, writes):
    desk = make(text, how)
    desk.active()
    desk.quiet(60 if how == "topic" else 1000)
    assert desk.writes() == [line.format(id=desk.one()["id"]) for line in writes]
    found = patient(desk)
    desk.until(lambda: desk.destinations["out"].effects)
    assert desk.destinations["out"].effects == [f"Patient/1/_history/{found['meta']['versionId']}"]
    assert desk.status()["why"] == ""


def test_the_server_is_told_what_the_listener_asks_for(make, capsys):
    more = f"token: {SECRETS}1\n        path_token: {SECRETS}2\n        signature: {SECRETS}3\n"
    more += f"        header: {{name: X-Engine, value: {SECRETS}4}}"
    desk = make(config(more=more))
    desk.active()
    channel = desk.one()["channel"]
    assert channel["endpoint"] == f"http://127.0.0.1:8080/fhir/hook/{SECRETS}2"
    assert channel["header"] == [f"Authorization: Bearer {SECRETS}1", f"X-Engine: {SECRETS}4"]
    assert {"url": SECRET, "valueString": f"{SECRETS}3"} in desk.one()["extension"]
    assert any(headers.get("x-hub-secret") == f"{SECRETS}3" for headers in desk.server.headers)
    patient(desk)
    desk.until(lambda: desk.subscriptions.answers)
    assert desk.subscriptions.answers == [200] and len(desk.destinations["out"].effects) == 1
    assert not any(SECRETS in line for line in desk.server.log), "a secret stands in a URL"
    assert SECRETS not in json.dumps(desk.status())
    desk.subscriptions.set(desk.one()["id"], channel={"endpoint": channel["endpoint"]})
    desk.advance(301)
    desk.active()
    told = capsys.readouterr()
    assert "headers" in told.out and SECRETS not in told.out + told.err
    assert SECRETS not in repr(desk.engine.channels["hook"].listener._registrar.slots[0].wanted)


def test_what_a_topic_is_asked_for_in_r4_and_r5(make, tmp_path):
    what = f"{TOPIC}, filters: ['Encounter?class=IMP&status:not=planned'], payload: full-resource"
    desk = make(config(what), "topic")
    desk.active()
    found = desk.one()
    assert found["criteria"] == "http://example.org/topic/patient"
    assert found["_criteria"]["extension"][0]["valueString"] == "Encounter?class=IMP&status:not=planned"
    assert found["channel"]["_payload"]["extension"][0]["valueCode"] == "full-resource"
    assert found["channel"]["extension"][0]["valueUnsignedInt"] == 60
    desk.server.version = "5.0.0"
    reload(desk, config(what, version="R5"))
    desk.server.versions.clear()
    desk.active()
    found = desk.one()
    assert (found["topic"], found["content"], found["heartbeatPeriod"]) == (
        "http://example.org/topic/patient", "full-resource", 60,
    )  # fmt: skip
    assert found["filterBy"] == [
        {"resourceType": "Encounter", "filterParameter": "class", "value": "IMP"},
        {"resourceType": "Encounter", "filterParameter": "status", "value": "planned", "modifier": "not"},
    ]


def test_several_criteria_are_several_subscriptions_and_each_is_there_once(make):
    desk = make(config("criteria: ['Patient?', 'Appointment?status=booked', 'Encounter?']"))
    desk.active(3)
    first = {one["criteria"]: one["id"] for one in desk.there()}
    desk.crash()
    desk.active(3)
    desk.quiet()
    reload(desk, config("criteria: ['Encounter?', 'Patient?']"))
    desk.active(2)
    assert {one["criteria"]: one["id"] for one in desk.there()} == {
        name: id_ for name, id_ in first.items() if not name.startswith("Appointment")
    }


@pytest.mark.parametrize("fault", ["drop-after", 40.0])
@pytest.mark.parametrize("conditional", [True, False])
def test_a_crash_between_create_and_answer_makes_no_second_one(make, fault, conditional):
    """The server made it, and nobody was told; or it takes longer than anybody waits."""
    faults = [fault]

    def prepare(desk):
        desk.server.conditional = conditional
        desk.server.faults = lambda method, path: (
            faults.pop() if faults and method == "POST" and path.endswith("/Subscription") else None
        )

    desk = make(prepare=prepare)
    desk.until(lambda: not faults)
    if fault == 40.0:
        desk.reactor.advance(40)  # it is there now; the engine has given up waiting
    assert len(desk.there()) == 1
    desk.crash()
    desk.active()
    desk.quiet()
    for _ in range(3):  # engine after engine
        desk.crash()
        desk.advance(20)
    desk.again()
    desk.active()
    assert desk.writes().count("POST Subscription") == 1


def test_a_create_that_comes_after_all_and_other_doubles_are_removed(make):
    desk = make()
    desk.active()
    first = desk.one()
    for _ in range(2):
        desk.server.put({key: value for key, value in first.items() if key not in ("id", "meta")})
    assert len(desk.there()) == 3
    desk.until(lambda: len(desk.there()) == 1)
    assert desk.one()["id"] == first["id"]
    desk.quiet()


def test_others_are_let_alone(make):
    desk = make()
    other = {"resourceType": "Subscription", "status": "active", "criteria": "Patient?"}
    desk.server.put({**other, "channel": {"endpoint": "http://127.0.0.1:9999/other"}})
    desk.until(lambda: len(desk.there()) == 2)
    desk.quiet()
    assert len(desk.there()) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        {"status": "error"}, {"status": "off"}, {"criteria": "Observation?"},
        {"channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:1/x", "payload": "application/fhir+json"}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["hapi", "medplum"])
def test_what_was_spoiled_is_repaired_and_keeps_its_id(make, spoil, how):
    desk = make(how=how)
    desk.active()
    before = desk.one()
    desk.subscriptions.set(before["id"], **spoil)
    desk.advance(301)
    desk.active()
    after = desk.one()
    assert (after["id"], after["criteria"], after["channel"]) == (
        before["id"], before["criteria"], before["channel"],
    )  # fmt: skip
    desk.quiet()


def test_a_server_that_sets_it_to_error_again_and_again_is_asked_at_growing_pauses(make):
    desk = make(config(TOPIC), "topic")
    desk.active()
    desk.subscriptions._activate = lambda id_, status=200: desk.subscriptions.set(id_, status="error")
    desk.subscriptions.set(desk.one()["id"], status="error")
    before = len(desk.writes())
    for _ in range(3600 // 10):
        desk.advance(10)
    assert 4 <= len(desk.writes()) - before <= 8
    assert "is error on the server" in desk.status()["why"]
    del desk.subscriptions._activate
    desk.active()
    assert desk.status()["why"] == ""


def test_a_deleted_one_is_made_again_and_so_is_one_that_a_restart_forgot(make):
    desk = make()
    desk.active()
    first = desk.one()["id"]
    desk.server.remove("Subscription", first)
    desk.advance(301)
    desk.active()
    assert desk.one()["id"] != first
    desk.server.versions.clear()
    desk.advance(301)
    desk.active()


def test_a_changed_address_secret_or_criteria_is_taken_up_by_the_same_one(make):
    desk = make()
    desk.active()
    first = desk.one()["id"]
    reload(desk, config("criteria: Encounter?"))
    desk.active()
    assert (desk.one()["id"], desk.one()["criteria"]) == (first, "Encounter?")
    desk.path.write_text(config(more=f"path_token: {SECRETS}", url="http://localhost:8080/fhir/hook"))
    desk.again()
    desk.advance(20)
    desk.active()
    assert desk.one()["id"] == first
    assert desk.one()["channel"]["endpoint"] == f"http://localhost:8080/fhir/hook/{SECRETS}"


def test_it_is_renewed_before_it_ends(make):
    desk = make()
    desk.active()
    end = datetime.fromisoformat(desk.one()["end"])
    assert end - desk.time() > timedelta(days=29)
    for _ in range(16 * 24):
        desk.advance(3600)
    assert datetime.fromisoformat(desk.one()["end"]) - end > timedelta(days=14)
    assert [line for line in desk.writes() if line.startswith("PUT")] == [
        f"PUT Subscription/{desk.one()['id']}"
    ]


def test_refusals_are_told_and_the_server_is_asked_again(make):
    desk = make()
    desk.active()
    desk.server.remove("Subscription", desk.one()["id"])
    refusal = {"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": "Smith"}]}
    desk.server.faults = lambda method, path: (
        (422, {}, json.dumps(refusal).encode()) if method == "POST" else None
    )
    desk.until(lambda: "fhir" in desk.status()["why"] or "refuses" in desk.status()["why"])
    assert "the FHIR server refuses it (HTTP 422, invalid)" in desk.status()["why"]
    assert "Smith" not in desk.status()["why"]
    told = {"engine": {"status": {"channels": {"hook": desk.status()}}}, "running": True, "now": {}}
    assert troubles(told) == [f"hook: {desk.status()['why']}"]
    desk.server.faults = lambda method, path: (401, {}, b"{}")
    desk.until(lambda: "login" in desk.status()["why"])
    site = desk.network.sites.pop(9000)
    desk.until(lambda: "cannot be reached" in desk.status()["why"])
    desk.network.sites[9000] = site
    desk.server.faults = lambda method, path: None
    desk.active()
    assert desk.status()["why"] == ""


def test_a_server_that_cannot_search_gets_none(make):
    def prepare(desk):
        desk.server.faults = lambda method, path: (405, {}, b"{}") if method == "GET" else None

    desk = make(prepare=prepare)
    desk.until(lambda: "cannot search" in desk.status()["why"])
    desk.advance(600)
    assert desk.there() == []


def test_a_server_that_refuses_tags_is_searched_by_address(make):
    desk = make()
    desk.server.faults = lambda method, path: (400, {}, b"{}") if "_tag" in path else None
    desk.active()
    desk.crash()
    desk.active()
    desk.quiet()
    assert desk.writes().count("POST Subscription") == 1


def test_what_a_server_keeps_otherwise_is_asked_for_once(make):
    """It normalises criteria, and gives headers away to nobody."""
    desk = make(config(more=f"token: {SECRETS}"))
    put = desk.server.put

    def stubborn(data, id_=""):
        if data["resourceType"] == "Subscription":
            data = json.loads(json.dumps(data))
            data["channel"]["header"] = ["Authorization: ***"]
        return put(data, id_)

    desk.server.put = stubborn
    desk.server.versions.clear()
    desk.advance(301)
    desk.active()
    desk.advance(301)
    desk.quiet()
    assert desk.writes().count(f"PUT Subscription/{desk.one()['id']}") == 1
    assert desk.status()["why"] == ""


def test_without_a_handshake_it_is_told_and_asked_for_again(make):
    desk = make(config(TOPIC), "topic", lambda desk: setattr(desk.subscriptions, "deaf", True))
    desk.advance(40)
    desk.advance(40)
    assert "is not active yet" in desk.status()["why"] and "does it reach" in desk.status()["why"]
    desk.subscriptions.deaf = False
    desk.active()
    assert desk.writes() == ["POST Subscription", f"PUT Subscription/{desk.one()['id']}"]
    assert desk.rows("SELECT type, state FROM message") == [("r4b", "FILTERED")]


def test_a_stopped_channel_leaves_it_and_a_started_one_finds_it(make):
    desk = make()
    desk.active()
    assert desk.channel("stop", "hook") == "stopped"
    asked = len(desk.server.log)
    desk.advance(1000)
    assert len(desk.server.log) == asked and len(desk.there()) == 1
    desk.channel("start", "hook")
    desk.active()
    assert desk.writes() == ["POST Subscription"]


def test_a_missed_heartbeat_asks_for_the_status(make):
    desk = make(config(TOPIC), "topic")
    desk.active()
    for _ in range(20):
        desk.advance(30)
        desk.subscriptions.beat()
        desk.settle()
    assert not any("$status" in line for line in desk.server.log)
    desk.advance(60)
    desk.advance(60)
    desk.advance(20)
    assert sum("$status" in line for line in desk.server.log) == 1
    assert desk.status()["why"] == ""
    desk.subscriptions.set(desk.one()["id"], status="error")
    desk.advance(140)
    desk.active()


def test_one_connection_is_not_asked_by_two_at_once(make):
    """A reload in the middle of a create: the new listener waits, and finds what the old one made."""
    desk = make()
    desk.active()
    desk.server.versions.clear()
    desk.server.faults = lambda method, path: 5.0 if method == "POST" else None
    desk.advance(300)
    reload(desk, config(more="max_rate: 50"))
    desk.advance(10)
    desk.active()
    desk.quiet()
    assert desk.writes().count("POST Subscription") == 2
