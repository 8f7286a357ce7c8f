"""States of a FHIR server become events: what was before is kept, what comes late or twice is recorded and not done."""

import json
import sqlite3

import pytest
from desk import Scripted, scripted
from fhir_desk import CONNECTION, FhirDesk
from web import post

CHANNEL = """
channels:
  hook:
    format: fhir
    canonical: {identity: resource}
    listener:
      fhir_subscription: {port: 8080, path: /fhir/hook%s}
    destinations: {out: {scripted: {name: out}}}
"""
ASKING = CONNECTION + CHANNEL % ", connection: ehr"
BELIEVING = CHANNEL % ""


class Telling(Scripted):
    """Does the events of a message, by their types."""

    def render(self, scope):
        return ",".join(event.type for event in scope.events).encode() or None


@pytest.fixture
def desk_of(tmp_path):
    made = []

    def make(config):
        desk = FhirDesk(tmp_path, config)
        made.append(desk)
        desk.out = destinations["out"]
        return desk

    with scripted() as destinations:
        destinations["out"] = Telling()
        yield make
        for desk in made:
            desk.stop()


def appointment(version, status="booked", hour=9, id_="1", at=None):
    return {
        "resourceType": "Appointment", "id": id_, "status": status, "start": f"2026-12-01T{hour:02d}:00:00Z",
        "meta": {"versionId": str(version), "lastUpdated": at or f"2026-11-01T00:00:{int(version):02d}Z"},
        "participant": [{"actor": {"reference": "Patient/7"}}],
    }  # fmt: skip


def tell(desk, *resources):
    for one in resources:
        assert post(desk, json.dumps(one).encode(), path="/fhir/hook")[0] == 200


def gone(desk, reference):
    assert post(desk, b"", [], f"/fhir/hook/{reference}", "DELETE")[0] == 200


def outcome(desk):
    return desk.rows("SELECT state, reason FROM message ORDER BY id")


def test_a_store_that_cannot_be_read_for_a_moment_is_no_error_of_a_message(desk_of, monkeypatch):
    desk = desk_of(BELIEVING)
    tell(desk, appointment(1))
    states = desk.engine.channels["hook"].router.states
    read, left = states._read, [10]

    def broken(*args):
        if left:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = left.pop()
            raise error
        return read(*args)

    monkeypatch.setattr(states, "_read", broken)
    tell(desk, appointment(2, hour=10))
    desk.advance(1)
    assert not left and desk.out.effects == ["appointment.booked", "appointment.rescheduled"]


def test_states_become_events(desk_of):
    desk = desk_of(BELIEVING)
    tell(
        desk,
        appointment(1),
        appointment(2, hour=10),
        appointment(3, "cancelled", 10),
        appointment(4, hour=10),
    )
    tell(desk, appointment(5, "noshow", 10))
    gone(desk, "Appointment/1")
    assert desk.out.effects == [
        "appointment.booked", "appointment.rescheduled", "appointment.cancelled", "appointment.booked",
        "appointment.noshow", "appointment.deleted",
    ]  # fmt: skip


def test_many_in_one_group_see_each_other_and_a_crash_splits_nothing(desk_of):
    desk = desk_of(BELIEVING)
    from desk import Sent

    for version in range(1, 20):
        raw = json.dumps(appointment(version, hour=version)).encode()
        desk.engine.channels["hook"].receive(Sent(raw, desk.now()))
    desk.crash()  # nothing is committed
    assert outcome(desk) == []
    for version in range(1, 20):
        raw = json.dumps(appointment(version, hour=version)).encode()
        desk.engine.channels["hook"].receive(Sent(raw, desk.now()))
        if version in (7, 13):
            desk.settle()
            desk.crash()
    desk.settle()
    assert desk.out.effects == ["appointment.booked", *["appointment.rescheduled"] * 18]


def test_what_comes_late_is_superseded_and_writes_nothing_over(desk_of):
    desk = desk_of(BELIEVING)
    tell(desk, appointment(2, "cancelled"), appointment(1), appointment(3, "cancelled", 12))
    assert desk.out.effects == ["appointment.cancelled", "appointment.cancelled"]
    assert outcome(desk)[1] == ("FILTERED", "superseded: a later version came with message 1")


def test_the_same_version_in_other_bytes_is_not_done_again_and_a_replay_is(desk_of):
    desk = desk_of(BELIEVING)
    tell(desk, appointment(1))
    assert post(desk, json.dumps(appointment(1), indent=1).encode(), path="/fhir/hook")[0] == 200
    assert outcome(desk)[1] == ("FILTERED", "the same version came with message 1")
    desk.act_on([1], "replay")
    assert desk.out.effects == ["appointment.booked"] * 2  # as if nothing were known
    tell(desk, appointment(2, hour=11))
    desk.act_on([1], "replay")
    assert desk.out.effects[2:] == ["appointment.rescheduled"]
    assert outcome(desk)[-1][0] == "FILTERED"


def test_what_ended_in_error_is_a_change_when_it_is_replayed(desk_of):
    desk = desk_of(BELIEVING)
    tell(desk, appointment(1))
    broken = appointment(2, hour=10) | {"start": "tomorrow"}
    tell(desk, broken)
    tell(desk, appointment(3, "cancelled"))
    states = [state for state, _ in outcome(desk)]
    assert desk.out.effects[-1] == "appointment.cancelled" and states[0] == states[2] == "TRANSFORMED"


def test_a_server_that_was_restored_counts_again(desk_of):
    desk = desk_of(BELIEVING)
    tell(desk, appointment(8), appointment(3, "cancelled", at="2026-11-02T00:00:00Z"))
    assert desk.out.effects == ["appointment.booked", "appointment.cancelled"]


def test_after_a_deletion_a_late_version_does_not_bring_it_back_and_a_new_one_does(desk_of):
    desk = desk_of(ASKING)
    first = desk.server.put(appointment(1, id_="1"))[0]
    second = desk.server.put(appointment(1, id_="1", hour=10))[0]
    tell(desk, first)
    desk.server.remove("Appointment", "1")
    gone(desk, "Appointment/1")
    tell(desk, second)
    gone(desk, "Appointment/1")
    assert desk.out.effects == ["appointment.booked", "appointment.deleted"]
    assert [row[0] for row in outcome(desk)[2:]] == ["FILTERED"] * 2
    third = desk.server.put(appointment(1, id_="1", hour=11))[0]
    tell(desk, second)  # another message of the old version: what there is now follows
    tell(desk, third)
    assert desk.out.effects[2:] == ["appointment.booked"]


def test_a_clock_that_goes_back_makes_nothing_late(desk_of):
    """Versions without order, and the newest has an older time: the server is asked."""
    desk = desk_of(ASKING)
    tell(desk, desk.server.put(appointment(1))[0])
    from datetime import timedelta

    desk.server.skew = timedelta(hours=-2)
    moved = desk.server.put(appointment(1, hour=12))[0]
    tell(desk, moved)
    assert desk.out.effects == ["appointment.booked", "appointment.rescheduled"]


@pytest.mark.parametrize("level", ["no-content", "metadata"])
def test_a_channel_that_keeps_no_content_keeps_none_of_states(desk_of, level):
    desk = desk_of(BELIEVING.replace("    canonical:", f"    storage: {level}\n    canonical:"))
    tell(desk, appointment(2), appointment(1), appointment(3, hour=11))
    assert desk.out.effects == ["appointment.booked", "appointment.modified"]
    assert desk.rows("SELECT data FROM snapshot") == [(None,)]


def test_states_are_put_under_a_new_key_and_checked(desk_of):
    from engine.store.maintenance import check, keys_in_use, reencrypt

    desk = desk_of(BELIEVING)
    tell(desk, appointment(1))
    writing = desk.engine.store._writing
    before = keys_in_use(writing)
    writing.codec.keys.rotate()
    after = "0"
    while after is not None:
        after = reencrypt(writing, after)
    assert keys_in_use(writing) != before and len(keys_in_use(writing)) == 1
    assert check(writing) == []
    tell(desk, appointment(2, hour=12))
    assert desk.out.effects == ["appointment.booked", "appointment.rescheduled"]
    writing.execute("UPDATE snapshot SET data = CAST(data || x'00' AS BLOB)")
    assert any("state of a resource" in wrong for wrong in check(writing))


def test_a_channel_without_destinations_takes_each_version_once(tmp_path):
    desk = FhirDesk(tmp_path, BELIEVING.replace("{out: {scripted: {name: out}}}", "{}"))
    again = {**appointment(1), "description": "as another notification shows it"}
    tell(desk, appointment(1), again, appointment(2))
    assert [state for state, _ in outcome(desk)] == ["TRANSFORMED", "FILTERED", "TRANSFORMED"]
    desk.stop()
