"""What a FHIR server changed and did not tell is found by `fhir_poll`."""

from datetime import timedelta

import pytest
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk

from channels.receive import OVERLOADED

POLL = (
    CONNECTION
    + """
channels:
  hook:
    format: fhir
    listener:
      fhir_poll: {connection: ehr, resources: [Patient, "Appointment?status=booked"], every: 60, overlap: 10%s}
    destinations: {out: {scripted: {name: out}}}
"""
)


@pytest.fixture
def desk_of(tmp_path):
    made = []

    def make(config, before=lambda server: None):
        class Filled(FhirDesk):
            def start(self):
                if not made:
                    before(self.server)
                    made.append(self)
                super().start()

        desk = Filled(tmp_path, config)
        desk.out = destinations["out"]
        return desk

    with scripted() as destinations:
        yield make
        for desk in made:
            desk.stop()


def patients(server, *ids, **more):
    return [server.put({"resourceType": "Patient", "id": one, **more})[0] for one in ids]


def named(*resources):
    return [f"{one['resourceType']}/{one['id']}/_history/{one['meta']['versionId']}" for one in resources]


def test_what_is_there_is_read_once_and_changes_follow(desk_of):
    desk = desk_of(POLL % ", begin: all", lambda server: patients(server, "1", "2"))
    assert len(desk.out.effects) == 2
    changed = patients(desk.server, "2", active=True)
    booked = desk.server.put({"resourceType": "Appointment", "id": "7", "status": "booked"})[0]
    desk.server.put({"resourceType": "Appointment", "id": "8", "status": "proposed"})
    desk.advance(61)
    assert desk.out.effects[2:] == named(*changed, booked)
    for _ in range(5):
        desk.advance(61)
    assert len(desk.out.effects) == 4 and len(desk.rows("SELECT id FROM message")) == 4


def test_by_default_only_what_changes_from_now_on_is_read(desk_of):
    desk = desk_of(POLL % "", lambda server: patients(server, "1", "2"))
    desk.advance(61)
    assert desk.out.effects == [] or len(desk.out.effects) <= 2  # what is within the overlap may come
    old = len(desk.out.effects)
    new = patients(desk.server, "3")
    desk.advance(61)
    assert desk.out.effects[old:] == named(*new)


def test_a_deletion_is_found_and_so_is_what_was_made_anew(desk_of):
    desk = desk_of(POLL % ", begin: all", lambda server: patients(server, "1", "2"))
    desk.server.remove("Patient", "1")
    desk.server.remove("Patient", "2")
    again = patients(desk.server, "2", active=True)
    desk.advance(61)
    assert desk.rows("SELECT type, state FROM message ORDER BY id")[2:] == [
        ("Patient", "TRANSFORMED"), ("Patient.deleted", "TRANSFORMED"),
    ]  # fmt: skip
    assert named(*again)[0] in desk.out.effects
    desk.advance(121)
    assert len(desk.rows("SELECT id FROM message")) == 4  # found once


def test_pages_that_shift_while_they_are_read_hide_nothing(desk_of):
    desk = desk_of(POLL % ", begin: all", lambda server: patients(server, *map(str, range(30))))
    desk.server.page = 7
    from engine.fhirserver import reconciler

    count, reconciler.COUNT = reconciler.COUNT, 7
    try:
        patients(desk.server, *map(str, range(30)), active=True)

        def shift(method, path):
            if "_page" in path:  # what was on the page before goes behind everything
                patients(
                    desk.server, *[str(n) for n in range(7)], birthDate=f"19{len(desk.server.log) % 90 + 10}"
                )

        desk.server.faults = shift
        desk.advance(61)
        desk.server.faults = lambda method, path: None
        desk.advance(61)
    finally:
        reconciler.COUNT = count
    now = {
        f"Patient/{one['id']}/_history/{one['meta']['versionId']}"
        for one in desk.server.all("Patient").values()
    }
    assert now <= set(desk.out.effects)


def test_an_outage_a_crash_and_a_full_store_lose_nothing(desk_of):
    desk = desk_of(POLL % ", begin: all", lambda server: patients(server, "1"))
    site = desk.network.sites.pop(9000)
    two = patients(desk.server, "2")
    desk.until(lambda: "fhir.unreachable" in desk.engine.channels["hook"].status()["why"])
    desk.network.sites[9000] = site
    desk.until(lambda: desk.out.effects[1:])
    assert desk.out.effects[1:] == named(*two) and desk.engine.channels["hook"].status()["why"] == ""
    three = patients(desk.server, "3")
    desk.server.faults = lambda method, path: 5.0
    desk.advance(62)
    desk.crash()  # killed while it asked
    desk.server.faults = lambda method, path: None
    desk.until(lambda: desk.out.effects[2:])
    assert desk.out.effects[2:] == named(*three)
    channel = desk.engine.channels["hook"]
    channel.hold("test", pause=False, refuse=OVERLOADED)
    four = patients(desk.server, "4")
    desk.advance(61)
    assert len(desk.out.effects) == 3 and channel.status()["why"] == "the engine takes no messages now"
    channel.hold("test", pause=False)
    desk.advance(61)
    assert desk.out.effects[3:] == named(*four)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_of_the_server_that_is_wrong_or_set_back_hides_nothing(desk_of, hours):
    desk = desk_of(POLL % ", begin: all", lambda server: patients(server, "1"))
    desk.server.skew = timedelta(hours=hours)
    two = patients(desk.server, "2")
    desk.advance(61)
    desk.server.skew = timedelta()
    three = patients(desk.server, "3")
    desk.advance(61)
    desk.advance(61)
    assert desk.out.effects[1:] == named(*two, *three)
