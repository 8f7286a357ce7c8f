"""DiagnosticReport with its Observations, DocumentReference and Immunization, as FHIR R4 resources.

Guarantee: a vaccination is found by the number of the filler or placer; one that has none, or the `9999` that senders
write for none (CDC's implementation guide), by its patient, vaccine and day.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import UNSET

from transforms.canonical.clinical import MAX_TEXT, Content, Document, Observation, Result, Vaccination
from transforms.canonical.to_fhir.datatypes import (
    TERMS,
    Json,
    code_system,
    coded,
    concept,
    given,
    identifier,
    moment,
    number,
)
from transforms.canonical.to_fhir.people import practitioner
from transforms.canonical.to_fhir.plan import Mode, Plan
from transforms.canonical.types import Code, Identifier, escape

STATUS = {"": "unknown"}
VALUE_STATUS = {"": "final"}
COMPLETION = {
    "AU": "final",
    "LA": "final",
    "DO": "final",
    "IP": "preliminary",
    "IN": "preliminary",
    "PA": "preliminary",
}
"""HL7 table 0271 as docStatus."""
NONE = "9999"
_NUMBER = re.compile(r"(?:(<=|>=|<|>)\s*)?(-?\d{1,15}(?:\.\d{1,10})?)")


def result(plan: Plan, report: Result, who: Json, visit: Json) -> Json:
    """A Reference to a report; each of its values is an Observation of its own."""
    performer = practitioner(plan, report.performer) if report.performer is not None else {}
    values = [
        _observation(plan, report, item, n, who, visit) for n, item in enumerate(report.observations, 1)
    ]
    elements = given(
        status=STATUS.get(report.status, report.status),
        code=concept(report.code),
        subject=who,
        encounter=visit,
        effectiveDateTime=moment(report.observed),
        issued=moment(report.issued),
        performer=[performer] if performer else [],
        result=values,
        conclusion="\n".join(report.notes),
    )
    own = Identifier(value=report.key, system="urn:isthmus:result")
    named = [item for item in report.identifiers if item.type != "RI"]
    return plan.add("DiagnosticReport", own, elements, identifiers=named, new={"code": {"text": "report"}})


def _observation(plan: Plan, report: Result, item: Observation, n: int, who: Json, visit: Json) -> Json:
    code = item.code.code or item.code.label if isinstance(item.code, Code) else ""
    own = Identifier(
        value=f"{report.key}/{n}/{escape(code)}" + (f"/{escape(item.sub_id)}" if item.sub_id else ""),
        system="urn:isthmus:observation",
    )
    elements = given(
        status=VALUE_STATUS.get(item.status, item.status)
        if item.status or not report.status
        else _of(report.status),
        code=concept(item.code),
        subject=who,
        encounter=visit,
        effectiveDateTime=moment(item.at or report.observed),
        **_value(item),
        interpretation=[coded(item.flag, f"{TERMS}v3-ObservationInterpretation")] if item.flag else [],
        referenceRange=[{"text": item.range}] if item.range else [],
    )
    return plan.add("Observation", own, elements, new={"code": {"text": "value"}})


def _of(status: str) -> str:
    return {"partial": "preliminary"}.get(status, status)


def _value(item: Observation) -> Json:
    """A number with a unit is a Quantity, anything else a text."""
    if not isinstance(item.value, str):
        return {"valueString": None, "valueQuantity": None} if item.value is None else {}
    found = _NUMBER.fullmatch(item.value)
    if found is None or not item.unit:
        return given(valueString=item.value, valueQuantity=None if item.value else UNSET)
    quantity = given(value=number(Decimal(found[2])), comparator=found[1] or "", unit=item.unit)
    return {"valueQuantity": {"value": 0} | quantity, "valueString": None}


def document(plan: Plan, item: Document, who: Json, visit: Json) -> Json:
    """A Reference to a document. Its content goes along as far as the event has it: plain text."""
    authors = [made for one in item.authors if (made := practitioner(plan, one))]
    relates: list[Json] = []
    if item.relates and item.parent is not None:
        relates = [{"code": item.relates, "target": {"identifier": identifier(item.parent, plan.systems)}}]
    content = [_content(one, item.title) for one in item.content]
    elements = given(
        masterIdentifier=identifier(item.identifiers[0], plan.systems),
        status=item.status,
        docStatus="entered-in-error"
        if item.status == "entered-in-error"
        else COMPLETION.get(item.completion, ""),
        type=concept(item.type),
        subject=who,
        date=moment(item.created or item.activity),
        author=authors,
        relatesTo=relates,
        description=item.title,
        content=content,
        context=given(encounter=[visit] if visit else []),
    )
    return plan.add(
        "DocumentReference", item.identifiers[0], elements, identifiers=item.identifiers,
        new={"content": [{"attachment": {"title": item.title or "document"}}]},
    )  # fmt: skip


def _content(item: Content, title: str) -> Json:
    data = base64.b64encode(item.text.encode()).decode() if item.text and len(item.text) < MAX_TEXT else ""
    attachment: dict[str, Any] = given(
        contentType=item.content_type, data=data, size=item.size or UNSET, title=title
    )
    return {"attachment": attachment or {"title": "document"}}


def vaccination(plan: Plan, shot: Vaccination, whose: str, who: Json, visit: Json, *, gone: bool) -> Json:
    """A Reference to a vaccination of the patient with the key `whose`; one that is `gone` is not made. {} for one
    that nothing would find again."""
    named = [item for item in shot.identifiers if item.type != "RI" and item.value != NONE]
    code = shot.code.code or shot.code.label if isinstance(shot.code, Code) else ""
    if not named and not (code and isinstance(shot.at, datetime)):
        return {}
    if not named:
        value = f"{whose}/{escape(code)}/{shot.at:%Y%m%d}"
        named = [Identifier(value=value, system="urn:isthmus:vaccination")]
    who_gave = practitioner(plan, shot.performer) if shot.performer is not None else {}
    maker = shot.manufacturer
    elements = given(
        status=shot.status,
        statusReason=concept(shot.refusal),
        vaccineCode=concept(shot.code),
        patient=who,
        encounter=visit,
        occurrenceDateTime=moment(shot.at),
        manufacturer=_maker(maker) if isinstance(maker, Code) else maker,
        lotNumber=shot.lot,
        expirationDate=shot.expires,
        site=concept(shot.site),
        route=concept(shot.route),
        doseQuantity=_dose(shot),
        performer=[{"function": coded("AP", f"{TERMS}v2-0443", "Administering Provider"), "actor": who_gave}]
        if who_gave
        else [],
    )
    new: Json = {"vaccineCode": {"text": "vaccine"}}
    if not elements.get("occurrenceDateTime"):
        new["occurrenceString"] = "unknown"
    mode: Mode = "existing" if gone else "update"
    return plan.add("Immunization", named[0], elements, mode=mode, identifiers=named, new=new)


def _maker(code: Code) -> Json:
    """The manufacturer, who has no resource here."""
    known = code_system(code.system)
    named = given(system=known, value=code.code) if known and code.code else {}
    return given(identifier=named, display=code.label)


def _dose(shot: Vaccination) -> Json:
    try:
        return {"value": number(Decimal(shot.amount)), **given(unit=shot.unit)}
    except InvalidOperation:
        return {}
