"""DiagnosticReport with its Observations, and DocumentReference, as FHIR R4 resources."""

from __future__ import annotations

import base64
import re
from typing import Any

from msgspec import UNSET

from transforms.canonical.clinical import MAX_TEXT, Content, Document, Observation, Result
from transforms.canonical.to_fhir.datatypes import TERMS, Json, coded, concept, given, identifier, moment
from transforms.canonical.to_fhir.people import practitioner
from transforms.canonical.to_fhir.plan import Plan
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
_NUMBER = re.compile(r"(?:(<=|>=|<|>)\s*)?(-?\d{1,15}(?:\.\d{1,10})?)")


def result(plan: Plan, report: Result, who: Json, visit: Json) -> Json:
    """A Reference to a report; each of its values is an Observation of its own."""
    performer = practitioner(plan, report.performer) if report.performer is not None else {}
    values = [
        _observation(plan, report, item, number, who, visit)
        for number, item in enumerate(report.observations, 1)
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


def _observation(plan: Plan, report: Result, item: Observation, number: int, who: Json, visit: Json) -> Json:
    code = item.code.code or item.code.label if isinstance(item.code, Code) else ""
    own = Identifier(
        value=f"{report.key}/{number}/{escape(code)}" + (f"/{escape(item.sub_id)}" if item.sub_id else ""),
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
    number = _NUMBER.fullmatch(item.value)
    if number is None or not item.unit:
        return given(valueString=item.value, valueQuantity=None if item.value else UNSET)
    value = float(number[2])
    quantity = given(
        value=int(value) if value.is_integer() else value, comparator=number[1] or "", unit=item.unit
    )
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
