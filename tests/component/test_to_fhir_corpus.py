"""Every message that others wrote, as FHIR of each version: what is made of it that version allows, all of it."""

from __future__ import annotations

from collections import Counter

import pytest

from destinations.fhir import check
from engine.errors import StepError
from engine.model import Meta
from tests.component.test_canonical_corpus import interpret, messages
from tests.corpus import needs_corpus
from transforms.canonical.from_hl7 import ADAPTERS
from transforms.canonical.to_fhir import RESOURCES, WRITTEN, plan

REFUSED = {"fhir.no_identifier"}
TYPES = {
    "Patient", "Practitioner", "Organization", "Location", "Encounter", "Appointment", "Coverage", "ServiceRequest",
    "DiagnosticReport", "Observation", "DocumentReference", "ChargeItem", "Immunization",
}  # fmt: skip


NAMED = {"Practitioner", "Organization", "Location"}


def test_each_kind_has_its_resources():
    assert set(RESOURCES) == set(WRITTEN)


@needs_corpus
@pytest.mark.parametrize("version", ["R4", "R5"])
def test_what_is_made_is_allowed(version):
    made: Counter[str] = Counter()
    for path, message in messages(tuple(ADAPTERS)):
        try:
            events = interpret(message, Meta())
        except StepError:
            continue
        try:
            entries = plan(events, {}, version)
        except StepError as error:
            assert error.code in REFUSED, path
            continue
        written = {name for event in events for name in RESOURCES.get(event.kind, ())}
        assert {entry.type for entry in entries} <= written | NAMED, path
        for entry in entries:
            if entry.mode != "existing":
                check(entry, version)
                made[entry.type] += 1
    assert set(made) == TYPES
    assert made["Patient"] > 250 and made["ChargeItem"] and made["Immunization"] > 10
