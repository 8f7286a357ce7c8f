"""Who the patient is, and what PID says of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from engine.errors import ConfigError, StepError
from tests.unit.canonical.hl7 import PID, events, patient
from transforms.canonical.types import Identifier


@pytest.mark.parametrize(
    ("pid3", "options", "key"),
    [
        ("1001^^^HOSP^MR", {}, "HOSP/1001"),
        ("77^^^LAB^PI~1001^^^HOSP^MR", {}, "HOSP/1001"),
        ("9^^^SSA^SS~77^^^LAB^PI", {}, "LAB/77"),
        ("9^^^SSA^SS~77^^^LAB", {}, "LAB/77"),
        ("1001", {}, "FAC/1001"),
        ("1001", {"canonical": {"default_authority": "HOSP"}}, "HOSP/1001"),
        ("1001^^^&2.16.840.1&ISO^MR", {}, "2.16.840.1/1001"),
        ("1001^^^&2.16.840.1&ISO^MR", {"canonical": {"authorities": {"2.16.840.1": "HOSP"}}}, "HOSP/1001"),
        ("1001^^^HOSP^MR~5^^^EAST^MR", {"mrn": {"authority": "EAST"}}, "EAST/5"),
        ("1001^^^HOSP^MR~5^^^HOSP^PI", {"mrn": {"type": "PI"}}, "HOSP/5"),
        (" 1001 ^^^HOSP^MR", {}, "HOSP/1001"),
    ],
)
def test_key(pid3, options, key):
    assert patient(f"PID|1||{pid3}||Doe^Jane", **options).key == key
    siu = events("SIU^S12", "SCH||F1", f"PID|1||{pid3}||Doe^Jane", **options)
    assert siu[0].patient.key == key


def test_older_fields_are_taken():
    assert patient("PID|1|1001^^^HOSP||77|Doe^Jane").mrn == "1001"
    assert patient("PID|1|||1001|Doe^Jane").mrn == "1001"


@pytest.mark.parametrize("pid", ["PID|1||||Doe^Jane", 'PID|1||""||Doe^Jane', "PID|1||^^^HOSP^MR||Doe"])
def test_without_identifier(pid):
    with pytest.raises(StepError) as error:
        patient(pid)
    assert (error.value.code, error.value.where) == ("patient.no_identifier", "PID-3")
    assert "Doe" not in str(error.value)


def test_the_asked_mrn_is_never_replaced_by_another():
    with pytest.raises(StepError) as error:
        patient(PID, mrn={"authority": "EAST"})
    assert error.value.code == "patient.no_mrn"


PARTS = st.text(min_size=1, max_size=8)


@given(PARTS, PARTS, PARTS, PARTS)
def test_keys_never_collide(a, b, c, d):
    same = Identifier(value=a, assigner=b).key == Identifier(value=c, assigner=d).key
    assert same == ((a, b) == (c, d))


@pytest.mark.parametrize(
    ("pid13", "phone", "mobile", "email"),
    [
        ("(309)555-0142", "(309)555-0142", UNSET, UNSET),
        ("^PRN^PH^^1^309^5550101", "+1 309 5550101", UNSET, UNSET),
        ("^PRN^CP^^^309^5550101~^PRN^PH^^^309^5550102", "309 5550102", "309 5550101", UNSET),
        ("^PRN^CP^^^309^5550101", "309 5550101", "309 5550101", UNSET),
        ("^NET^Internet^a@b.example", UNSET, UNSET, "a@b.example"),
        ("a@b.example^NET^Internet", UNSET, UNSET, "a@b.example"),
        ("a@b.example", UNSET, UNSET, "a@b.example"),
        ("^PRN^FX^^^309^5550101", UNSET, UNSET, UNSET),
        ("^^^^^^^^^^^+1 309 5550101", "+1 309 5550101", UNSET, UNSET),
        ('""', None, None, None),
        ("", UNSET, UNSET, UNSET),
    ],
)
def test_phones(pid13, phone, mobile, email):
    who = patient(f"PID|1||1^^^H^MR||Doe||||||||{pid13}")
    assert (who.phone, who.mobile, who.email) == (phone, mobile, email)


def test_a_cleared_home_phone_leaves_the_work_phone():
    assert patient('PID|1||1||Doe||||||||""|^WPN^PH^^^309^1').phone == "309 1"


@pytest.mark.parametrize(
    ("pid5", "display"),
    [
        ("Doe^Jane^Q", "Jane Q Doe"),
        ("Alias^A^^^^^A~Legal^L^^Jr^^^L", "L Legal Jr"),
        ("Used^U^^^^^D~Legal^L^^^^^L", "L Legal"),
        ("van Dyk&van&Dyk^Anna", "Anna van Dyk"),
        ("&van&Dyk^Anna", "Anna van Dyk"),
        ("O\\T\\Neil^Jo", "Jo O&Neil"),
        ("", UNSET),
        ('""', UNSET),
    ],
)
def test_names(pid5, display):
    assert patient(f"PID|1||1||{pid5}").name.display == display


def test_address_is_replaced_as_a_whole_by_adt_alone():
    pid = "PID|1||1||Doe||||||New Street 5^^Bonn^^^DEU"
    adt, siu = patient(pid).address, events("SIU^S12", "SCH||F1", pid)[0].patient.address
    assert (adt.street, adt.street2, adt.postal_code, adt.country) == ("New Street 5", None, None, "DE")
    assert (siu.street, siu.street2, siu.postal_code) == ("New Street 5", UNSET, UNSET)
    assert patient('PID|1||1||Doe||||||""').address.city is None
    assert patient("PID|1||1||Doe||||||A^^^^^^BI~B^^^^^^H").address.street == "B"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("19800102", "1980-01-02"),
        ("198001", "1980-01"),
        ("1980", "1980"),
        ("19800102120000", "1980-01-02"),
        ("19800231", UNSET),
        ("Aug 15, 1942", UNSET),
        ("0000", UNSET),
        ("196203520", UNSET),
        ('""', None),
        ("", UNSET),
    ],
)
def test_birth_date(text, date):
    assert patient(f"PID|1||1||Doe||{text}").birth_date == date


@pytest.mark.parametrize(
    ("sex", "gender"), [("F", "female"), ("male", "male"), ("A", "other"), ("7", UNSET), ('""', None)]
)
def test_gender(sex, gender):
    assert patient(f"PID|1||1||Doe||1980|{sex}").gender == gender


def test_three_values_survive_encoding():
    who = patient('PID|1||1||Doe||""|F')
    data = msgspec.json.decode(msgspec.json.encode(who))
    assert data["birth_date"] is None
    assert "marital_status" not in data
    assert data["gender"] == "female"


@pytest.mark.parametrize(
    "options",
    [
        {"canonical": {"default_autority": "X"}},
        {"mrn": {"kind": "MR"}},
        {"timezone": "Mars/Olympus"},
        {"canonical": {"default_duration": 0}},
        {"canonical": {"appointment_id": "both"}},
        {"canonical": {"authorities": ["A"]}},
    ],
)
def test_wrong_options(options):
    with pytest.raises(ConfigError):
        patient(PID, **options)
