"""Every FHIR resource that others wrote: no crash, only documented errors, events of the catalogue that templates take;
the FHIR that others made of HL7 messages has the same patients and appointments as the messages."""

from __future__ import annotations

import json
from collections import Counter

import orjson
import pytest

from engine.errors import HL7Error, StepError
from engine.fhir.notification import detect
from engine.fhir.resource import Fhir
from engine.model import Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.template import compile_template
from tests.corpus import CORPUS, FHIR, MEDPLUM, needs_corpus, needs_medplum
from transforms.canonical.catalogue import ENTITIES, EVENTS
from transforms.canonical.from_fhir import interpret, interpreter

REFUSED = {"fhir.unresolved", "fhir.deleted", "patient.no_identifier", "template.key"}
TEMPLATES = [
    compile_template(name, BuildContext()) for name in ("patient", "appointment", "charge", "referral")
]


def resources():
    """Every resource of the corpus that can be read as a message."""
    for path in sorted([*FHIR.rglob("*.json"), *(CORPUS / "expected").rglob("*-expected.json")]):
        try:
            yield path, Fhir().parse(path.read_bytes())
        except HL7Error:
            continue


@needs_corpus
@pytest.mark.parametrize("identity", ["business", "resource"])
def test_every_resource_is_interpreted_and_rendered(identity):
    run = interpreter({"canonical": {"identity": identity}})
    counts: Counter[str] = Counter()
    for path, view in resources():
        meta = Meta(channel="fhir", control_id="1")
        scope = Scope(view, meta, run)
        try:
            events = scope.events
            for template in TEMPLATES:
                orjson.dumps(template(scope))
        except StepError as error:
            assert error.code in REFUSED, path
            assert error.todo
            counts[error.code] += 1
            continue
        assert [event.id for event in run(view, meta)] == [event.id for event in events]
        assert len({event.id for event in events}) == len(events)
        for event in events:
            assert event.type in EVENTS, path
            assert isinstance(event.entity, ENTITIES[event.kind]), path
            json.dumps(event.to_cloudevent(channel="fhir"))
            counts[event.kind] += 1
    print(identity, dict(counts.most_common()))
    for kind, least in {
        "patient": 120,
        "encounter": 30,
        "appointment": 10,
        "result": 100,
        "order": 20,
    }.items():
        assert counts[kind] >= least
    for kind in ("coverage", "document", "vaccination", "practitioner", "organization", "location"):
        assert counts[kind] >= 4
    assert sum(counts[code] for code in REFUSED) <= (45 if identity == "business" else 8)


@needs_medplum
def test_what_a_real_server_told_are_the_steps_that_were_taken_there():
    """Two Subscriptions told of everything: the second telling is no event, nor is `active: true`."""
    known: dict[str, dict] = {}
    told = []
    for line in MEDPLUM.read_text().splitlines():
        request = json.loads(line)
        headers = {name.lower(): value for name, value in request["headers"]}
        found = detect(
            request["method"], lambda name, h=headers: h.get(name.lower(), ""), "", request["body"].encode()
        )
        for raw, _ in found.messages:
            data = orjson.loads(raw)
            gone = data["resourceType"] == "Bundle"
            name = data["entry"][0]["request"]["url"] if gone else f"{data['resourceType']}/{data['id']}"
            if gone and name not in known:
                continue  # told before
            told += [
                (event.type, event.changed) for event in interpret(data, known.get(name), resolve=known.get)
            ]
            known[name] = data
            if gone:
                del known[name]
    assert told == [
        ("patient.registered", []),
        ("appointment.booked", []),
        ("appointment.cancelled", ["status"]),
        ("patient.updated", ["gender"]),
        ("appointment.deleted", ["status"]),
        ("patient.deleted", []),
    ]
