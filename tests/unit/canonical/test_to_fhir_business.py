"""Charges and vaccinations as FHIR resources, found again under the same identifiers whatever repeats them."""

from __future__ import annotations

import pytest

from engine.errors import StepError
from engine.fhir.entries import merged, said
from tests.unit.canonical.hl7 import PID, PV1, events
from tests.unit.canonical.test_to_fhir import entries, only
from transforms.canonical.to_fhir import plan

FT1 = (
    "FT1|1|T100^BILL|B7|20260301080000+0000|20260302+0000|CG|99213^Office visit^CPT|Visit, 15 min||2|250.50&USD|125.25"
    "|CARD^Cardiology||||||I10^Hypertension^I10|17^Moreau^Claire^^^Dr^^^NPI|||||99213^Visit^CPT"
)
RXA = "RXA|0|1|20260301093000+0000||08^Hep B^CVX|0.5|mL||||||||L1||MSD^Merck^MVX||||A"


def charge(ft1=FT1):
    return only(entries("DFT^P03", PID + "|" * 10 + "AC1^^^HOSP", PV1, ft1), "ChargeItem")


def test_a_charge():
    found = charge()
    item = found.resource
    assert found.by == ["identifier=urn%3Aisthmus%3Aassigner%3ABILL%7CT100"]
    assert (item["status"], item["code"]["coding"][0]["code"]) == ("billable", "99213")
    assert (item["quantity"], item["priceOverride"]) == ({"value": 2}, {"value": 250.5, "currency": "USD"})
    assert item["occurrenceDateTime"] == "2026-03-01T08:00:00+00:00"
    assert item["note"] == [{"text": "Visit, 15 min"}] and item["costCenter"] == {"display": "Cardiology"}
    assert item["reason"][0]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"
    assert item["account"][0]["identifier"]["value"] == "AC1"
    assert item["context"]["reference"].startswith("urn:uuid:") and len(item["performer"]) == 1
    priced = charge("FT1|1|T100^BILL||20260301||CG|X|||3||1.10").resource
    assert priced["priceOverride"] == {"value": 3.3}


def test_a_credit_stands_beside_the_charge_that_it_repeats():
    credit = charge(FT1.replace("|CG|", "|CD|"))
    assert credit.by == ["identifier=urn%3Aisthmus%3Acharge%7Ccredit%2FBILL%2FT100"]
    assert not any(item["value"] == "T100" for item in credit.resource["identifier"])
    assert credit.resource["status"] == "billable"
    assert (credit.resource["quantity"]["value"], credit.resource["priceOverride"]["value"]) == (-2, -250.5)
    assert (
        charge(FT1.replace("|CG|", "|AJ|").replace("250.50", "-9")).resource["priceOverride"]["value"] == -9
    )
    assert {entry.type for entry in entries("DFT^P03", PID, PV1, FT1.replace("|CG|", "|PY|"))} == set()


def test_a_charge_without_a_transaction_id_is_the_same_line_again():
    plain = "FT1|1|||20260301||CG|99213||| |250"
    assert (
        charge(plain).by
        == charge(plain).by
        == ["identifier=urn%3Aisthmus%3Acharge%7CHOSP%2FAC1%2F20260301%2F99213%2F1"]
    )


def test_a_charge_that_a_server_ends_is_the_same_one():
    (event,) = events("DFT^P03", PID, PV1, FT1)
    event.charge.status = "entered-in-error"
    before, after = charge(), only(plan([event]), "ChargeItem")
    assert after.key == before.key
    assert said(merged(before.resource, after.resource))["status"] == "entered-in-error"


def shot(orc="ORC|RE||65930^DCS", rxa=RXA, *more, pid=PID):
    return only(entries("VXU^V04", pid, orc, rxa, *more), "Immunization")


def test_a_vaccination():
    found = shot("ORC|RE|P9^EHR|65930^DCS", RXA, "RXR|IM^Intramuscular^HL70162|LA^Left arm^HL70163")
    item = found.resource
    assert found.by == ["identifier=urn%3Aisthmus%3Aassigner%3ADCS%7C65930"]
    assert [one["value"] for one in item["identifier"]] == ["65930", "P9"]
    assert item["vaccineCode"]["coding"][0] == {
        "system": "http://hl7.org/fhir/sid/cvx", "code": "08", "display": "Hep B"
    }  # fmt: skip
    assert (item["status"], item["lotNumber"], item["occurrenceDateTime"]) == (
        "completed", "L1", "2026-03-01T09:30:00+00:00",
    )  # fmt: skip
    assert item["doseQuantity"] == {"value": 0.5, "unit": "mL"}
    assert item["manufacturer"] == {
        "identifier": {"system": "http://hl7.org/fhir/sid/mvx", "value": "MSD"}, "display": "Merck"
    }  # fmt: skip
    assert (item["route"]["coding"][0]["code"], item["site"]["coding"][0]["code"]) == ("IM", "LA")
    gone = shot(rxa=RXA[:-1] + "D")
    assert (gone.mode, gone.resource["status"], gone.key) == ("existing", "entered-in-error", found.key)
    refused = shot(rxa=RXA.replace("||||A", "|00^Parental decision^NIP002||RE|A"))
    assert (refused.resource["status"], refused.resource["statusReason"]["coding"][0]["code"]) == (
        "not-done",
        "00",
    )


def test_a_number_that_senders_write_for_none_is_never_searched():
    """`9999` is on the refusals of every patient: found by it, one would be written over another."""
    first = shot("ORC|RE||9999^DCS")
    other = shot("ORC|RE||9999^DCS", pid=PID.replace("1001", "1002"))
    assert first.by == ["identifier=urn%3Aisthmus%3Avaccination%7CHOSP%2F1001%2F08%2F20260301"]
    assert first.key == shot("ORC|RE").key != other.key
    with pytest.raises(StepError) as caught:
        entries("VXU^V04", PID, "ORC|RE||9999^DCS", "RXA|0|1|||998^none^CVX|999")
    assert caught.value.code == "fhir.no_identifier"
