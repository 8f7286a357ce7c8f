"""Coverage and ChargeItem as FHIR R4 resources.

| charge (FT1-6) | ChargeItem |
|----------------|------------|
| charge (CG) | found by its transaction id, else by account, service date, code and number |
| credit (CD), adjustment (AJ) | one of its own beside it, `billable`; of a credit quantity and price are below 0 |
| of a FHIR server: aborted, entered-in-error | the same one has that status |

Guarantee: a credit is never found by the transaction id of the charge that it may repeat, so the sum is right whichever
of them comes first. Payments, modifiers, orderers and the place have no element in ChargeItem and are left out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import UNSET

from transforms.canonical.financial import Account, Charge, Coverage
from transforms.canonical.to_fhir.datatypes import (
    TERMS,
    Json,
    coded,
    concept,
    concepts,
    given,
    identifier,
    moment,
    number,
    period,
    table,
)
from transforms.canonical.to_fhir.people import organization, practitioner
from transforms.canonical.to_fhir.plan import Plan
from transforms.canonical.types import Code, Identifier


def coverage(plan: Plan, insurance: Coverage, who: Json, holder: str, status: str = "active") -> Json:
    """A Reference to an insurance. One without payer and policy is known by its patient (`holder`) and its rank."""
    key = insurance.key or f"{holder}/{insurance.order or 1}"
    own = Identifier(value=key, system="urn:isthmus:coverage")
    payer = organization(plan, insurance.payer) if insurance.payer is not None else {}
    plan_code = insurance.plan
    classes = [
        _in_class("group", insurance.group_number, insurance.group_name),
        _in_class("plan", getattr(plan_code, "code", ""), getattr(plan_code, "label", "")),
    ]
    subscriber = insurance.subscriber.display if insurance.subscriber is not None else UNSET
    elements = given(
        status=status,
        type=table(insurance.plan_type, "v2-0086"),
        subscriberId=insurance.policy_number,
        subscriber={"display": subscriber} if isinstance(subscriber, str) else {},
        beneficiary=who,
        relationship=table(getattr(insurance.relationship, "code", UNSET), "v2-0063"),
        period=period(insurance.period),
        payor=[payer] if payer else [],
        class_=[one for one in classes if one],
        order=int(insurance.order) if insurance.order.isdecimal() and int(insurance.order) > 0 else UNSET,
    )
    named = [item for item in insurance.identifiers if item.type != "RI"]
    return plan.add("Coverage", own, elements, identifiers=named, new={"payor": [{"display": "unknown"}]})


def _in_class(kind: str, value: Any, name: Any) -> Json:
    value = value or name
    if not isinstance(value, str) or not value:
        return {}
    return given(
        type=coded(kind, f"{TERMS}coverage-class"), value=value, name=name if isinstance(name, str) else ""
    )


def charge(plan: Plan, item: Charge, on: Account | None, who: Json, visit: Json) -> Json:
    """A Reference to a line of an account."""
    plain = item.kind == "charge"
    own = Identifier(value=item.key if plain else f"{item.kind}/{item.key}", system="urn:isthmus:charge")
    named = [one for one in item.identifiers if one.type != "RI"] if plain else []
    begins, ends = moment(item.served), moment(item.served_until)
    department = getattr(item.department, "label", "")
    elements = given(
        status=item.status if plain else "billable",
        code=_codes(item),
        subject=who,
        context=visit,
        **(
            {"occurrencePeriod": given(start=begins, end=ends)}
            if isinstance(ends, str)
            else given(occurrenceDateTime=begins)
        ),
        performer=[{"actor": one} for person in item.performers if (one := practitioner(plan, person))],
        **_amounts(item),
        costCenter=given(display=department),
        enteredDate=moment(item.posted),
        reason=concepts(item.diagnoses),
        account=[{"identifier": identifier(on.identifiers[0], plan.systems)}]
        if on and on.identifiers
        else [],
        note=[{"text": item.description}] if item.description else [],
    )
    new = {"code": {"text": item.title}}
    return plan.add("ChargeItem", (named or [own])[0], elements, identifiers=named[1:], new=new)


def _codes(item: Charge) -> Any:
    """What is charged: the code of the charge and that of the procedure are codes of one thing."""
    found = concept(item.code)
    procedure = concept(item.procedure) if isinstance(item.procedure, Code) else {}
    if not isinstance(found, dict):
        return procedure or found
    both = [*found.get("coding", ()), *procedure.get("coding", ())]
    return {**procedure, **found, **({"coding": both} if both else {})}


def _amounts(item: Charge) -> Json:
    """Quantity and the price of all of it, as far as they were sent; of a credit both are below 0."""
    quantity = Decimal(item.quantity) if item.quantity else None
    total = Decimal(item.amount.amount) if item.amount is not None else None
    if total is None and item.unit_price is not None:
        total = Decimal(item.unit_price.amount) * (1 if quantity is None else quantity)
    if item.kind == "credit":
        quantity = -abs(Decimal(1) if quantity is None else quantity)
        total = -abs(total) if total is not None else None
    made: Json = {}
    if quantity is not None:
        made["quantity"] = {"value": number(quantity)}
    if total is not None:
        made["priceOverride"] = {"value": number(total), **given(currency=item.currency)}
    return made
