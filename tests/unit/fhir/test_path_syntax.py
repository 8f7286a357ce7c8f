"""FHIRPath: what fhirpathpy takes without a word is told with its column, and what is right is left alone."""

from __future__ import annotations

import fhirpathpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.fhir.path_syntax import check

WRONG = """
Patient..name | 9 fhirpath.syntax: '.' cannot stand here
Patient.name) | 13 fhirpath.syntax: ')' cannot stand here
foo bar | 5 fhirpath.syntax: 'bar' cannot stand here
where(use='x' | 14 fhirpath.syntax: the expression ends too early
gender = 'x | 10 fhirpath.syntax: "'" cannot stand here
a#b | 2 fhirpath.syntax: '#' cannot stand here
name.where(use = 'a').given.first( | 35 fhirpath.syntax: the expression ends too early
name. | 6 fhirpath.syntax: the expression ends too early
name[0 | 7 fhirpath.syntax: the expression ends too early
= 'x' | 1 fhirpath.syntax: '=' cannot stand here
Patient.nmae | 9 fhirpath.element: Patient has no element 'nmae'
contact.name.famly | 14 fhirpath.element: HumanName has no element 'famly'
value | 1 fhirpath.element: Patient has no element 'value'
name.given[0].foo | 15 fhirpath.element: string has no element 'foo'
name.frist() | 6 fhirpath.function: there is no function frist()
name.where() | 6 fhirpath.arguments: where() takes 1 argument, not 0
name.exists(use, use) | 6 fhirpath.arguments: exists() takes 0 or 1 arguments, not 2
%foo.name | 1 fhirpath.variable: there is no variable %foo
Observation.status | 1 fhirpath.type: this is asked of Patient, never of Observation
deceased.ofType(bolean) | 17 fhirpath.type: there is no type bolean
active is Bolean | 11 fhirpath.type: there is no type Bolean
""".strip().split("\n")

RIGHT = [
    "name.where(use='official').given.first()",
    "identifier.where(type.coding.where(code='MR').exists()).value",
    "telecom.where(system='phone' and use='home').value.first()",
    "birthDate <= @2000-01-01",
    "name.select(given.first() & ' ' & family)",
    "iif(deceased.exists(), deceased, active)",
    "deceased.ofType(boolean)",
    "generalPractitioner.resolve().name",
    "extension('http://example.org/x').value",
    "(name | contact.name).family",
    "contained.ofType(Organization).name",
    "link.other.reference",
    "Resource.id",
    "%previous.active != %current.active",
    "name.family.startsWith('A') implies active = true",
    "maritalStatus.coding.code in ('M' | 'S')",
]


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_has_its_column(case):
    expression, _, told = case.partition(" | ")
    (found,) = check(expression, ["Patient"])
    assert f"{found.column} {found.code}: {found.text}" == told


def test_the_traps_are_real():
    """fhirpathpy itself says nothing of these: it compiles them."""
    for expression in ("Patient..name", "Patient.name)", "foo bar", "where(use='x'"):
        fhirpathpy.compile(expression)
        assert check(expression)


@pytest.mark.parametrize("expression", RIGHT)
def test_what_is_right_has_no_finding_and_runs(expression):
    assert check(expression, ["Patient"]) == []
    if "resolve" not in expression and "%" not in expression:
        fhirpathpy.evaluate({"resourceType": "Patient"}, expression, model=fhirpathpy.models.models["r4"])


def test_the_version_decides_what_there_is():
    assert check("Encounter.class.code", ["Encounter"], "R4") == []
    assert [one.column for one in check("Encounter.class.code", ["Encounter"], "R5")] == [17]
    assert check("topic", ["SubscriptionStatus"], "R4B") == []
    assert check("topic", ["SubscriptionStatus"], "R4")[0].text == "R4 has no resource SubscriptionStatus"


def test_without_a_type_only_what_no_type_decides_is_told():
    assert check("nmae.frist()")[0].code == "fhirpath.function"
    assert check("nmae.family") == []


def test_one_of_several_types_is_enough():
    assert check("birthDate", ["Patient", "Practitioner"]) == []
    assert check("period", ["Patient", "Encounter"]) == []
    assert check("subject.refrence", ["Patient", "Encounter"])[0].hint == "Did you mean 'reference'?"


def test_the_hint_names_what_was_perhaps_meant():
    assert check("Patient.nmae", ["Patient"])[0].hint == "Did you mean 'name'?"
    assert check("name.frist()", ["Patient"])[0].hint == "Did you mean 'first'?"


@given(st.text("Patient.nam()='\"[]|&%$ 0x\n{}@T-+", max_size=40))
def test_any_text_gives_findings_and_never_an_error(text):
    for found in check(text, ["Patient"]):
        assert 1 <= found.column <= len(text) + 1


def test_deep_and_long_texts_are_findings():
    assert check("(" * 3000 + "a" + ")" * 3000)[0].code == "fhirpath.syntax"
    assert check("a." * 20000)[0].code == "fhirpath.syntax"
