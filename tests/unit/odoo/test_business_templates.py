"""The shipped templates of referrals and charges, from message to records: once, twice, and taken back."""

from __future__ import annotations

import pytest

from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.template import compile_template
from engine.states import Result
from transforms.canonical.from_hl7 import interpreter

PID = "PID|1||{n}^^^H^MR||Doe^Jane||19800102|F|||Street 1^^Town||5551234|||||AC{n}^^^H"
IN1 = "IN1|1|PPO|BC{n}^^^P|Blue Cross|1 Main^^Town"


def rendered(odoo, template, trigger, *segments):
    """The operations of a message whose numbers are this test's own."""
    lines = [f"MSH|^~\\&|APP|F|||20260301||{trigger}|C1|P|2.5.1", *segments]
    raw = "\r".join(lines).replace("{n}", odoo.run_id) + "\r"
    render = compile_template(template, BuildContext())
    return render(Scope(Message(raw.encode()), Meta(type=trigger), interpreter({})))


def sent(odoo, made):
    (outcome,) = odoo.deliver([*made])
    assert outcome.result == Result.SENT, (outcome.code, outcome.text, outcome.place)
    return odoo.results(outcome)


def referral(odoo, trigger="REF^I12", said="", number="1"):
    return rendered(
        odoo, "referral", trigger, f"RF1|{said}|S||||R{number}{{n}}^CL||||LBP^Back pain", PID, IN1,
        "PRD|RP|House^Greg|||||{n}^NPI", "PRD|RT|Bone^Ann|||||B{n}^X",
    )  # fmt: skip


def leads(odoo, number="1"):
    fields = ("name", "active", "priority", "referred", "phone", "type")
    (partner,) = odoo.find("res.partner", [["ref", "=", odoo.run_id]], "ref")
    return odoo.find("crm.lead", [["partner_id", "=", partner["id"]]], *fields)


def test_a_referral_is_a_lead(odoo):
    assert sent(odoo, referral(odoo)) == ["created"] * 4
    assert sent(odoo, referral(odoo)) == ["unchanged"] * 4
    (lead,) = leads(odoo)
    assert lead["name"] == "Back pain: Jane Doe" and lead["priority"] == "3" and lead["type"] == "opportunity"
    assert lead["referred"] == "Greg House" and lead["phone"] == "5551234"


def test_an_answer_changes_the_lead_and_a_cancel_archives_it(odoo):
    sent(odoo, referral(odoo))
    sent(odoo, referral(odoo, "RRI^I12", "A"))
    assert [lead["name"] for lead in leads(odoo)] == ["[Accepted] Back pain: Jane Doe"]
    sent(odoo, referral(odoo, "REF^I14"))
    assert [lead["active"] for lead in leads(odoo)] == [False]
    sent(odoo, referral(odoo))
    assert [lead["active"] for lead in leads(odoo)] == [True]


def charge(odoo, *lines):
    return rendered(odoo, "charge", "DFT^P03", PID, *lines, IN1)


LINES = (
    "FT1|1|T1{n}^B||20260228||CG|99213^Office visit^C4|||1|125.00&USD|||||||||D{n}^House^Greg",
    "FT1|2|T2{n}^B||20260228||CG|73562^X-ray^C4|||2|171.00",
)


def order_lines(odoo):
    (partner,) = odoo.find("res.partner", [["ref", "=", odoo.run_id]], "ref")
    (order,) = odoo.find("sale.order", [["partner_id", "=", partner["id"]]], "client_order_ref")
    assert order["client_order_ref"] == f"AC{odoo.run_id}"
    fields = ("name", "product_uom_qty", "price_unit")
    found = odoo.find("sale.order.line", [["order_id", "=", order["id"]]], *fields)
    return sorted((line["name"], line["product_uom_qty"], line["price_unit"]) for line in found)


def test_charges_are_lines_of_one_quotation(odoo):
    sent(odoo, charge(odoo, *LINES))
    assert order_lines(odoo) == [("Office visit", 1.0, 125.0), ("X-ray", 2.0, 85.5)]
    assert set(sent(odoo, charge(odoo, *LINES))) == {"unchanged"}
    sent(odoo, charge(odoo, LINES[1].replace("|2|171.00", "|1|85.50")))
    assert order_lines(odoo) == [("Office visit", 1.0, 125.0), ("X-ray", 1.0, 85.5)]


def test_a_credit_takes_a_charge_back(odoo):
    sent(odoo, charge(odoo, LINES[1]))
    sent(odoo, charge(odoo, LINES[1].replace("|CG|", "|CD|")))
    sent(odoo, charge(odoo, LINES[1].replace("|CG|", "|CD|")))
    lines = order_lines(odoo)
    assert [line[1] for line in lines] == [-2.0, 2.0]
    assert sum(quantity * price for _, quantity, price in lines) == 0


def test_an_account_without_charges_has_its_quotation_and_payers(odoo):
    made = rendered(odoo, "charge", "BAR^P01", PID, IN1)
    assert [(one["op"], one["model"]) for one in made] == [
        ("upsert", "res.partner"),
        ("upsert", "res.partner"),
        ("upsert", "sale.order"),
    ]
    sent(odoo, made)
    assert order_lines(odoo) == []


@pytest.mark.parametrize("kind", ["PY", "CO"])
def test_payments_are_not_written(odoo, kind):
    assert charge(odoo, LINES[0].replace("|CG|", f"|{kind}|")) == []


PV1 = f"PV1|1|I|4E^410^A^H||||7{{n}}^House^Greg^^^^^^H|8{{n}}^Wilson^Jim^^^^^^H{'|' * 11}V{{n}}^^^H"


def contacts(odoo, *names):
    found = odoo.find("res.partner", [["name", "in", names]], "name", "is_company", "type", "active")
    return sorted((one["name"], one["is_company"], one["type"]) for one in found if one["active"])


def test_people_payers_and_places_become_contacts(odoo):
    """Of a visit and an account with insurance, by the directory; the same keys as those of charges."""
    doctor, payer, ward = (f"{word} {odoo.run_id}" for word in ("Greg", "Blue", "Ward"))
    visit = (PID, PV1.replace("^Greg", f"^{doctor}").replace("4E^", f"{ward}^"))
    insured = (PID, IN1.replace("Blue Cross", payer))
    for trigger, segments, wanted in (
        ("ADT^A01", visit, [(f"{doctor} House", False, "contact"), (f"{ward} 410 A (H)", True, "other")]),
        ("BAR^P01", insured, [(payer, True, "contact")]),
    ):
        made = rendered(odoo, "directory", trigger, *segments)
        assert {one["model"] for one in made} == {"res.partner"}
        first, again = sent(odoo, made), sent(odoo, made)
        assert set(first) == {"created"} and set(again) == {"unchanged"}
        assert contacts(odoo, *(name for name, _, _ in wanted)) == wanted
    billed = rendered(odoo, "charge", "DFT^P03", PID, LINES[0], insured[1])
    assert sent(odoo, [one for one in billed if one["key"].startswith("payer/")]) == ["unchanged"]
