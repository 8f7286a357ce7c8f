"""The version of a connection is compared with what the server says of itself, before anything else is asked of it."""

import pytest
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk
from registering import TOPIC, config, make_clinic  # noqa: F401

WRONG = "fhir.version: the FHIR server has FHIR 5.0.0, and the connection says R4; set `version` of the connection"
POLL = (
    CONNECTION
    + """
channels:
  hook:
    format: fhir
    listener: {fhir_poll: {connection: ehr, resources: [Patient], begin: all}}
    destinations: {out: {scripted: {name: out}}}
"""
)
WRITE = (
    CONNECTION
    + """
channels:
  hook:
    listener: {mllp: {port: 2575}}
    destinations: {ehr: {fhir: {connection: ehr}}}
"""
)
ADT = "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000||ADT^A28|M1|P|2.5.1\rPID|1||1^^^RGH^MR||Boyd^Nora\r"


@pytest.fixture
def desk_of(tmp_path):
    made = []

    def make(text, prepare=lambda server: None):
        class Prepared(FhirDesk):
            def start(self):
                if not made:
                    prepare(self.server)
                    made.append(self)
                super().start()

        return Prepared(tmp_path, text)

    with scripted() as destinations:
        make.destinations = destinations
        yield make
        for desk in made:
            desk.stop()


def five(server):
    server.version = "5.0.0"
    server.put({"resourceType": "Patient", "id": "1"})


def status(desk):
    return desk.engine.channels["hook"].status()


def test_a_server_of_another_version_is_asked_for_nothing_until_one_of_both_is_mended(desk_of):
    desk = desk_of(POLL, five)
    assert status(desk)["why"].startswith(WRONG)
    for _ in range(10):
        desk.advance(30)
    assert desk.server.log == [] and 3 <= desk.server.told_version <= 6
    desk.server.version = "4.0.1"
    desk.until(lambda: len(desk_of.destinations["out"].effects) == 1, 130)
    assert status(desk)["why"] == ""
    asked = desk.server.told_version
    desk.advance(600)
    assert desk.server.told_version == asked, "it is asked at the start"


def test_a_destination_is_held_and_says_why(desk_of):
    from desk import Sent

    desk = desk_of(WRITE, five)
    desk.engine.channels["hook"].receive(Sent(ADT.encode(), desk.now()))
    for _ in range(20):
        desk.advance(10)
    assert desk.server.log == []
    assert desk.rows("SELECT state FROM delivery") == [("QUEUED",)]
    assert "fhir.version" in str(status(desk)["destinations"])
    desk.server.version = "4.0.1"
    desk.until(lambda: desk.rows("SELECT state FROM delivery") == [("SENT",)])
    assert len(desk.server.all("Patient")) == 2


def test_no_subscription_is_made_on_a_server_of_another_version(make):
    desk = make(config(TOPIC, version="R5"), "topic", lambda desk: setattr(desk.server, "version", "4.3.0"))
    desk.until(lambda: "the FHIR server has FHIR 4.3.0, and the connection says R5" in desk.status()["why"])
    assert desk.there() == [] and desk.server.log == []


@pytest.mark.parametrize(
    ("server", "version"),
    [
        ("4.0.1", "R4"),
        ("4.3.0", "R4"),
        ("4.0.1", "R4B"),
        ("4.3.0", "R4B"),
        ("5.0.0", "R5"),
        ("5.0.0-ballot", "R5"),
    ],
)
def test_versions_that_fit(desk_of, server, version):
    """R4 and R4B have the same resources here."""
    text = POLL.replace('/fhir"}', f'/fhir", version: {version}}}')
    desk = desk_of(text, lambda one: (five(one), setattr(one, "version", server)))
    desk.advance(1)
    assert len(desk_of.destinations["out"].effects) == 1 and status(desk)["why"] == ""


@pytest.mark.parametrize("server", ["3.0.2", "1.0.2", "6.0.0-ballot3", "40.1"])
@pytest.mark.parametrize("version", ["R4", "R5"])
def test_versions_that_are_none_of_ours(desk_of, server, version):
    text = POLL.replace('/fhir"}', f'/fhir", version: {version}}}')
    desk = desk_of(text, lambda one: (five(one), setattr(one, "version", server)))
    desk.advance(1)
    assert f"has FHIR {server}, and" in status(desk)["why"] and desk.server.log == []


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, b""), (401, {}, b""), (500, {}, b"{}"), "drop", (200, {}, b"<html>"), (200, {}, b"[]"),
        (200, {}, b'{"fhirVersion": 5}'), (200, {}, b'{"fhirVersion": "the newest"}'), 40.0,
    ],
)  # fmt: skip
def test_a_server_that_does_not_tell_is_no_contradiction(desk_of, answer):
    def silent(server):
        five(server)
        server.faults = lambda method, path: answer if path.endswith("/metadata") else None

    desk = desk_of(POLL, silent)
    desk.until(lambda: len(desk_of.destinations["out"].effects) == 1, 60)
    assert status(desk)["why"] == ""


def test_a_server_that_cannot_be_reached_at_the_start_is_asked_when_it_is_back(desk_of):
    desk = desk_of(POLL, lambda server: (five(server), setattr(server, "faults", lambda *_: "drop")))
    desk.until(lambda: "fhir.disconnected" in status(desk)["why"])
    desk.server.faults = lambda *_: None
    desk.until(lambda: status(desk)["why"].startswith(WRONG), 200)
