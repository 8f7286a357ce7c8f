"""Every message that others wrote, of the types that give events: no crash, only documented errors, and the main
facts agree with the FHIR that others made of the same message."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

from engine.errors import HL7Error, StepError
from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.template import compile_template
from tests.corpus import CORPUS, HL7V2, needs_corpus
from transforms.canonical.catalogue import ENTITIES, EVENTS
from transforms.canonical.from_hl7 import ADAPTERS, interpreter, types

DOCUMENTED = {
    "patient.no_identifier",
    "patient.no_mrn",
    "merge.no_prior_identifier",
    "appointment.no_identifier",
    *(f"{kind}.no_identifier" for kind in ("account", "charge", "document", "order", "referral")),
}
SPLIT = re.compile(rb"(?:^|(?<=[\r\n]))(?=MSH[^A-Za-z0-9\s])")

interpret = interpreter({})
TEMPLATES = {name: compile_template(name, BuildContext()) for name in ("patient", "appointment")}


BUSINESS = ("BAR", "DFT", "MDM", "OMD", "OMG", "OML", "OMP", "ORM", "ORU", "RDE", "REF", "VXU")


def messages(kinds=("ADT", "SIU")):
    """Every message of these types in the corpus with its file."""
    for path in sorted(HL7V2.rglob("*.hl7")):
        for part in SPLIT.split(path.read_bytes().removeprefix(b"\xef\xbb\xbf")):
            if not part.startswith(b"MSH"):
                continue
            try:
                message = Message(part)
            except HL7Error:
                continue
            if message["MSH-9.1"] in kinds:
                yield path, message


@needs_corpus
def test_the_events_of_a_type_are_among_those_that_lint_knows():
    seen = set()
    for _, message in messages(tuple(ADAPTERS)):
        try:
            found = interpret(message, Meta())
        except StepError:
            continue
        known = types(message["MSH-9.1"], message["MSH-9.2"])
        assert {event.type for event in found} <= known, message["MSH-9"]
        seen |= {event.type for event in found}
    assert len(seen) > 25


@needs_corpus
def test_every_message_is_interpreted_and_rendered():
    counts: Counter[str] = Counter()
    for path, message in messages():
        kind = message["MSH-9.1"]
        scope = Scope(message, Meta(), interpret)
        try:
            events = scope.events
        except StepError as error:
            assert error.code in DOCUMENTED, path
            assert error.where
            assert error.todo
            counts[error.code] += 1
            continue
        template = TEMPLATES["patient" if kind == "ADT" else "appointment"]
        operations = template(scope)
        counts[
            f"{kind} messages with events" if events else f"{kind}^{message['MSH-9.2']} without events"
        ] += 1
        counts["events"] += len(events)
        counts["operations"] += len(operations)
        json.dumps(operations)
        again = interpret(message, Meta())
        assert [event.id for event in again] == [event.id for event in events]
        assert len({event.id for event in events}) == len(events)
        for event in events:
            json.dumps(event.to_cloudevent(channel="adt"))
    print(dict(counts.most_common()))
    assert counts["ADT messages with events"] > 100
    assert counts["SIU messages with events"] > 15


@needs_corpus
def test_every_business_message_is_interpreted():
    counts: Counter[str] = Counter()
    for path, message in messages(BUSINESS):
        try:
            events = interpret(message, Meta())
        except StepError as error:
            assert error.code in DOCUMENTED, path
            counts[error.code] += 1
            continue
        assert [event.id for event in interpret(message, Meta())] == [event.id for event in events]
        for event in events:
            assert event.type in EVENTS, path
            assert isinstance(event.entity, ENTITIES[event.kind]), path
            json.dumps(event.to_cloudevent(channel="a"))
            counts[event.kind] += 1
    print(dict(counts.most_common()))
    for kind, least in {"result": 100, "order": 60, "document": 15, "vaccination": 12, "charge": 8}.items():
        assert counts[kind] >= least
    assert counts["account"] >= 5 and counts["referral"] >= 4
    assert sum(counts[code] for code in DOCUMENTED) <= 25


def resources(path: Path, kind: str):
    bundle = json.loads(path.read_text("utf-8-sig"))
    found = [entry.get("resource", {}) for entry in bundle.get("entry", [])]
    return [item for item in found if item.get("resourceType") == kind]


def compared():
    for path, message in messages():
        expected = CORPUS / "expected" / path.parent.name / f"{path.stem}-expected.json"
        if expected.is_file():
            try:
                events = interpret(message, Meta())
            except StepError:
                continue
            if events:
                yield path, expected, events


def same_day(ours, theirs: str) -> bool:
    return theirs.startswith(ours) if isinstance(ours, str) else False


@needs_corpus
def test_patients_agree_with_the_fhir_of_others():
    counts: Counter[str] = Counter()
    for path, expected, events in compared():
        who, theirs = events[0].patient, resources(expected, "Patient")
        if who is None or len(theirs) != 1:
            continue
        other = theirs[0]
        counts["patients"] += 1
        assert who.mrn in {item["value"] for item in other["identifier"] if "value" in item}, path
        counts["identifier"] += 1
        if who.name.display:
            named = {(name.get("family", ""), name.get("given", [""])[0]) for name in other.get("name", [])}
            assert (who.name.family, (who.name.given or [""])[0]) in named, path
            counts["name"] += 1
        if "birthDate" in other:
            assert same_day(who.birth_date, other["birthDate"]), path
            counts["birth date"] += 1
        if other.get("gender") in ("male", "female"):
            assert who.gender == other["gender"], path
            counts["gender"] += 1
    print(dict(counts))
    assert counts["patients"] >= 30
    assert min(counts[name] for name in ("identifier", "name", "birth date", "gender")) >= 20


@needs_corpus
def test_appointments_agree_with_the_fhir_of_others():
    counts: Counter[str] = Counter()
    for path, expected, events in compared():
        booking, theirs = events[0].appointment, resources(expected, "Appointment")
        if booking is None or len(theirs) != 1:
            continue
        other = theirs[0]
        counts["appointments"] += 1
        assert {item.value for item in booking.identifiers} <= {item["value"] for item in other["identifier"]}
        if "start" in other:
            assert booking.start == datetime.fromisoformat(other["start"]), path
            counts["start"] += 1
        if "status" in other:
            assert booking.status == other["status"], path
            counts["status"] += 1
    print(dict(counts))
    assert counts["appointments"] >= 8
