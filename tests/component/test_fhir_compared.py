"""HL7 → FHIR against the FHIR that others made of the same messages: the table of docs/canonical.md is what a count
gives, every element that differs has its reason there, and what matters most never differs."""

from __future__ import annotations

import re

import pytest

from tests.component.fhir_compared import TYPES, Element, compared, table
from tests.corpus import CORPUS, ROOT, needs_corpus

ROW = re.compile(r"\| (\w+)\.([\w.]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (.*) \|")
EQUAL = {
    "Patient": ("birthDate", "gender", "maritalStatus", "deceasedBoolean", "deceasedDateTime"),
    "Encounter": ("class", "type", "serviceType", "reasonCode", "hospitalization.dischargeDisposition"),
    "Appointment": ("identifier", "status", "start", "end"),
    "Coverage": ("beneficiary", "payor", "status"),
}


def documented() -> dict[tuple[str, str], tuple[dict[str, int], str]]:
    """The table of the documentation."""
    found = {}
    text = (ROOT / "docs" / "canonical.md").read_text("utf-8")
    for type_, name, *counts, reason in ROW.findall(text):
        if type_ in TYPES:
            verdicts = dict(zip(("matched", "different", "missing", "more"), map(int, counts), strict=True))
            found[type_, name] = verdicts, reason.strip()
    return found


def test_every_difference_has_its_reason():
    rows = documented()
    assert len(rows) > 50
    for where, (counts, reason) in rows.items():
        differs = counts["different"] + counts["missing"] + counts["more"]
        assert bool(reason) == bool(differs), where


@needs_corpus
def test_the_table_is_what_a_count_gives():
    told = {where: counts for where, (counts, _) in documented().items()}
    counted = table(CORPUS)
    assert {where: counts for where, counts in counted.items() if told.get(where) != counts} == {}
    assert told.keys() == counted.keys()


@needs_corpus
def test_what_matters_most_never_differs():
    counted = table(CORPUS)
    for type_, names in EQUAL.items():
        for name in names:
            counts = counted[type_, name]
            assert counts["matched"] and not counts["different"] + counts["missing"], (type_, name)
    patients = {element.file for element in compared(CORPUS) if element.type == "Patient"}
    assert len(patients) >= 70


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [("a", None, "more"), (None, "a", "missing"), ("a", "a", "matched"), ("a", "b", "different")],
)
def test_verdicts(ours, theirs, verdict):
    assert Element("f", "Patient", "x", ours, theirs).verdict == verdict
