"""Orders, referrals, results, documents, vaccinations, charges and accounts: messages → events, values, refusals."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
import pytest
from msgspec import UNSET

from engine.errors import StepError
from tests.unit.canonical.hl7 import PID, PV1, events
from transforms.canonical.catalogue import ENTITIES, EVENTS, schemas
from transforms.canonical.from_hl7 import ADAPTERS
from transforms.canonical.from_hl7.adt import MERGES
from transforms.canonical.from_hl7.adt import TRIGGERS as VISITS
from transforms.canonical.from_hl7.documents import TRIGGERS as DOCUMENTS
from transforms.canonical.from_hl7.finance import ACCOUNTS, CHARGED
from transforms.canonical.from_hl7.orders import CONTROL
from transforms.canonical.from_hl7.referrals import ANSWERS
from transforms.canonical.from_hl7.referrals import TRIGGERS as REFERRALS
from transforms.canonical.from_hl7.results import EVENTS as RESULTS
from transforms.canonical.from_hl7.siu import CAME, ENDED
from transforms.canonical.from_hl7.siu import TRIGGERS as BOOKINGS
from transforms.canonical.types import Code, Money

ACCOUNT = PID + "|" * 10 + "AC9^^^HOSP"


def types(trigger, *segments):
    return [event.type for event in events(trigger, *segments)]


def field(segment, **values):
    """A segment with fields by number: `field("FT1", f2="T1")`."""
    numbers = {int(name[1:]): value for name, value in values.items()}
    return "|".join([segment, *(numbers.get(n, "") for n in range(1, max(numbers) + 1))])


OBR = field(
    "OBR", f1="1", f2="P1^EHR", f3="F1^LAB", f4="GLU^Glucose^L", f7="20260228", f16="D7^House^Greg", f22="20260301",
    f24="LAB", f25="{status}",
)  # fmt: skip


# Orders


@pytest.mark.parametrize(
    ("control", "status", "type_", "found"),
    [
        ("NW", "", "order.placed", "active"),
        ("RO", "", "order.replaced", "active"),
        ("RP", "", "order.replaced", "revoked"),
        ("XO", "", "order.modified", "active"),
        ("XO", "HD", "order.modified", "on-hold"),
        ("CA", "IP", "order.cancelled", "revoked"),
        ("DC", "", "order.discontinued", "revoked"),
        ("HD", "", "order.held", "on-hold"),
        ("RL", "", "order.released", "active"),
        ("UA", "", "order.rejected", "revoked"),
        ("SC", "CM", "order.status_changed", "completed"),
        ("", "", "order.placed", "active"),
        ("ZZ", "", "order.status_changed", ""),
    ],
)
def test_the_order_control_says_what_happened(control, status, type_, found):
    (event,) = events("ORM^O01", PID, field("ORC", f1=control, f2="P1^EHR", f5=status), OBR.format(status=""))
    assert (event.type, event.order.status, event.order.control) == (type_, found, control)


def test_an_order_with_all_that_belongs_to_it():
    orc = field(
        "ORC", f1="NW", f2="P1^EHR", f3="F1^LAB", f4="G1^EHR", f9="20260301101500+0000", f12="D7^House^Greg"
    )
    tq1 = field("TQ1", f2="2", f7="20260302080000+0000", f9="S")
    found = events(
        "OML^O21", PID, PV1, orc, tq1, OBR.format(status=""), "DG1|1||E11^Diabetes^I10", "NTE|1||fasting"
    )
    (event,) = found
    order = event.order
    assert event.subject == "Order/EHR/P1" and event.partition_key == "HOSP/1001"
    assert [item.key for item in order.identifiers] == ["EHR/P1", "LAB/F1"]
    assert order.code == Code(code="GLU", display="Glucose", system="L")
    assert order.group.key == "EHR/G1" and order.priority == "stat" and order.quantity == "2"
    assert order.requester.name.display == "Greg House"
    assert order.authored_on == datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
    assert order.start == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert [code.label for code in order.reasons] == ["Diabetes"] and order.notes == ["fasting"]
    assert event.encounter.number == "V1" and event.entity is order and event.referral is None


def test_every_order_of_a_message_gives_its_event():
    found = events(
        "ORM^O01", PID, "ORC|NW|P1^EHR", OBR.format(status=""), "ORC|CA||F2^LAB", "RXO|ASA^Aspirin"
    )
    assert [(e.type, e.order.key, e.order.title) for e in found] == [
        ("order.placed", "EHR/P1", "Glucose"),
        ("order.cancelled", "LAB/filler/F2", "Aspirin"),
    ]
    assert len({event.id for event in found}) == 2


def test_an_order_without_a_number_is_refused():
    with pytest.raises(StepError) as error:
        events("ORM^O01", PID, "ORC|NW", "RXO|ASA")
    assert (error.value.code, error.value.where) == ("order.no_identifier", "ORC-2")


# Results


@pytest.mark.parametrize(
    ("report", "values", "type_", "status"),
    [
        ("F", "P", "result.available", "final"),
        ("C", "C", "result.corrected", "corrected"),
        ("X", "X", "result.cancelled", "cancelled"),
        ("P", "F", "result.preliminary", "preliminary"),
        ("A", "F", "result.preliminary", "partial"),
        ("", "FC", "result.available", "final"),
        ("", "FP", "result.preliminary", "preliminary"),
        ("", "", "result.preliminary", "preliminary"),
    ],
)
def test_how_far_a_result_is(report, values, type_, status):
    observed = [field("OBX", f2="ST", f3="A", f5="x", f11=value) for value in values]
    (event,) = events("ORU^R01", PID, OBR.format(status=report), *observed)
    assert (event.type, event.result.status) == (type_, status)


def test_a_result_with_its_values():
    obx = [
        "OBX|1|NM|GLU^Glucose^L||5.4|mmol/L^millimole^UCUM|3.9-6.1|N|||F|||20260301070000+0000",
        "OBX|2|SN|K^Potassium^L||>^10|mmol/L||HH|||F",
        "OBX|3|CWE|ORG^Organism^L||112283007^E. coli^SCT~X^Other|||A|||C",
        'OBX|4|ST|N^Note^L||""||||||F',
        "OBX|5|ED|R^Report^L||^application^pdf^Base64^QUJD||||||F",
        "NTE|1||haemolytic",
    ]
    (event,) = events("ORU^R01", PID, OBR.format(status="F"), *obx)
    result = event.result
    assert result.key == "LAB/F1/GLU" and event.subject == "Result/LAB/F1/GLU"
    assert [item.value for item in result.observations] == ["5.4", "> 10", "E. coli\nOther", None, ""]
    assert [item.status for item in result.observations] == ["final", "final", "corrected", "final", "final"]
    assert result.observations[0].unit == "millimole" and result.observations[0].range == "3.9-6.1"
    assert [item.flag for item in result.abnormal] == ["HH", "A"]
    assert result.notes == ["haemolytic"] and result.requester.name.display == "Greg House"


def test_reports_of_one_message():
    second = OBR.format(status="P").replace("GLU^Glucose", "NA^Sodium")
    assert types("ORU^R01", PID, OBR.format(status="F"), "OBX|1|ST|A||x", second) == [
        "result.available",
        "result.preliminary",
    ]


# Documents


@pytest.mark.parametrize("trigger", DOCUMENTS)
def test_document_triggers(trigger):
    (event,) = events(f"MDM^{trigger}", PID, field("TXA", f2="DS^Discharge", f12="D1^EHR", f13="D0^EHR"))
    assert event.type == DOCUMENTS[trigger][0]
    assert event.document.relates == DOCUMENTS[trigger][2]
    assert event.document.parent.key == "EHR/D0" and event.document.title == "Discharge"


def test_a_document_is_described_and_text_is_kept():
    data = base64.b64encode(b"%PDF-1.7").decode()
    (event,) = events(
        "MDM^T02", PID, field("TXA", f2="DS", f9="D7^House^Greg", f12="D1^EHR", f17="LA", f19="AV"),
        "OBX|1|TX|A||line 1~line 2", f"OBX|2|ED|B||^application^pdf^Base64^{data}", "OBX|3|NM|C||5",
    )  # fmt: skip
    text, pdf = event.document.content
    assert (text.content_type, text.text, text.size) == ("text/plain", "line 1\nline 2", 13)
    assert (pdf.content_type, pdf.size, pdf.text) == ("application/pdf", 8, "")
    assert pdf.sha256 == sha256(b"%PDF-1.7").hexdigest()
    assert data not in str(event.to_cloudevent())
    assert event.document.completion == "LA" and event.document.authors[0].id == "D7"


# Charges and accounts


@pytest.mark.parametrize(
    ("kind", "type_", "name"),
    [
        ("CG", "charge.posted", "charge"),
        ("", "charge.posted", "charge"),
        ("CD", "charge.reversed", "credit"),
        ("AJ", "charge.adjusted", "adjustment"),
        ("PY", "payment.received", "payment"),
        ("CO", "payment.received", "copay"),
    ],
)
def test_the_transaction_type_says_what_happened(kind, type_, name):
    (event,) = events("DFT^P03", ACCOUNT, field("FT1", f1="1", f2="T1", f6=kind, f7="99213^Visit"))
    assert (event.type, event.charge.kind, event.charge.key) == (type_, name, "FAC/T1")


def test_a_charge_with_its_money():
    ft1 = field(
        "FT1", f1="2", f2="T9^BILL", f4="20260228", f7="99213^Office visit^C4", f10="2", f11="171.00&USD",
        f13="ORTHO", f19="M17^Arthrosis^I10", f20="D7^House^Greg", f23="F1^LAB", f25="99213^Proc", f26="25^Sep~59",
    )  # fmt: skip
    (event,) = events("DFT^P03", ACCOUNT, PV1, ft1)
    charge = event.charge
    assert charge.amount == Money(amount="171.00", currency="USD") and charge.unit_price is None
    assert (charge.units, charge.price, charge.currency) == (2.0, 85.5, "USD")
    assert charge.key == "BILL/T9" and charge.account == "HOSP/AC9" and charge.title == "Office visit"
    assert [code.code for code in charge.modifiers] == ["25", "59"]
    assert charge.order.key == "LAB/F1" and charge.performers[0].id == "D7"
    assert event.account.number == "AC9" and event.entity is charge


def test_a_charge_without_an_id_has_the_key_of_its_place_on_the_account():
    lines = [field("FT1", f1=str(n), f4="20260228", f7="99213") for n in (1, 2)]
    assert [event.charge.key for event in events("DFT^P03", ACCOUNT, *lines)] == [
        "HOSP/AC9/20260228/99213/1",
        "HOSP/AC9/20260228/99213/2",
    ]
    with pytest.raises(StepError) as error:
        events("DFT^P03", PID, *lines)
    assert error.value.code == "charge.no_identifier"


@pytest.mark.parametrize("amount", ["12,50", "free", "1e3", "1" * 20])
def test_what_is_no_amount_is_left_out(amount):
    (event,) = events("DFT^P03", ACCOUNT, field("FT1", f2="T1", f10=amount, f11=amount))
    assert event.charge.amount is None and event.charge.units == 1.0 and event.charge.price == 0.0


@pytest.mark.parametrize("trigger", ACCOUNTS)
def test_accounts(trigger):
    in1 = field("IN1", f1="2", f2="PPO^Plus", f3="BCBS^^^PAYERS", f4="Blue Cross", f36="P77")
    first = field("IN1", f1="1", f3="MCR", f4="Medicare", f13="20261231", f36='""')
    gt1 = field("GT1", f1="1", f2="G5", f3="Doe^John", f5="Street 1^^Town", f6="5551234")
    (event,) = events(f"BAR^{trigger}", ACCOUNT, in1, first, gt1, "DG1|1||E11^Diabetes^I10")
    assert (event.type, event.account.status) == ACCOUNTS[trigger]
    assert [item.order for item in event.coverages] == ["1", "2"]
    medicare, blue = event.coverages
    assert medicare.policy_number is None and medicare.key == "" and medicare.period.end == "2026-12-31"
    assert medicare.period.start is UNSET and medicare.group_number is UNSET
    assert blue.key == "PAYERS/BCBS/P77" and blue.payer.known and blue.payer.kind == "payer"
    assert event.account.guarantor.name.display == "John Doe" and event.account.guarantor.key == "FAC/G5"


def test_an_account_without_a_number_is_refused():
    with pytest.raises(StepError) as error:
        events("BAR^P01", PID)
    assert error.value.code == "account.no_identifier"


# Referrals


@pytest.mark.parametrize(
    ("trigger", "said", "type_", "status"),
    [
        ("REF^I12", "P", "referral.requested", "active"),
        ("REF^I13", "", "referral.modified", "active"),
        ("REF^I13", "A", "referral.accepted", "accepted"),
        ("REF^I14", "", "referral.cancelled", "revoked"),
        ("REF^I15", "", "referral.status_requested", "active"),
        ("RRI^I12", "R", "referral.rejected", "rejected"),
        ("RRI^I12", "E", "referral.expired", "expired"),
        ("RRI^I12", "", "referral.answered", "active"),
    ],
)
def test_what_became_of_a_referral(trigger, said, type_, status):
    (event,) = events(trigger, field("RF1", f1=said, f6="R1^CLINIC"), PID)
    assert (event.type, event.order.status, event.subject) == (type_, status, "Referral/CLINIC/R1")


def test_a_referral_with_its_people():
    rf1 = field(
        "RF1", f2="S", f3="CON^Consult", f6="R1^CLINIC", f7="20260301", f8="20260901", f10="LBP^Back pain"
    )
    found = events(
        "REF^I12", rf1, "AUT|PPO|BC|Blue|20260301|20260601|A77^BC", "PRD|RT|Bone^Ann||Ortho Clinic|||222^^X",
        "PRD|RP|House^Greg|||||1679^NPI", PID, "DG1|1||M54^Dorsalgia^I10", "OBR|1|||MRI^MRI spine",
    )  # fmt: skip
    referral = found[0].referral
    assert referral.requester.npi == "1679" and referral.requester.key == "NPI/1679"
    assert referral.performer.name.display == "Ann Bone" and referral.referred_to.name == "Ortho Clinic"
    assert referral.priority == "stat" and referral.title == "MRI spine"
    assert [code.label for code in referral.reasons] == ["Back pain", "Dorsalgia"]
    assert referral.authorization.key == "BC/A77" and referral.authorized_to == "2026-06-01"


def test_a_referral_without_a_number_is_refused():
    with pytest.raises(StepError) as error:
        events("REF^I12", "RF1|P", PID)
    assert error.value.code == "referral.no_identifier"


# Vaccinations


@pytest.mark.parametrize(
    ("completion", "action", "type_", "status"),
    [
        ("CP", "A", "vaccination.recorded", "completed"),
        ("", "", "vaccination.recorded", "completed"),
        ("RE", "A", "vaccination.refused", "not-done"),
        ("CP", "U", "vaccination.updated", "completed"),
        ("CP", "D", "vaccination.deleted", "entered-in-error"),
    ],
)
def test_vaccinations(completion, action, type_, status):
    rxa = field(
        "RXA", f3="20260301", f5="08^HepB^CVX", f6="0.5", f7="mL", f10="N1^Joy^Nurse", f15="LOT7", f16="20270101",
        f17="MSD^Merck", f20=completion, f21=action,
    )  # fmt: skip
    (event,) = events("VXU^V04", PID, "ORC|RE||V9^EHR", rxa, "RXR|IM^Intramuscular|LA")
    given = event.vaccination
    assert (event.type, given.status, given.key) == (type_, status, "EHR/V9")
    assert (given.amount, given.unit, given.lot, given.expires) == ("0.5", "mL", "LOT7", "2027-01-01")
    assert given.manufacturer.label == "Merck" and given.route.code == "IM"


# The catalogue and its schema


def test_the_catalogue_has_what_the_adapters_give():
    given = {name for table in (CONTROL, DOCUMENTS, ACCOUNTS, REFERRALS, BOOKINGS)
             for name, *_ in table.values()}  # fmt: skip
    given |= {"order.placed", "order.status_changed", "result.preliminary", "referral.answered"}
    given |= set(RESULTS.values()) | set(CHARGED.values()) | set(MERGES.values())
    given |= {f"referral.{word}" for word in ANSWERS.values()}
    given |= {*ENDED.values(), *CAME.values(), "appointment.requested"}
    for trigger in VISITS.values():
        given |= {f"patient.{trigger.patient}"} if trigger.patient else set()
        given |= {f"encounter.{trigger.encounter}"} if trigger.encounter else set()
    given |= {"vaccination.recorded", "vaccination.refused", "vaccination.updated", "vaccination.deleted"}
    only_fhir = ("practitioner.", "organization.", "location.", "coverage.")
    assert given == {name for name in EVENTS if not name.startswith(only_fhir)}
    assert {name.partition(".")[0] for name in EVENTS} == set(ENTITIES)
    assert len(ADAPTERS) == 19


@pytest.mark.parametrize(
    "found",
    [
        events("ADT^A01", PID, PV1)[1],
        events("ADT^A40", PID, "MRG|2")[0],
        events("DFT^P03", ACCOUNT, PV1, field("FT1", f2="T1", f11="5"), "IN1|1|PPO|BC^^^P|Blue")[0],
        events("BAR^P01", ACCOUNT)[0],
        events("ADT^A41", ACCOUNT, "MRG|1||A0^^^HOSP")[0],
        events("REF^I12", "RF1|P||||||||||R1", PID)[0],
        events("ORU^R01", PID, OBR.format(status="F"), "OBX|1|NM|A||5")[0],
    ],
    ids=lambda event: event.type,
)
def test_an_envelope_is_as_its_schema_says(found):
    made = found.to_cloudevent(channel="x")
    schema = schemas()["$defs"][found.type]
    assert set(schema["required"]) <= set(made)
    assert set(made) <= set(schema["properties"])
    assert set(made["data"]) <= set(schema["properties"]["data"]["properties"])
    assert made["dataschema"] == schema["properties"]["dataschema"]["const"]
    entity = type(found.entity)
    assert msgspec.to_builtins(msgspec.convert(made["data"]["entity"], entity)) == made["data"]["entity"]
