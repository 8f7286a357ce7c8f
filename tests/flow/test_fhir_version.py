"""The version of a connection is compared with what the server says of itself, before anything else is asked of it."""

import json

import pytest
from click.testing import CliRunner
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk, of
from registering import TOPIC, config, make_clinic  # noqa: F401
from reloading import reload
from web import post

from engine.cli import cli

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
    text = of(POLL, version)
    desk = desk_of(text, lambda one: (five(one), setattr(one, "version", server)))
    desk.advance(1)
    assert len(desk_of.destinations["out"].effects) == 1 and status(desk)["why"] == ""


@pytest.mark.parametrize("server", ["3.0.2", "1.0.2", "6.0.0-ballot3", "40.1"])
@pytest.mark.parametrize("version", ["R4", "R5"])
def test_versions_that_are_none_of_ours(desk_of, server, version):
    text = of(POLL, version)
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


HOOK = (
    CONNECTION
    + """
channels:
  hook:
    format: fhir
    listener: {fhir_subscription: {port: 8080, path: /fhir/hook, connection: ehr}}
    destinations: {out: {scripted: {name: out}}}
"""
)


def told(desk, id_, version="1"):
    """A notification of a whole resource."""
    whole = {"resourceType": "Patient", "id": id_, "meta": {"versionId": version}}
    assert post(desk, json.dumps(whole).encode(), path="/fhir/hook")[0] == 200


def states(desk):
    return [state for (state,) in desk.rows("SELECT state FROM message ORDER BY id")]


def test_what_a_server_of_another_version_tells_is_stored_and_waits(desk_of):
    desk = desk_of(HOOK, five)
    told(desk, "1")
    told(desk, "2")
    desk.advance(300)
    assert states(desk) == ["RECEIVED"] * 2 and desk_of.destinations["out"].effects == []
    assert status(desk)["why"].startswith(f"ehr: {WRONG}".partition(";")[0])
    desk.server.faults = lambda *_: "drop"  # that it cannot be asked now takes nothing back
    told(desk, "1", "2")
    desk.advance(300)
    assert states(desk) == ["RECEIVED"] * 3
    desk.server.faults = lambda *_: None
    desk.crash()
    desk.advance(100)
    assert states(desk) == ["RECEIVED"] * 3
    desk.server.version = "4.0.1"
    desk.until(lambda: states(desk) == ["TRANSFORMED"] * 3, 130)
    versions = [f"Patient/{one}" for one in ("1/_history/1", "2/_history/1", "1/_history/2")]
    assert desk_of.destinations["out"].effects == versions and status(desk)["why"] == ""


def test_what_waits_is_worked_on_after_the_version_of_the_connection_is_mended(desk_of):
    desk = desk_of(HOOK, five)
    told(desk, "1")
    desk.advance(90)
    assert states(desk) == ["RECEIVED"]
    reload(desk, of(HOOK, "R5"))
    desk.until(lambda: states(desk) == ["TRANSFORMED"], 10)
    assert status(desk)["why"] == ""
    desk.advance(200)
    assert desk_of.destinations["out"].effects == ["Patient/1/_history/1"]


def test_what_is_told_at_the_start_waits_for_the_answer(desk_of):
    """A slow server, that then turns out to have another version."""

    def slow(server):
        five(server)
        server.faults = lambda method, path: 5.0

    desk = desk_of(HOOK, slow)
    told(desk, "1")
    desk.advance(4)
    assert states(desk) == ["RECEIVED"]
    told(desk, "2")
    desk.advance(4)
    assert states(desk) == ["RECEIVED"] * 2 and "fhir.version" in status(desk)["why"]


def test_nobody_waits_for_a_server_that_cannot_be_asked(desk_of):
    desk = desk_of(HOOK, lambda server: (five(server), setattr(server, "faults", lambda *_: "drop")))
    told(desk, "1")
    desk.until(lambda: states(desk) == ["TRANSFORMED"], 40)
    desk.server.faults = lambda *_: 10.0  # slow, when it is asked again
    desk.advance(60)
    told(desk, "2")
    assert states(desk) == ["TRANSFORMED"] * 2, "it is asked meanwhile"
    desk.advance(11)
    told(desk, "3")
    desk.advance(60)
    assert states(desk)[2] == "RECEIVED" and "fhir.version" in status(desk)["why"]


@pytest.mark.parametrize("listener", [HOOK, POLL])
def test_a_channel_reads_the_version_of_its_connection(listener, tmp_path):
    text = of(listener, "R5").replace("{fhir: {version: R5}}", "{fhir: {version: R4B}}")
    (tmp_path / "channels.yaml").write_text(text.replace("{out: {scripted: {name: out}}}", "{}"))
    done = CliRunner().invoke(cli, ["lint", str(tmp_path / "channels.yaml")])
    assert done.exit_code == 1 and "[fhir.version]" in done.output
    assert "the connection ehr says FHIR R5, and the channel reads messages as R4B" in done.output


def test_a_body_that_says_another_version_is_an_error_until_the_channel_reads_it(desk_of):
    desk = desk_of(HOOK, lambda server: None)
    whole = {"resourceType": "Patient", "id": "7", "meta": {"versionId": "1"}}
    body = json.dumps(whole).encode()
    for says, code in (
        ("fhirVersion=4.0", 200),
        ("fhirVersion=5.0", 400),
        ("charset=utf-8; fhirVersion=4.3", 200),
        ("fhirVersion=", 200),
    ):
        body = body.replace(b'"versionId": "', b'"versionId": "1')
        status, _, answer = post(desk, body, [f"Content-Type: application/fhir+json; {says}"], "/fhir/hook")
        assert status == code, answer
        if code == 400:
            coding = json.loads(answer)["issue"][0]["details"]["coding"]
            assert coding == [{"code": "fhir.version"}]
    assert states(desk) == ["TRANSFORMED", "ERROR", "TRANSFORMED", "TRANSFORMED"]
