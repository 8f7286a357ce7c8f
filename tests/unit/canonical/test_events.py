"""Which trigger gives which event, and when and what it is."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from engine.errors import StepError
from engine.hl7.er7 import Message
from engine.model import Meta
from tests.unit.canonical.hl7 import PID, PV1, booking, events, message
from transforms.canonical.events import NAMESPACE, event_id
from transforms.canonical.from_hl7 import interpret
from transforms.canonical.from_hl7.adt import MERGES, TRIGGERS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def types(trigger: str, *segments: str) -> list[str]:
    return [event.type for event in events(trigger, *segments)]


@pytest.mark.parametrize("trigger", sorted(TRIGGERS))
def test_every_listed_trigger(trigger):
    meaning = TRIGGERS[trigger]
    found = events(f"ADT^{trigger}", PID, PV1)
    named = [f"patient.{meaning.patient}"] * bool(meaning.patient)
    assert [event.type for event in found] == named + [f"encounter.{meaning.encounter}"] * bool(
        meaning.encounter
    )
    assert all(event.partition_key == "HOSP/1001" and event.correlation_id == "C1" for event in found)
    if meaning.encounter:
        assert found[-1].subject == "Encounter/HOSP/V1"
        assert found[-1].encounter.status == meaning.status


@pytest.mark.parametrize("trigger", sorted(MERGES))
def test_every_merge(trigger):
    found = events(f"ADT^{trigger}", PID, "MRG|2002^^^HOSP^MR||A9^^^HOSP^AN||V9^^^HOSP^VN", PV1)
    assert [event.type for event in found] == [MERGES[trigger]]
    if MERGES[trigger].startswith("patient."):
        assert [old.key for old in found[0].retired] == ["HOSP/2002"]
    else:
        assert found[0].prior.key == "HOSP/V9"


@pytest.mark.parametrize("trigger", sorted(MERGES))
def test_a_merge_that_does_not_say_what(trigger):
    with pytest.raises(StepError) as error:
        events(f"ADT^{trigger}", PID)
    assert error.value.code == "merge.no_prior_identifier"


def test_several_merges_in_one_message():
    found = events(
        "ADT^A40", PID, "MRG|2", "PID|2||3003^^^HOSP^MR||Roe^Max", "MRG|4^^^HOSP~5^^^LAB", "MRG|6^^^HOSP"
    )
    assert [(event.patient.key, [old.key for old in event.retired]) for event in found] == [
        ("HOSP/1001", ["FAC/2"]),
        ("HOSP/3003", ["HOSP/4", "HOSP/6"]),
    ]
    assert len({event.id for event in found}) == 2


def test_nobody_is_merged_into_themselves():
    assert events("ADT^A40", PID, "MRG|1001^^^HOSP^MR")[0].retired == []


def test_a08_without_a_visit_and_other_types():
    assert types("ADT^A08", PID, "PV1|1|N") == ["patient.updated"]
    assert types("ADT^A08", PID, PV1) == ["patient.updated", "encounter.updated"]
    assert types("ADT^A60", PID) == []
    assert types("ORU^R01", PID) == []  # without a report in it
    assert types("RSP^K22", PID) == []
    assert types("SIU^S25", PID) == []


def test_swap_moves_both():
    found = events(
        "ADT^A17", PID, PV1, "PID|2||2^^^HOSP^MR||Roe^Max", "PV1|2|I|W9^1||||||||||||||||V2^^^HOSP"
    )
    assert [(event.patient.mrn, event.encounter.number) for event in found] == [("1001", "V1"), ("2", "V2")]


def test_time_is_when_it_happened():
    evn = "EVN|A01|20260301110000+0000|||X|20260301100000+0000"
    assert events("ADT^A01", evn, PID, PV1)[0].time == NOON - timedelta(hours=2)
    assert events("ADT^A01", "EVN|A01|20260301110000+0000", PID)[0].time == NOON - timedelta(hours=1)
    assert events("ADT^A01", PID)[0].time == NOON
    late = interpret(message("ADT^A01", PID, head=""), Meta(received_at=1_000_000))[0]
    assert late.time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_local_times_are_of_the_channels_zone():
    at = "SCH||F1|||||||||^^^20260701100000"
    assert booking(at, timezone="America/Chicago").start == datetime(2026, 7, 1, 15, tzinfo=UTC)


def test_ids_are_a_function_of_the_bytes():
    assert [e.id for e in events("ADT^A01", PID, PV1)] == [e.id for e in events("ADT^A01", PID, PV1)]
    assert events("ADT^A01", PID)[0].id != events("ADT^A01", PID, PV1)[0].id
    assert event_id("a", "b", 1) == str(uuid.uuid5(NAMESPACE, "a|b|1"))


def test_cloudevent_headers_show_no_identifier():
    event = events("ADT^A01", PID, PV1)[1]
    envelope = event.to_cloudevent(channel="adt", secret=b"k")
    data = envelope.pop("data")
    assert (envelope["specversion"], envelope["type"]) == ("1.0", "health.encounter.admitted.v1")
    assert all(name.isalnum() and name.islower() for name in envelope)
    assert "1001" not in json.dumps(envelope)
    assert "V1" not in json.dumps(envelope).replace(envelope["id"], "")
    assert envelope["partitionkey"] != event.to_cloudevent(secret=b"other")["partitionkey"]
    assert data["patient"]["mrn_identifier"]["value"] == "1001"
    assert data["entity"]["status"] == "in-progress"


@pytest.mark.parametrize(
    ("segments", "start", "minutes"),
    [
        (["SCH||F1|||||||||^^30^20260301120000Z^20260301124500Z"], NOON, 45),
        (["SCH||F1|||||||||^^^20260301120000Z"], NOON, 30),
        (["SCH||F1|||||||||^^2 hours^20260301120000Z"], NOON, 120),
        (["SCH||F1|||||||||^^M20^20260301120000Z"], NOON, 20),
        (["SCH||F1|||||||60|min|^^^20260301120000Z"], NOON, 60),
        (["SCH||F1|||||||2|H|^^^20260301120000Z"], NOON, 120),
        (["SCH||F1|||||||||^^15^20260301120000Z^20260301110000Z"], NOON, 15),
        (["SCH||F1", "TQ1|||||||20260301120000Z|20260301130000Z"], NOON, 60),
        (["SCH||F1", "AIS|1||X|20260301120000Z|||20|min"], NOON, 20),
        (["SCH||F1", "AIS|1||X|20260301123000Z|||30|min", "AIS|2||Y|20260301120000Z|||10|min"], NOON, 60),
        (["SCH||F1", "AIP|1||7^Roe^Max|||20260301120000Z|||25|min"], NOON, 25),
    ],
)
def test_start_and_end(segments, start, minutes):
    found = booking(*segments)
    assert found.start == start
    assert found.end == start + timedelta(minutes=minutes)
    assert found.duration == minutes


def test_no_time_at_all():
    found = booking("SCH||F1")
    assert found.start is UNSET
    assert found.end is UNSET


def test_appointment_keys():
    assert booking("SCH|P1^EHR|F1^SCHED").key == "SCHED/F1"
    assert booking("SCH|P1^EHR").key == "EHR/placer/P1"
    assert booking("SCH|P1^EHR|F1^SCHED", canonical={"appointment_id": "placer"}).key == "EHR/placer/P1"
    assert booking("SCH||F1|3").key == "FAC/F1/3"
    with pytest.raises(StepError) as error:
        booking("SCH|||")
    assert error.value.code == "appointment.no_identifier"


@pytest.mark.parametrize(
    ("trigger", "sent", "type_", "status"),
    [
        ("S12", "", "booked", "booked"),
        ("S12", "BOOKED^Booked^HL70278", "booked", "booked"),
        ("S12", "Pending", "requested", "pending"),
        ("S13", "Sch", "rescheduled", "booked"),
        ("S14", "Cancelled", "cancelled", "cancelled"),
        ("S14", "No-Show", "noshow", "noshow"),
        ("S14", "Arrived", "arrived", "arrived"),
        ("S14", "Complete", "completed", "fulfilled"),
        ("S14", "whatever", "modified", "booked"),
        ("S15", "Booked", "cancelled", "cancelled"),
        ("S17", "", "deleted", "entered-in-error"),
        ("S26", "Booked", "noshow", "noshow"),
    ],
)
def test_appointment_status(trigger, sent, type_, status):
    event = events(f"SIU^{trigger}", "SCH||F1" + "|" * 23 + sent)[0]
    assert (event.type, event.appointment.status) == (f"appointment.{type_}", status)


def test_people_and_places_of_all_groups():
    found = booking(
        "SCH||F1",
        "RGS|1",
        "AIP|1||7^Roe^Max^^^^^^^^^^NPI",
        "AIL|1||A^1",
        "RGS|2",
        "AIP|1||8^Poe^Eve",
        "AIL|1||B^2",
    )
    assert [person.key for person in found.practitioners] == ["NPI/7", "FAC/8"]
    assert found.location == "A 1, B 2"
    only = booking("SCH||F1", "AIG|1||9^Moe, Kim|D^Doctor", "AIG|2||55^Video scope|EQ^Equipment")
    assert [person.name.display for person in only.practitioners] == ["Kim Moe"]
    assert [item.label for item in only.resources] == ["Video scope"]


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n", codec="utf-8"), max_size=40), max_size=6))
def test_noise_is_interpreted_or_refused(noise):
    fields = "|".join(noise)
    for trigger in ("ADT^A40", "ADT^A01", "SIU^S12"):
        lines = [f"MSH|^~\\&|A|B|C|D|{fields[:9]}||{trigger}|1", f"PID|1|{fields}", f"PV1|{fields}"]
        lines += [f"MRG|{fields}", f"SCH|{fields}", f"AIS|1||{fields}", f"AIP|1||{fields}"]
        try:
            interpret(Message("\r".join(lines).encode()), Meta())
        except StepError as error:
            assert error.where
            assert error.code.startswith(("patient.", "merge.", "appointment."))
