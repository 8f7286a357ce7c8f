"""Deletions on servers that show no history: ids are compared, and only what a direct read does not find is deleted."""

import json
from urllib.parse import unquote

import pytest
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk
from registering import config, make_clinic  # noqa: F401

from channels.receive import OVERLOADED
from engine.fhirserver import absent

POLL = (
    CONNECTION
    + """
channels:
  hook:
    format: fhir
    listener:
      fhir_poll:
        {connection: ehr, resources: [Patient, "Appointment?status=booked"], every: 60, begin: all, deletions: 10m}
    destinations: {out: {scripted: {name: out}}}
"""
)


@pytest.fixture
def desk_of(tmp_path):
    made = []

    def make(text=POLL, patients=0, appointments=0):
        class Filled(FhirDesk):
            def start(self):
                if not made:
                    self.server.type_history = False
                    for number in range(patients):
                        self.server.put({"resourceType": "Patient", "id": f"p{number}"})
                    for number in range(appointments):
                        self.server.put(
                            {"resourceType": "Appointment", "id": f"a{number}", "status": "booked"}
                        )
                    made.append(self)
                super().start()

        desk = Filled(tmp_path, text)
        desk.advance(61)  # the second look learns that there are no histories
        desk.out = destinations["out"]
        assert len(desk.out.effects) == patients + appointments
        return desk

    with scripted() as destinations:
        yield make
        for desk in made:
            desk.stop()


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(absent, "COUNT", 7)
    monkeypatch.setattr(absent, "AGAIN", 3)


def deleted(desk):
    """Types, states and control ids of the deletions, as they came."""
    return desk.rows("SELECT control_id, state FROM message WHERE type LIKE '%.deleted' ORDER BY id")


def gone(desk):
    return [control_id.split("/deleted/")[0] for control_id, state in deleted(desk) if state == "TRANSFORMED"]


def status(desk):
    return desk.engine.channels["hook"].status()


def asked(desk, what):
    return [unquote(line) for line in desk.server.log if what in line]


def test_what_is_listed_no_more_and_cannot_be_read_was_deleted(desk_of, small_pages):
    desk = desk_of(patients=30, appointments=10)
    assert status(desk)["listener"]["compared"] == {
        "types": ["Appointment", "Patient"],
        "rounds": 1,
        "found": 0,
    }
    for number in (0, 6, 7, 29):
        desk.server.remove("Patient", f"p{number}")
    desk.server.remove("Appointment", "a3")
    desk.advance(300)
    assert deleted(desk) == []
    desk.advance(301)
    assert sorted(gone(desk)) == ["Appointment/a3", "Patient/p0", "Patient/p29", "Patient/p6", "Patient/p7"]
    for _ in range(3):
        desk.advance(601)
    assert len(deleted(desk)) == 5, "each is found once"
    again = desk.server.put({"resourceType": "Patient", "id": "p6", "active": True})[0]
    desk.advance(61)
    assert f"Patient/p6/_history/{again['meta']['versionId']}" in desk.out.effects
    desk.server.remove("Patient", "p6")
    desk.advance(601)
    assert gone(desk).count("Patient/p6") == 2


def test_a_cache_that_still_shows_it_keeps_nothing(desk_of):
    desk = desk_of(patients=12)
    desk.server.remove("Patient", "p3")
    desk.server.cached.add("Patient/p3")
    desk.advance(601)
    assert gone(desk) == ["Patient/p3"]


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, b"<html>Cannot GET</html>"),
        (400, {}, b"{}"),
        (403, {}, b"{}"),
        (405, {}, b""),
        (501, {}, b""),
    ],
)
def test_whatever_a_server_without_a_history_answers(desk_of, answer):
    desk = desk_of(patients=3)
    desk.server.type_history = True
    desk.server.faults = lambda method, path: answer if "_history" in path else None
    desk.crash()
    desk.until(lambda: status(desk)["listener"]["compared"]["types"], 130)
    assert status(desk)["why"] == ""
    desk.server.remove("Patient", "p1")
    desk.until(lambda: gone(desk) == ["Patient/p1"], 1300)


def test_what_matches_the_search_no_more_is_still_there(desk_of, small_pages):
    desk = desk_of(patients=1, appointments=10)
    for number in range(5):
        desk.server.put({"resourceType": "Appointment", "id": f"a{number}", "status": "fulfilled"})
    desk.server.remove("Appointment", "a9")
    desk.advance(601)
    assert gone(desk) == ["Appointment/a9"]
    assert len(asked(desk, "Appointment?_id=")) == 2
    assert [line for line in desk.server.log if line.startswith("GET Appointment/a")] == [
        "GET Appointment/a9"  # to be sure, and again when it is routed
    ] * 2


@pytest.mark.parametrize(
    "fault", [(500, {}, b""), (400, {}, b"{}"), (200, {}, b'{"resourceType": "Bun'), "drop"]
)
def test_a_listing_that_breaks_in_the_middle_deletes_nothing(desk_of, small_pages, fault):
    desk = desk_of(patients=30)
    desk.server.remove("Patient", "p0")
    pages = []

    def breaks(method, path):
        if "_elements" in path or "_count=7" in path:
            pages.append(path)
            return fault if "_page=14" in path else None
        return None

    desk.server.faults = breaks
    desk.until(lambda: "deletions cannot be looked for" in status(desk)["why"], 1200)
    assert any("_page=14" in path for path in pages) and deleted(desk) == []
    desk.server.faults = lambda method, path: None
    desk.until(lambda: gone(desk) == ["Patient/p0"], 4000)
    desk.advance(10)
    assert status(desk)["why"] == ""


def test_pages_that_end_too_early_delete_nothing(desk_of, small_pages):
    """The server leaves out the link to the next page, and searches by id find nothing either."""
    desk = desk_of(patients=30)
    empty = json.dumps({"resourceType": "Bundle", "type": "searchset"}).encode()
    page = {"resource": {"resourceType": "Patient", "id": "p1"}}
    short = json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": [page]}).encode()
    desk.server.faults = lambda method, path: (
        (200, {}, empty if "_id=" in path else short) if "_elements" in path else None
    )
    desk.server.remove("Patient", "p5")
    desk.advance(601)
    assert gone(desk) == ["Patient/p5"]
    assert status(desk)["why"] == ""


@pytest.mark.parametrize("status_", [403, 406, 500])
def test_only_what_is_not_there_was_deleted(desk_of, status_):
    """It is not listed, and a read of it is refused: nobody knows."""
    desk = desk_of(patients=3)
    desk.server.remove("Patient", "p1")
    desk.server.remove("Patient", "p2")
    desk.server.faults = lambda method, path: (status_, {}, b"{}") if path.endswith("/Patient/p1") else None
    desk.advance(601)
    assert "Patient/p1" not in gone(desk)
    desk.server.faults = lambda method, path: None
    desk.until(lambda: sorted(gone(desk)) == ["Patient/p1", "Patient/p2"], 4000)


def test_a_server_that_has_nothing_any_more_is_another_or_was_emptied(desk_of):
    desk = desk_of(patients=12, appointments=2)
    versions = desk.server.versions.pop("Patient")
    desk.server.remove("Appointment", "a1")
    desk.advance(601)
    assert gone(desk) == ["Appointment/a1"]
    assert "none of the 12 Patient that the channel was told of" in status(desk)["why"]
    desk.server.versions["Patient"] = versions
    desk.server.remove("Patient", "p3")
    desk.until(lambda: "Patient/p3" in gone(desk), 4000)
    desk.advance(10)
    assert gone(desk) == ["Appointment/a1", "Patient/p3"] and status(desk)["why"] == ""


def test_a_server_that_knows_no_elements_lists_whole_resources(desk_of):
    desk = desk_of(patients=5)
    desk.server.faults = lambda method, path: (400, {}, b"{}") if "_elements" in path else None
    desk.server.remove("Patient", "p1")
    desk.advance(601)
    assert gone(desk) == ["Patient/p1"]
    before = len(asked(desk, "_elements"))
    desk.advance(601)
    assert len(asked(desk, "_elements")) == before


def test_a_crash_and_a_store_that_is_full_find_it_later(desk_of):
    desk = desk_of(patients=5)
    desk.server.remove("Patient", "p1")
    desk.crash()  # a new engine compares at once
    desk.until(lambda: gone(desk) == ["Patient/p1"], 60)
    desk.server.remove("Patient", "p2")
    channel = desk.engine.channels["hook"]
    channel.hold("test", pause=False, refuse=OVERLOADED)
    desk.advance(601)
    assert gone(desk) == ["Patient/p1"] and status(desk)["why"] == "the engine takes no messages now"
    channel.hold("test", pause=False)
    desk.until(lambda: gone(desk) == ["Patient/p1", "Patient/p2"], 200)


@pytest.mark.parametrize("storage", ["no-content", "metadata"])
def test_where_no_content_is_kept_the_message_tells_what_it_was(desk_of, storage):
    desk = desk_of(
        POLL.replace("    format: fhir\n", f"    format: fhir\n    storage: {storage}\n"), patients=3
    )
    desk.server.remove("Patient", "p1")
    desk.advance(601)
    assert [control_id.split("/deleted/")[0] for control_id, _ in deleted(desk)] == ["Patient/p1"]


def test_what_was_read_long_ago_is_known_by_its_content(desk_of):
    """Retention took the message."""
    desk = desk_of(patients=3)
    writer = desk.engine.store._writing.db
    with writer:
        writer.execute("DELETE FROM message")
    desk.server.remove("Patient", "p1")
    desk.advance(601)
    assert gone(desk) == ["Patient/p1"]


def test_deletions_that_a_subscription_did_not_tell_are_found_without_a_history(make):
    desk = make(
        config(more="deletions: 10m"), prepare=lambda desk: setattr(desk.server, "type_history", False)
    )
    desk.active()
    for number in "123":
        desk.server.put({"resourceType": "Patient", "id": number})
    desk.until(lambda: len(desk.destinations["out"].effects) == 3)
    desk.stop()
    desk.subscriptions.lost = 1
    desk.server.remove("Patient", "2")
    desk.elapsed = desk.reactor.seconds() + 7200
    desk.start()
    desk.until(lambda: gone(desk) == ["Patient/2"])
    desk.advance(1300)
    assert len(deleted(desk)) == 1
